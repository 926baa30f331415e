"""Repairs of what a row holds besides its image; the kind of data determines their sort."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from typing_extensions import Self


class Repairs(Protocol):
    """Counts of what was done, all 0 where there is nothing to tell."""

    @classmethod
    def total(cls, several: Iterable[Any]) -> Self:
        """Return the sums of several."""

    def describe(self) -> str:
        """Return what was done in one line."""

    def __iter__(self) -> Iterator[Any]: ...


def total_of(several: Iterable[Repairs]) -> Repairs | None:
    """Return the sums of repairs of one sort; None if there are none, or nothing was done."""
    found = list(several)
    total = type(found[0]).total(found) if found else None
    return total if total is not None and any(total) else None
