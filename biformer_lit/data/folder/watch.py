"""Arrow files that rows are read from through the memory: whether they are still as long as when they were opened."""

import os
import time
from typing import Any

from biformer_lit.errors import DataError

_EACH_TIME = 8  # files that are looked at before each row
_SECONDS = 1.0  # between looks at more files than that


class FileWatch:
    """Notices that a file was cut short while it is in use: reading beyond its end would end the process.

    What is cut between a look and the reading of a row goes unnoticed.

    Args:
        table: ``datasets.Dataset``, whose files are those of its rows; anything else has none.
    """

    def __init__(self, table: Any) -> None:
        names = [entry["filename"] for entry in getattr(table, "cache_files", None) or []]
        self._sizes = {name: os.stat(name).st_size for name in names}  # noqa: PTH116 (before each row)
        self._looked = -_SECONDS

    def check(self) -> None:
        """Look at the files.

        Raises:
            DataError: If one is gone, or shorter than when it was opened.
        """
        now = time.monotonic()
        if len(self._sizes) > _EACH_TIME and now < self._looked + _SECONDS:
            return
        self._looked = now
        for name, size in self._sizes.items():
            try:
                left = os.stat(name).st_size  # noqa: PTH116 (before each row)
            except FileNotFoundError:
                continue  # removed, but still there for who has opened it
            if left < size:
                raise DataError(
                    f"{name}: is shorter than when it was opened ({left:,} of {size:,} bytes): another program changed "
                    "it; write it again, and start again"
                )
