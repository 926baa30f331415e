"""Row numbers of streams: which row of the stored split an example is, however the stream is divided and shuffled."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.iterable_dataset import ExamplesIterable

from biformer_lit.seams.datasets_seams import examples_of, wait_as

ROW = "__row__"
"""Column of a numbered stream with the number of the row in the split."""
UNKNOWN_STRIDE = 1_000_000_000
"""How far apart the numbers of two shards are where nobody knows how many rows the first one has."""


class Shards(NamedTuple):
    """The shards of a stream: files, or pieces of them, that are read one after the other.

    Attributes:
        starts: Number in the split of the first row of each shard.
        counted: Whether these are the true numbers. Otherwise the rows of each shard are counted from a multiple of
            ``UNKNOWN_STRIDE``, so that every number still identifies one row, whichever process reads it.
    """

    starts: list[int]
    counted: bool


def find_shards(stream: datasets.IterableDataset) -> Shards:
    """Return where the shards of a stream begin, as far as that is known without reading them.

    The rows of local Parquet files, of folders of images and of data sets on this machine are counted from what their
    headers or the listing say; those of archives and of files on the hub are not.

    Args:
        stream: A split as ``datasets`` opened it, before anything is done to it.
    """
    rows = [0] if stream.num_shards == 1 else [_count_rows(source) for source in _sources(stream)]
    starts, total = [], 0
    for count in rows:
        if count is None:
            break
        starts.append(total)
        total += count
    if len(starts) == stream.num_shards:
        return Shards(starts, True)
    return Shards([number * UNKNOWN_STRIDE for number in range(stream.num_shards)], False)


def describe_row(index: int) -> str:
    """The number of a row as it may stand in a message."""
    shard, row = divmod(index, UNKNOWN_STRIDE)
    return f"row {row} of file {shard}" if shard else f"row {row}"


def number_rows(stream: datasets.IterableDataset, shards: Shards) -> datasets.IterableDataset:
    """The same stream with the number of each row in column ``ROW``.

    It has as many shards, and shuffles and divides as the stream itself does. ``datasets`` has no number of its own
    that would outlive this: ``map(with_indices=True)`` counts what a worker reads.
    """

    def rows_of_shards(numbers: list[int]) -> Iterator[tuple[Any, dict[str, Any]]]:
        for number in numbers:
            shard = stream.shard(stream.num_shards, number)
            # iter() and not a loop over the shard, which would divide it among the workers once more
            for row, batch in enumerate(shard.iter(batch_size=1)):
                example = {column: values[0] for column, values in batch.items()}
                yield (number, row), {**example, ROW: shards.starts[number] + row}

    examples = ExamplesIterable(rows_of_shards, {"numbers": list(range(stream.num_shards))})
    # the threads that read Parquet files are still there, for which datasets waits at the end of a pass
    wait_as(examples, stream)
    return datasets.IterableDataset(examples, split=stream.split)


def _sources(stream: Any) -> list[Any]:
    """Return what each shard is read from; empty if that is unknown."""
    examples = examples_of(stream)  # where they are not as expected, nothing is found
    while hasattr(examples, "ex_iterable"):
        examples = examples.ex_iterable
    kwargs = getattr(examples, "kwargs", {})
    # the names by which datasets calls the files and the pieces of a set; those of metadata hold rows nobody counted
    lists = [kwargs[name] for name in ("files", "shards") if isinstance(kwargs.get(name), list)]
    return lists[0] if lists else []


def _count_rows(source: Any) -> int | None:
    """Rows of one shard, None where they are not known."""
    if isinstance(source, datasets.Dataset):
        return len(source)
    if isinstance(source, tuple) and len(source) == 3:  # of a folder of images: as given, the archive, what is in it
        return len(source[2]) if isinstance(source[2], list) else 1
    if not isinstance(source, str) or not Path(source).is_file():
        return None
    try:
        return int(pq.read_metadata(source).num_rows)
    except (OSError, pa.ArrowException):
        return None
