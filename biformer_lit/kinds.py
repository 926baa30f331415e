"""Kinds of task: what belongs to each of them, in one row.

The package's own stand in :mod:`biformer_lit.shipped_kinds`; :func:`biformer_lit.register_task` adds others. Nothing
else asks of which kind a task is: who needs to know reads the row.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from biformer_lit.errors import ConfigError
from biformer_lit.registry import Registry

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from biformer_lit.callbacks.predictions import PredictionFiles
    from biformer_lit.callbacks.shown import Shown
    from biformer_lit.data.data_module import HFDataModule
    from biformer_lit.tasks.template import BiFormerTask

OpenFiles: TypeAlias = "Callable[[Path, BiFormerTask, HFDataModule | None, Shown], PredictionFiles]"
"""Opens what predictions are written to: at a path that does not exist yet, for a task, its data module (None where
there is none of ours), and with what is to be drawn."""


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    Attributes:
        task: The task; its ``kind`` is the name of the row.
        data: The data module whose batches it learns from; its ``kind`` is the same.
        teaches: What these batches teach, in words, such as ``classes of pixels``.
        target: Entry of a batch with what is to be learnt.
        pairs: Whether a loader may also give images and targets as a pair of tensors.
        complete: Adds to a batch what loaders of others leave out; None where nothing can be missing.
        check_target: Refuses targets of loaders of others, on the CPU, with ``DataError``: called with the entry of the
            batch and the task; None checks nothing.
        predictions: Name of what ``predict`` writes, in the run's folder.
        files: Opens that; None where ``predict`` writes nothing.
        panels: Callback that draws validation images in TensorBoard; None where there is none.
        confusion: Whether evaluation returns ``prediction`` and ``label``, class numbers of the same shape, of which
            the confusion matrix is drawn.
        background: Whether the background counts as a class, where a data set has classes of objects before one.
    """

    task: "type[BiFormerTask]"
    data: "type[HFDataModule]"
    teaches: str
    target: str
    pairs: bool = True
    complete: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    check_target: "Callable[[Any, BiFormerTask], None] | None" = None
    predictions: str = "predictions"
    files: "OpenFiles | None" = None
    panels: "type[Callback] | None" = None
    confusion: bool = False
    background: bool = False


KINDS: Final[Registry[Kind]] = Registry("kind of task")

_OLD_VALUES = {"classes": "classification", "maps": "segmentation", "objects": "detection"}


def kind_named(name: str, whose: str) -> Kind:
    """Return the row of a kind.

    Args:
        name: Name of the kind.
        whose: Class that says it is of this kind, for the message.

    Raises:
        ConfigError: If there is no such kind.
    """
    if name not in KINDS:
        raise ConfigError(
            f"{whose}.kind={name!r} is no kind of task; there are {', '.join(KINDS)}, and biformer_lit.register_task "
            "adds others"
        )
    return KINDS[name]


def kind_of(task: Any) -> Kind:
    """Return the row of a task; one that is none of ours, as tests and scripts have them, counts as a classifier."""
    return kind_named(getattr(task, "kind", "classification"), type(task).__name__)


def present_name(name: str) -> str:
    """Return the name of a kind, from that or from what version 0.1 called it in checkpoints and classes."""
    return _OLD_VALUES.get(name, name)


def follow_old_name(cls: type[Any], old: str) -> None:
    """Take a class's ``kind`` from the attribute that was called otherwise in version 0.1, with a warning.

    Args:
        cls: A class that was just made.
        old: What the attribute was called.
    """
    value = vars(cls).get(old)
    if isinstance(value, str) and "kind" not in vars(cls):
        cls.kind = present_name(value)
        warnings.warn(
            f"{cls.__name__}.{old} = {value!r} is called kind = {cls.kind!r} now; the old name goes with the next "
            "release",
            FutureWarning,
            stacklevel=4,
        )
