"""Check of the classes that a config names: those of the documented bases, and nothing else.

The parser checks a class where an annotation asks for a certain one. In places Lightning's ask for ``object`` or a
``Callable``, where the parser would take whatever can be imported, ``os.system`` among it.
"""

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning.pytorch import Callback
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy

from biformer_lit.data import HFDataModule
from biformer_lit.errors import ConfigError
from biformer_lit.tasks import BiFormerTask

BASES: tuple[type[Any], ...] = (
    *(BiFormerTask, HFDataModule, Callback, Logger, Strategy, Accelerator, Profiler),
    *(Precision, ClusterEnvironment, CheckpointIO, LayerSync),
)
"""A config may name any importable class that is one of these."""

# hooks, wrapping policies and settings of distributed training, which Lightning's strategies take
_OF_STRATEGIES = ("torch.distributed.algorithms.", "torch.distributed.fsdp.")


def check_named(config: Any, where: str = "") -> None:
    """Refuse a class or a function that a config may not name. Nothing is imported for it.

    Args:
        config: A parsed config, or a part of it.
        where: The dotted key of the part.

    Raises:
        ConfigError: With the key and what it names.
    """
    if isinstance(config, Namespace):
        config = vars(config)
    if isinstance(config, Mapping):
        if isinstance(path := config.get("class_path"), str):
            _check_class(path, config.get("dict_kwargs"), where)
        own = _defaults(path) if isinstance(path, str) else []
        for key, value in config.items():
            inner = value
            if key == "init_args" and own:
                inner = {name: one for name, one in vars(value).items() if not any(one is default for default in own)}
            check_named(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(config, list | tuple | set):
        for value in config:
            check_named(value, where)
    elif inspect.isroutine(config) or inspect.isclass(config):
        name = f"{config.__module__}.{config.__qualname__}"
        if not name.startswith(_OF_STRATEGIES):
            raise ConfigError(
                f"{where}: {name} is a function or class that a config may not name; write a class of its own around "
                "it, such as a Callback, and name that"
            )


def _defaults(path: str) -> list[Any]:
    """Functions that a class takes if nothing is said, such as BackboneFinetuning's."""
    found = imported(path)
    if not isinstance(found, type):
        return []
    parameters = inspect.signature(found).parameters.values()
    return [parameter.default for parameter in parameters if inspect.isroutine(parameter.default)]


def _check_class(path: str, extra: Any, where: str) -> None:
    found = imported(path)
    fits = isinstance(found, type) and issubclass(found, BASES)
    if not fits and not (found is not None and path.startswith(_OF_STRATEGIES)):
        raise ConfigError(
            f"{where}: {path!r} is not a class that a config may name; give one derived from "
            f"{', '.join(base.__name__ for base in BASES[:-1])} or {BASES[-1].__name__}"
        )
    if extra and isinstance(found, type) and issubclass(found, BiFormerTask | HFDataModule):  # which name all they take
        raise ConfigError(
            f"{where}.dict_kwargs: {', '.join(map(str, extra))}: there is no such setting; correct it or remove it"
        )


def imported(path: str) -> Any:
    """Return what a dotted path names if its module has been imported, as the parser does before it builds it."""
    module, *names = path.split(".")
    while names and f"{module}.{names[0]}" in sys.modules:
        module = f"{module}.{names.pop(0)}"
    found: Any = sys.modules.get(module) if names else None
    for name in names:
        found = getattr(found, name, None)
    return found
