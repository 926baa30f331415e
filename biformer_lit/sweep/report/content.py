"""Contents of a study's files, read once, for the page, the tables and the figures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.report.unit import Unit, unit_of
from biformer_lit.sweep.results.cell_summary import coverage, summary
from biformer_lit.sweep.results.factorial import effects
from biformer_lit.sweep.results.trial_table import outcomes, read_importances, read_results
from biformer_lit.sweep.spec.study_file import read_yaml
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.sweep.trials.source import folder_name
from biformer_lit.sweep.trials.study import IMPORTANCES, SPEC


@dataclass(frozen=True)
class Content:
    """A study as its files tell it.

    Args:
        folder: The study's.
        spec: What it is.
        frame: The outcomes of its trials, a row for each.
        table: Its summary, a row for each cell.
        effects: Of a factorial plan: main effects and two-way interactions; else None.
        importances: Of a search: what each parameter explains; None if that is not known.
        unit: Of the objective.
    """

    folder: Path
    spec: StudySpec
    frame: pd.DataFrame
    table: pd.DataFrame
    effects: pd.DataFrame | None
    importances: pd.DataFrame | None
    unit: Unit

    @property
    def baseline(self) -> pd.Series | None:
        """The baseline's row of the table."""
        found = self.table[self.table["baseline"].fillna(False)]
        return None if found.empty else found.iloc[0]

    @property
    def best(self) -> pd.Series | None:
        """The row of the cell with the best mean, among those with as many seeds as any."""
        done = self.table[self.table["complete"].eq(self.table["complete"].max()) & self.table["mean"].notna()]
        if done.empty:
            return None
        return done.loc[done["mean"].idxmax() if self.spec.objective.mode == "max" else done["mean"].idxmin()]

    @property
    def factors(self) -> list[str]:
        """Names of what was varied."""
        return [name.removeprefix("factor:") for name in self.table.columns if name.startswith("factor:")]

    @cached_property
    def counts(self) -> tuple[int, int, list[str]]:
        """Complete trials, planned trials, and a line for every trial that is not complete."""
        return coverage(self.frame)

    def ranked(self) -> pd.DataFrame:
        """Cells with a result, the best first."""
        done = self.table[self.table["mean"].notna()]
        return done.sort_values("mean", ascending=self.spec.objective.mode == "min", kind="stable")

    def trial_folders(self, cell: str) -> dict[int, Path]:
        """Seed to folder, of a cell's complete trials whose files are here."""
        rows = self.frame[(self.frame["cell"] == cell) & (self.frame["status"] == "complete")]
        folders = {
            int(seed): self.folder / "cells" / folder_name(cell, digest, int(seed))
            for seed, digest in rows[["seed", "digest"]].itertuples(index=False, name=None)
        }
        inside = (self.folder / "cells").resolve()  # names in the files of others may lead elsewhere
        return {s: path for s, path in folders.items() if path.is_dir() and path.resolve().is_relative_to(inside)}

    def config_of(self, cell: str) -> dict[str, Any] | None:
        """The complete config of one of a cell's trials, None if no trial's files are here."""
        for folder in self.trial_folders(cell).values():
            path = folder / "config.yaml"
            if path.is_file():
                return read_yaml(path)
        return None


def read_content(folder: Path, tables: Path | None = None) -> Content:
    """Read a study's files.

    Args:
        folder: The study's, or what was unpacked of a bundle.
        tables: Where its results are, by default in the same folder.

    Raises:
        ConfigError: If it holds no study that was exported, or one without any trial.
    """
    spec = read_spec(folder / SPEC)
    frame = outcomes(read_results(tables or folder))
    if frame.empty:
        raise ConfigError(f"{folder}: no trial has begun, so there is nothing to report; run the study first")
    table = summary(frame, mode=spec.objective.mode)
    found = None
    if spec.plan == "factorial":
        found = effects(frame, list(spec.factors))
    importances = read_importances((tables or folder) / IMPORTANCES)
    unit = unit_of(spec.objective.metric, frame["objective"])
    return Content(folder, spec, frame, table, found, importances, unit)


def read_json(path: Path) -> Mapping[str, Any] | None:
    """A JSON file's mapping, None if there is none or it cannot be read."""
    try:
        contents = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return contents if isinstance(contents, dict) else None
