"""Data sets that are chosen by name: those that come with the package, and those that a plug-in loads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import datasets

from biformer_lit.data.embedded.digits import load_digits_dataset
from biformer_lit.data.embedded.scenes import SCENES, load_scenes
from biformer_lit.errors import BiFormerLitError, ConfigError, DataError
from biformer_lit.registry import Registry

Load: TypeAlias = Callable[..., Mapping[str, Any]]
"""Returns ``datasets.Dataset`` or ``datasets.IterableDataset`` by name of the split."""
AnyLoad = TypeVar("AnyLoad", bound=Load)

DIGITS: Final = "digits"
EMBEDDED: Final = (DIGITS, SCENES)
"""Data sets that come with the package."""


@dataclass(frozen=True)
class NamedSet:
    """A data set that a name stands for.

    Attributes:
        load: Loads its splits.
        num_classes: Number of its classes, so that ``profile`` and studies can count a network without loading it; None
            if it is not said.
        background: Whether its label maps have a class for the background besides.
    """

    load: Load
    num_classes: int | None = None
    background: bool = False


SETS: Final[Registry[NamedSet]] = Registry("data set")
SETS.register(DIGITS, NamedSet(load_digits_dataset, 10))
SETS.register(SCENES, NamedSet(load_scenes, 10, background=True))


def register_dataset(name: str, *, num_classes: int | None = None) -> Callable[[AnyLoad], AnyLoad]:
    """Let ``data.init_args.dataset`` name a data set that a function of one's own loads.

    Use it as a decorator. The function is called without arguments, once before a run and once in each of its
    processes, and returns a mapping from the names of splits to ``datasets.Dataset`` (or
    ``datasets.IterableDataset`` for ``streaming: true``). Its columns mean what those of any other data set do.

    Args:
        name: Lower-case letters, digits and underscores. It counts before a folder of that name.
        num_classes: Number of its classes, so that ``profile`` and studies can count a network without loading it. Of
            label maps the background counts.

    Raises:
        ConfigError: If the name is taken or is none, or the number is below 1.
    """
    if num_classes is not None and num_classes < 1:
        raise ConfigError(f"register_dataset({name!r}): num_classes={num_classes} must be at least 1, or left out")

    def register(load: AnyLoad) -> AnyLoad:
        if not callable(load):
            raise ConfigError(f"register_dataset({name!r}): {load!r} is no function that loads splits; give one")
        SETS.register(name, NamedSet(load, num_classes))
        return load

    return register


def load_named(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the splits of a data set of :data:`SETS`.

    Args:
        name: Its name.
        options: Arguments of its function.

    Raises:
        DataError: If a function of a plug-in's fails, or returns something else than splits.
    """
    try:
        splits = SETS[name].load(**options)
    except BiFormerLitError:
        raise
    except Exception as error:
        raise DataError(
            f"data.init_args.dataset: {name!r} cannot be loaded{_by(name)} ({type(error).__name__}: {error}); correct "
            "the function that loads it"
        ) from error
    kinds = datasets.Dataset | datasets.IterableDataset
    if not isinstance(splits, Mapping) or not all(isinstance(split, kinds) for split in splits.values()):
        held = [type(split).__name__ for split in splits.values()] if isinstance(splits, Mapping) else splits
        raise DataError(
            f"data.init_args.dataset: {name!r}{_by(name)} is loaded as {type(splits).__name__} ({str(held)[:80]}), not "
            "as datasets.Dataset by split; return a datasets.DatasetDict, or a dictionary"
        )
    return {str(split): table for split, table in splits.items()}


def known_classes(name: Any, *, background: bool) -> int | None:
    """Return the number of classes of a named data set, None if it is not known.

    Args:
        name: What ``data.init_args.dataset`` is.
        background: Whether pixels are classified, so that the background may be a class.
    """
    known = SETS.get(name) if isinstance(name, str) else None
    if known is None or known.num_classes is None:
        return None
    return known.num_classes + (background and known.background)


def _by(name: str) -> str:
    plugin = SETS.plugin_of(name)
    return "" if plugin is None else f" by the plug-in {plugin}"
