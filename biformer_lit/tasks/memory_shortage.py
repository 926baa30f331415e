"""Images too large for the memory, in one line with a remedy in place of an allocator's error."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from biformer_lit.errors import MemoryShortageError
from biformer_lit.ops.memory import in_gigabytes

_SHORT = re.compile(r"can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
_BYTES = re.compile(r"allocate (\d+) bytes|allocate ([\d.]+) ([KMGT])iB")


@contextmanager
def within_memory(size: Sequence[int], remedy: str) -> Iterator[None]:
    """Say which images did not fit, and what to do.

    Args:
        size: Number, height and width of the images that are looked at.
        remedy: What to do.

    Raises:
        MemoryShortageError: If the memory does not suffice.
    """
    try:
        yield
    except MemoryShortageError as error:
        raise MemoryShortageError(f"{_images(size)}: {error}; or {remedy}") from None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryShortageError(f"{_images(size)}: the memory does not suffice{_wanted(error)}; {remedy}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python's or torch's says that there is not enough memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _SHORT.search(str(error)) is not None
    )


def _images(size: Sequence[int]) -> str:
    number, height, width = size
    return f"{number} image{'s' if number > 1 else ''} of {height} x {width} pixels"


def _wanted(error: BaseException) -> str:
    found = _BYTES.search(str(error))
    if found is None:
        return ""
    scale = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    wanted = int(found[1]) if found[1] else float(found[2]) * scale[found[3]]
    return f" ({in_gigabytes(wanted)} in one piece)"
