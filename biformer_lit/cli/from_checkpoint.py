"""Effect of ``--ckpt_path`` on the rest of a command line: the checkpoint's settings that are used.

Which these are says the table in :mod:`biformer_lit.tasks.saved_settings`.
"""

import contextlib
import io
import sys
import warnings
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from biformer_lit.checkpoints.saved_weights import SavedWeights
from biformer_lit.cli.allowed import imported
from biformer_lit.errors import CheckpointError
from biformer_lit.tasks.restore import require_plugins_of
from biformer_lit.tasks.saved_settings import left_settings, taken_settings
from biformer_lit.tasks.saved_task import import_path, known_task
from biformer_lit.text.dotted import flat


def with_settings_of(parser: LightningArgumentParser, config: Namespace, saved: SavedWeights) -> Namespace:
    """A parsed command line with what a checkpoint decides of its model; a warning says what that overrides.

    Args:
        parser: The command line's parser.
        config: The parsed command line.
        saved: The checkpoint.

    Raises:
        CheckpointError: If it is from no task that is known, or its settings do not fit.
    """
    subcommand = config.subcommand
    model = config[subcommand].get("model")
    before = flat(model.as_dict() if model else {})
    require_plugins_of(saved)
    chosen, settings = _chosen_class(saved.made_by, model, saved.where), saved.settings
    brought = {"class_path": chosen, "init_args": taken_settings(settings)}
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            merged: Namespace = parser.parse_object({subcommand: {"model": brought}}, config)
    except SystemExit:
        reason = said.getvalue().rpartition("error: ")[2].partition("\n")[0]
        raise CheckpointError(
            f"{saved.where}holds settings that do not fit ({reason}); to use its weights alone set "
            "model.init_args.weights instead"
        ) from None
    sys.stderr.write(said.getvalue())
    merged_model = merged[subcommand].model
    if "weights" in merged_model.get("init_args", {}):  # the checkpoint has its own; those it began with may be gone
        merged_model.init_args.weights = None
    after = flat(merged_model.as_dict())
    _tell_overridden(before, after)
    _tell_left(left_settings(settings), after)
    return merged


def _chosen_class(named: str, model: Namespace | None, where: str) -> str:
    """The class to build, without importing what a file names: a task of ours, or the class that is typed."""
    typed = str(model.get("class_path", "")) if model else ""
    typed_class = imported(typed)
    if (task := known_task(named)) is not None:
        own = isinstance(typed_class, type) and issubclass(typed_class, task)
        return typed if own else import_path(task)
    if typed and known_task(typed) is None and typed.rpartition(".")[2] == named.rpartition(".")[2]:
        return typed
    raise CheckpointError(
        f"{where}was made by the task {named!r}, which is none of this package's; if it is yours, name it with "
        "--model or in the config (a checkpoint's word is not enough to import it); to use its weights alone set "
        "model.init_args.weights instead"
    )


def _tell_overridden(before: dict[str, Any], after: dict[str, Any]) -> None:
    overridden = [
        f"{key}: {value!r} gives way to {after[key]!r}"
        for key, value in before.items()
        if key in after and key != "weights" and value is not None and after[key] != value
    ]
    if overridden:
        warnings.warn(
            f"--ckpt_path brings the settings of its own run: {'; '.join(overridden)}. To use its weights with "
            "other settings, set model.init_args.weights instead",
            stacklevel=3,
        )


def _tell_left(left: dict[str, Any], after: dict[str, Any]) -> None:
    kept = [
        f"{key} is {after[key]!r} (in its run {_plain(value)!r})"
        for key, value in flat(left).items()
        if key in after and _plain(after[key]) != _plain(value)
    ]
    if kept:
        warnings.warn(
            f"--ckpt_path leaves to you what changes no weight: {'; '.join(kept)}. Set it to have its run's",
            stacklevel=3,
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
