"""Kinds of task of one's own: a task and a data module that go together."""

import inspect
from typing import Any

from biformer_lit.data.data_module import HFDataModule
from biformer_lit.errors import ConfigError
from biformer_lit.kinds import KINDS, Kind
from biformer_lit.tasks.template import BiFormerTask


def register_task(name: str, task: type[BiFormerTask], data: type[HFDataModule], **row: Any) -> None:
    """Add a kind of task, beside classification, segmentation and detection.

    A config then names ``--model`` and ``--data`` by the names of the classes, the data module of another kind is
    refused with a word, ``load_task`` and ``--ckpt_path`` know the task's checkpoints, and ``predict``, ``profile`` and
    studies do with it what they do with the package's own.

    Args:
        name: Lower-case letters, digits and underscores.
        task: The task, whose class variable ``kind`` is the name. Its figures are logged as ``monitor`` says.
        data: The data module whose batches it learns from, whose ``kind`` is the name, too.
        **row: The other fields of :class:`biformer_lit.kinds.Kind`; ``teaches`` and ``target`` are needed.

    Raises:
        ConfigError: If the name is taken, a class is none that can be used, or its ``kind`` is another.
        TypeError: If a field is missing or unknown.
    """
    for value, base, role in ((task, BiFormerTask, "task"), (data, HFDataModule, "data")):
        where = f"register_task({name!r}): {role}={getattr(value, '__name__', value)!s}"
        if not (isinstance(value, type) and issubclass(value, base)):
            raise ConfigError(f"{where} is not derived from {base.__name__}; give a class that is")
        if inspect.isabstract(value):
            lacking = ", ".join(sorted(getattr(value, "__abstractmethods__", ())))
            raise ConfigError(f"{where} lacks {lacking}; write these methods")
        if value.kind != name:
            raise ConfigError(f"{where} has kind={value.kind!r}; set its class variable kind to {name!r}")
    if missing := [one for one in ("monitor", "mode") if not hasattr(task, one)]:
        raise ConfigError(
            f"register_task({name!r}): {task.__name__} has no {' and no '.join(missing)}; set these class variables to "
            "the figure that checkpoints are chosen by, and to min or max"
        )
    KINDS.register(name, Kind(task=task, data=data, **row))
