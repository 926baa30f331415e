"""Table that relates the files of a folder of predictions to the images of the data set."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from biformer_lit.text.escaping import for_csv

NAMES = ("file", "image_id")
"""Entries of a batch that identify its images besides their rows, where the data set has them."""


def named_images(batch: Mapping[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Yield what identifies each of the ``count`` images of a batch besides its row, by name; empty if nothing does."""
    for i in range(count):
        yield {name: batch[name][i] for name in NAMES if name in batch}


class ImageTable:
    """A CSV file with a line for each image: its row, its picture here, its file and number in the data set.

    It is written as images come, and only if the data set has files or numbers; otherwise there is nothing to add to
    the pictures' names.

    Args:
        path: The file, in a folder that was made for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._columns: list[str] = []

    def add(self, index: int, picture: str, named: Mapping[str, Any]) -> None:
        """Write the line of an image.

        Args:
            index: Its row number.
            picture: Name of its picture.
            named: What else identifies it.
        """
        if not named:
            return
        if self._file is None:
            self._file = self.path.open("x", newline="", encoding="utf-8")
            self._columns = list(named)
            csv.writer(self._file).writerow(["index", "picture", *self._columns])
        csv.writer(self._file).writerow([index, picture, *(for_csv(named.get(name)) for name in self._columns)])
        self._file.flush()

    def close(self) -> None:
        """Close the file; what was written so far stays."""
        if self._file is not None:
            self._file.close()
