"""Runs that use a trial's config: they get folders of their own, and the study's files stay as they are."""

import sys
from pathlib import Path
from typing import Any

from biformer_lit.running.trial_folders import is_ours, named_as_trial

_REPORT = "TrialReport"
_REPEATS = Path("runs", "repeats")


def leave_trials_alone(trainer: Any) -> None:
    """Take what would write into a trial's folder out of a trainer's settings, unless a study started this process.

    A trial is trained with a config that names the trial's folder as the place of its logger, its checkpoints and its
    report. Any other use of that config gets ``runs/repeats/CELL-DIGEST/seed-N/version_K``.

    Args:
        trainer: The section ``trainer`` of a parsed config, changed in place.
    """
    foreign: list[str] = []
    callbacks = _listed(trainer.get("callbacks"))
    kept = [callback for callback in callbacks if not _found(_folder_of_report(callback), foreign)]
    if len(kept) < len(callbacks):
        trainer["callbacks"] = kept
    for logger in _listed(trainer.get("logger")):
        folder = _found(_folder_of_logger(logger), foreign)
        if folder:
            settings = logger["init_args"]
            settings["save_dir"], settings["version"] = str(_REPEATS), None
            settings["name"] = str(Path(*Path(folder).parts[-2:]))
    root = _found(trainer.get("default_root_dir"), foreign)
    if root:
        trainer["default_root_dir"] = str(_REPEATS.joinpath(*Path(root).parts[-2:]))
    if foreign:
        sys.stderr.write(
            f"{foreign[0]} belongs to a study, which alone writes there; this run writes into {_REPEATS} instead\n"
        )


def _listed(value: Any) -> list[Any]:
    """A callback or logger, or several, or none, as a list."""
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None or isinstance(value, bool) else [value]


def _found(folder: str | None, foreign: list[str]) -> str | None:
    """The folder, added to those that are not this process's, if it is a trial's of which that holds."""
    if folder is None or not named_as_trial(folder) or is_ours(folder):
        return None
    foreign.append(folder)
    return folder


def _folder_of_report(callback: Any) -> str | None:
    name = str(callback.get("class_path", "")).rpartition(".")[2]
    return str(callback["init_args"]["folder"]) if name == _REPORT else None


def _folder_of_logger(logger: Any) -> str | None:
    """The folder that a logger is given as its own, None if it makes one up."""
    settings = logger.get("init_args") or {}
    where = [settings.get(name) for name in ("save_dir", "name", "version")]
    return None if None in where else str(Path(*map(str, where)))
