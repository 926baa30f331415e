"""A look at the rows of a split before a run begins: sizes from the headers of the images, and what is wrong with rows.

It takes seconds, whatever the size of the set: where there is no time for all rows, those looked at are spread over it.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from biformer_lit.data.images.decoding import BadImageError, decode_image
from biformer_lit.data.images.headers import Header, read_header
from biformer_lit.data.images.rendering import Rendering
from biformer_lit.data.labels import Integers
from biformer_lit.data.repairs import Repairs, total_of
from biformer_lit.data.samples import Source
from biformer_lit.errors import DataError

_MOST_NAMED = 5  # rows that an error names
_KIND = 60  # characters of a message by which faults are told apart
_SURELY = 64  # rows that are looked at however long they take


@dataclass
class Fault:
    """One kind of fault.

    Attributes:
        message: What the first row with it would raise.
        skippable: Whether ``on_bad_image: skip`` leaves such rows out.
        rows: Their numbers, each with its file or key, as they stand in messages.
    """

    message: str
    skippable: bool
    rows: dict[int, str] = field(default_factory=dict)

    def describe(self, looked: int) -> str:
        """The message, and how many of the rows looked at have the same fault."""
        if len(self.rows) < 2:
            return self.message
        named = ", ".join(self.rows[row].removeprefix("row ") for row in sorted(self.rows)[:_MOST_NAMED])
        more = ", ..." if len(self.rows) > _MOST_NAMED else ""
        return f"{self.message} (the same in {len(self.rows)} of {looked} rows: {named}{more})"


@dataclass
class Survey:
    """Statistics of the inspected rows of a split.

    Attributes:
        of: Rows there are.
        looked: Rows that were looked at.
        least: Height and width of the smallest image, by area; None if no header could be read.
        greatest: Height and width of the largest.
        faults: What is wrong, by kind.
        repairs: What will be done about the rest of the rows; None if nothing.
    """

    of: int
    looked: int = 0
    least: tuple[int, int] | None = None
    greatest: tuple[int, int] | None = None
    faults: dict[str, Fault] = field(default_factory=dict)
    repairs: Repairs | None = None

    def add_size(self, size: tuple[int, int]) -> None:
        """Note the size of an image."""
        area = size[0] * size[1]
        if self.least is None or area < self.least[0] * self.least[1]:
            self.least = size
        if self.greatest is None or area > self.greatest[0] * self.greatest[1]:
            self.greatest = size

    def add_fault(self, row: int, called: str, where: str, error: DataError) -> None:
        """Note what a row would raise, whose message begins with ``where``; numbers do not make it another kind."""
        kind = re.sub(r"\d+", "#", str(error).removeprefix(where))[:_KIND]
        fault = self.faults.setdefault(kind, Fault(str(error), isinstance(error, BadImageError)))
        if not fault.rows or row < min(fault.rows):
            fault.message = str(error)
        fault.rows[row] = called

    def require_sound(self, skip: bool) -> None:
        """Refuse rows that would end the run.

        Args:
            skip: Whether rows that may be skipped will be.

        Raises:
            DataError: If there are any; the most frequent kind of fault is told.
        """
        faults = [fault for fault in self.faults.values() if not (skip and fault.skippable)]
        if faults:
            raise DataError(max(faults, key=lambda fault: len(fault.rows)).describe(self.looked))

    def skipped(self) -> int:
        """Number of inspected rows that will be skipped if that is allowed."""
        return len({row for fault in self.faults.values() if fault.skippable for row in fault.rows})


def in_time(rows: Sequence[int] | Integers, seconds: float) -> Iterator[int]:
    """The rows, in an order that is spread over all of them, until the time is up; always the first few."""
    order = np.random.default_rng(0).permutation(len(rows))
    end = time.monotonic() + seconds
    for number, place in enumerate(order.tolist()):
        if number >= _SURELY and time.monotonic() > end:
            return
        yield int(rows[place])


Inspect = Callable[[dict[str, Any], str, Header], Repairs | None]
"""Looks at what a row holds besides its image: tells what will be done about it, or raises ``DataError`` as reading
would."""


def survey_rows(
    source: Source, image_column: str, inspect: Inspect | None, seconds: float, rendering: Rendering
) -> Survey:
    """Look at the headers of the images of some rows, and at what else they hold.

    Args:
        source: The rows, with undecoded images.
        image_column: Column with the image.
        inspect: Looks at the rest; None where nothing else is to be seen.
        seconds: How long.
        rendering: How images are read, for those whose headers cannot be.
    """
    found = Survey(len(source.rows))
    repairs: list[Repairs] = []
    for row in in_time(source.rows, seconds):
        found.looked += 1
        stored = source.table[row]
        called, where = source.names_of(row, stored)
        try:
            stored = source.locate(stored, where)
            header = read_header(stored[image_column])
            if header is None:
                picture = decode_image(stored[image_column], where, rendering)
                header = Header((picture.height, picture.width), 1)
            found.add_size(header.size)
            done = None if inspect is None else inspect(stored, where, header)
            if done is not None:
                repairs.append(done)
        except DataError as error:
            found.add_fault(row, called, where, error)
    found.repairs = total_of(repairs)
    return found
