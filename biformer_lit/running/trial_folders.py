"""Ownership of a trial's folder: only the processes that its study starts write there."""

import os
from pathlib import Path

VARIABLE = "BIFORMER_LIT_TRIAL"  # environment variable: folder of the trial that a study has started this process for
CELLS = "cells"
"""Folder of a study's trials, which lie two levels below it: CELL-DIGEST/seed-N."""
SPEC = "study.yaml"
"""File of a study's folder that says what the study is."""

REPORT = "biformer_lit.callbacks.TrialReport"
"""Class path, in a trial's config, of the callback by which the trial tells its study how it goes."""


def is_ours(folder: str | Path) -> bool:
    """Return whether this process was started by a study to train the trial of this folder."""
    given = os.environ.get(VARIABLE)
    return given is not None and Path(given).resolve() == Path(folder).resolve()


def named_as_trial(folder: str | Path) -> bool:
    """Return whether a path is built as those of trials are, on this machine or on the one where the study was run."""
    parts = Path(folder).parts
    return len(parts) > 2 and parts[-3] == CELLS and parts[-1].startswith("seed-")


def belongs_to_study(folder: str | Path) -> bool:
    """Return whether a folder is that of a trial whose study is here."""
    folder = Path(folder).absolute()
    return named_as_trial(folder) and (folder.parents[2] / SPEC).is_file()
