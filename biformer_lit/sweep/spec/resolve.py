"""Complete configs of cells, checked before anything is trained."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from biformer_lit.errors import ConfigError
from biformer_lit.running.trial_folders import REPORT
from biformer_lit.sweep.spec.cells import Cell
from biformer_lit.sweep.spec.quantities import BOUNDED
from biformer_lit.sweep.spec.runs import Runs
from biformer_lit.sweep.spec.study_spec import StudySpec, digest_of
from biformer_lit.text.dotted import flat, plain_key

_CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"
_LOGGER = "lightning.pytorch.loggers.TensorBoardLogger"


@dataclass(frozen=True)
class ResolvedCell:
    """A cell and what it means.

    Args:
        cell: The cell.
        config: The complete config of ``fit``, with every default.
        digest: 12 hex digits of the config without the seed and the logger, which differ between runs of a cell.
        costs: What the network costs, by the names of quantities: parameters, macs.
    """

    cell: Cell
    config: dict[str, Any]
    digest: str
    costs: Mapping[str, int]


def resolve_cells(
    spec: StudySpec, cells: Sequence[Cell], runs: Runs, baseline: ResolvedCell | None = None
) -> list[ResolvedCell]:
    """The complete configs of cells.

    Args:
        spec: The study.
        cells: Its cells, or some of them.
        runs: What is known of runs.
        baseline: What cells are compared with where it is not among ``cells``, as for those that a search draws.

    Raises:
        ConfigError: With the cell, if a setting is refused, if two cells mean the same, if one differs from another in
            more than its settings, or if a cell of an ablation exceeds the constraints.
    """
    resolved = [_resolve(spec, cell, runs) for cell in cells]
    baseline = next((one for one in resolved if one.cell.baseline), baseline)
    _check_different(resolved)
    reference = baseline or (resolved[0] if resolved else None)
    for one in resolved:
        if reference is not None:
            _check_difference(one, reference)
    if baseline is not None and spec.plan != "search":
        problems = [problem for one in resolved for problem in violations(spec, one, baseline)]
        if problems:
            raise ConfigError(f"{'; '.join(problems)}; change these cells or the constraints")
    return resolved


def violations(spec: StudySpec, resolved: ResolvedCell, baseline: ResolvedCell) -> list[str]:
    """Return how a cell exceeds the study's constraints, in words with the figures; empty if it does not."""
    found = []
    for name in BOUNDED:
        most = spec.constraints.get(name)
        value, reference = resolved.costs[name], baseline.costs[name]
        if most is not None and value > most * reference:
            found.append(
                f"cell {resolved.cell.name}: {value:,} {name} are {value / reference:.3f} times the baseline's "
                f"{reference:,}, more than constraints.{name}={most:g}"
            )
    return found


def task_objective(spec: StudySpec, runs: Runs) -> dict[str, Any]:
    """The figure that the task of a study is judged by, as ``metric`` and ``mode``; empty if it does not say."""
    try:
        config = runs.config(arguments(spec, Cell("base", {}, {})))
    except ConfigError:  # a cell may be complete all the same; otherwise it says what is missing
        return {}
    return runs.objective(config)


def differing_keys(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    """Plain dotted keys (without ``init_args``) of the settings in which two configs differ; lists count as a whole."""
    left, right = flat(a), flat(b)
    return {key for key in left.keys() | right.keys() if left.get(key, _ABSENT) != right.get(key, _ABSENT)}


def arguments(spec: StudySpec, cell: Cell) -> list[str]:
    """The command line after ``fit`` that a cell stands for, as a user would type it."""
    own = {plain_key(key) for key in cell.overrides}
    settings = {key: value for key, value in spec.settings.items() if plain_key(key) not in own} | cell.overrides
    if spec.budget.epochs is not None:
        settings["trainer.max_epochs"] = spec.budget.epochs
    files = [argument for base in spec.base for argument in ("--config", base)]
    return [*files, *(f"--{key}={_typed(value)}" for key, value in settings.items())]


def repeat_config(resolved: ResolvedCell, spec: StudySpec, seed: int) -> dict[str, Any]:
    """The complete config that repeats a trial anywhere: the cell's, with the trial's seed and checkpoints.

    It names no folder of the study; a run of it goes where the base's own runs go.

    Args:
        resolved: The cell.
        spec: The study.
        seed: The trial's seed.
    """
    config = copy.deepcopy(resolved.config)
    trainer = config["trainer"]
    config["seed_everything"] = seed
    if trainer.get("enable_checkpointing") is False:  # nothing could be resumed
        trainer["enable_checkpointing"] = True
    trainer["callbacks"] = _with_checkpoints(spec, trainer)
    return config


def trial_config(resolved: ResolvedCell, spec: StudySpec, folder: Path, seed: int) -> dict[str, Any]:
    """The complete config that a study trains with: that of :func:`repeat_config`, reporting into the trial's folder.

    Args:
        resolved: The cell.
        spec: The study.
        folder: The trial's folder, which becomes the run's ``log_dir``; best.ckpt and last.ckpt lie in checkpoints.
        seed: The trial's seed.
    """
    config = repeat_config(resolved, spec, seed)
    folder = folder.resolve()
    trainer = config["trainer"]
    trainer["default_root_dir"] = str(folder)
    trainer["enable_progress_bar"] = False
    where = {"save_dir": str(folder.parent.parent), "name": folder.parent.name, "version": folder.name}
    trainer["logger"] = {"class_path": _LOGGER, "init_args": {**where, "default_hp_metric": False}}
    objective = spec.objective
    report = {
        "folder": str(folder),
        "metric": objective.metric,
        "mode": objective.mode,
        "epoch": objective.epoch,
        "digest": resolved.digest,
        **resolved.costs,
    }
    trainer["callbacks"] = [*trainer["callbacks"], {"class_path": REPORT, "init_args": report}]
    return config


def _with_checkpoints(spec: StudySpec, trainer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The config's callbacks, among them one that keeps best.ckpt by the objective, and one that keeps last.ckpt."""
    # one file each, in the trial's folder: a resumed run must find last.ckpt, and replace best.ckpt
    common = {"dirpath": None, "save_last": None, "save_top_k": 1, "enable_version_counter": False}
    best = {"filename": "best", "monitor": spec.objective.metric, "mode": spec.objective.mode, **common}
    last = {"filename": "last", "monitor": None, "save_on_train_epoch_end": True, "save_weights_only": False, **common}
    last.update(every_n_epochs=None, every_n_train_steps=None, train_time_interval=None)  # each epoch
    given = trainer.get("callbacks") or []
    callbacks: list[dict[str, Any]] = copy.deepcopy(given if isinstance(given, list) else [given])
    # a base that is another study's trial: two trials must not report into one folder
    callbacks = [one for one in callbacks if _kind(one) != _kind({"class_path": REPORT})]
    for wanted in (best, last):
        found = [
            one for one in callbacks if _is_checkpoint(one) and one["init_args"].get("filename") == wanted["filename"]
        ]
        for extra in found[1:]:
            callbacks.remove(extra)
        if found:
            found[0]["init_args"].update(wanted)
        else:
            callbacks.append({"class_path": _CHECKPOINT, "init_args": dict(wanted)})
    for one in callbacks:
        if _is_checkpoint(one):  # elsewhere, trials would write into each other's files
            one["init_args"].update(dirpath=None, save_last=None)
    return callbacks


def _is_checkpoint(callback: Mapping[str, Any]) -> bool:
    return _kind(callback) == "ModelCheckpoint"


def _kind(callback: Mapping[str, Any]) -> str:
    return str(callback["class_path"]).rpartition(".")[2]


def _resolve(spec: StudySpec, cell: Cell, runs: Runs) -> ResolvedCell:
    try:
        config = runs.config(arguments(spec, cell))
        _check_epochs(spec, config["trainer"])
        costs = runs.costs(config)
    except ConfigError as error:
        settings = ", ".join(f"{key}={_typed(value)}" for key, value in cell.overrides.items())
        raise ConfigError(f"cell {cell.name}{f' ({settings})' if settings else ''}: {error}") from None
    same = {key: value for key, value in config.items() if key != "seed_everything"}
    same["trainer"] = {key: value for key, value in config["trainer"].items() if key != "logger"}
    return ResolvedCell(cell, config, digest_of(same), costs)


def _typed(value: Any) -> str:
    """A value as it is typed after ``--key=``."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _check_epochs(spec: StudySpec, trainer: Mapping[str, Any]) -> None:
    """Refuse a length after which the objective would be missing, or not be that of the last epoch."""
    epochs, every = trainer.get("max_epochs"), trainer.get("check_val_every_n_epoch") or 1
    if not isinstance(epochs, int) or epochs < 1:
        return
    if epochs < every or (spec.objective.epoch == "last" and epochs % every):
        raise ConfigError(
            f"trainer.max_epochs={epochs}: with check_val_every_n_epoch={every} the last epoch is not validated, so "
            f"{spec.objective.metric} would be missing; choose a multiple, or set trainer.check_val_every_n_epoch"
        )


def _check_different(resolved: Sequence[ResolvedCell]) -> None:
    ordered = sorted(resolved, key=lambda one: one.digest)
    for one, other in pairwise(ordered):
        if one.digest == other.digest:
            first, second = sorted((one, other), key=resolved.index)
            raise ConfigError(
                f"cells {first.cell.name} and {second.cell.name} come to the same config: a setting of one of them is "
                "what the base has anyway; remove or change one"
            )


def _check_difference(one: ResolvedCell, reference: ResolvedCell) -> None:
    """Refuse a cell that differs in more than it names, as when a class path keeps another class's settings."""
    named = {plain_key(key) for cell in (one.cell, reference.cell) for key in cell.overrides}
    differing = differing_keys(one.config, reference.config)
    others = sorted(key for key in differing if not any(key == name or key.startswith(f"{name}.") for name in named))
    if others:
        raise ConfigError(
            f"cells {reference.cell.name} and {one.cell.name} differ also in {', '.join(others)}, which neither names; "
            "set it in both"
        )


_ABSENT = object()
