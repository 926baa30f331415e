"""Data sets of training and evaluation: stored rows become samples of tensors."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from biformer_lit.data.folder import Files
from biformer_lit.data.folder.watch import FileWatch
from biformer_lit.data.identity import Identity
from biformer_lit.data.images.decoding import BadImageError
from biformer_lit.data.labels import Integers
from biformer_lit.data.loading import LOADING_ERRORS, unreadable
from biformer_lit.data.repairs import Repairs
from biformer_lit.data.sampling import SampleKey, sample_seed
from biformer_lit.data.streams import ROW, describe_row
from biformer_lit.errors import DataError

Part = Literal["train", "validation", "test", "predict"]
"""What rows are used for."""

PARTS: dict[str, tuple[Part, ...]] = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("predict",),
}
"""The parts that a stage of Lightning needs."""

Read = Callable[[dict[str, Any], str], dict[str, Any]]
"""Makes a sample of a stored row; the second argument, ``split '...', row ...``, begins its errors."""


class Skipped:
    """The rows whose image could not be read, and those where something was put right, as far as they were met.

    Attributes:
        split: Name of the split.
        rows: Numbers in the split of the rows whose image could not be read.
        repairs: What was done about the rest of a row, by its number; only rows of which there is something to tell.
    """

    def __init__(self, split: str) -> None:
        self.split = split
        self.rows: set[int] = set()
        self.repairs: dict[int, Repairs] = {}


class Source(NamedTuple):
    """The rows that training, validation, test or prediction works on.

    Attributes:
        table: ``datasets.Dataset`` or ``datasets.IterableDataset``, with undecoded images.
        split: Name of the split as stored.
        rows: Rows of the split to use; empty for a stream.
        identity: How the rows tell which image they hold; None if only by their number.
        files: Which files the rows may name; None for any.
    """

    table: Any
    split: str
    rows: Integers
    identity: Identity | None = None
    files: Files | None = None

    def called(self, index: int, stored: dict[str, Any]) -> str:
        """A row and its file or key, as they stand in messages."""
        return describe_row(index) + ("" if self.identity is None else self.identity.called(stored))

    def names_of(self, index: int, stored: dict[str, Any]) -> tuple[str, str]:
        """Return the name of a row in messages, with which its errors begin."""
        called = self.called(index, stored)
        return called, f"split {self.split!r}, {called}"

    def named(self, sample: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
        """The sample with what identifies its image besides the row."""
        return sample if self.identity is None else {**sample, **self.identity.of(stored)}

    def locate(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        """A stored row whose images have paths that may be read.

        Raises:
            DataError: If one lies where no file of the data set may lie.
        """
        if self.files is None:
            return row
        return {column: self.files.locate_images(value, where) for column, value in row.items()}


class RowDataset(Dataset[dict[str, Any]]):
    """Rows of a split as samples.

    A sample is what ``read`` returns, with ``index``, the row number in the split as stored, in evaluation with what
    else identifies its image (see ``Identity``), and with ``skipped``, the rows that could not be read on the way to
    it. If that is allowed, a training sample
    whose image is bad is replaced by the next row, augmented with the same random numbers, so that batches
    keep their size; in evaluation, where a row must not count twice, only ``skipped`` is left. If it is not
    allowed the sample is ``{"error": message}``: torch would wrap an exception raised in a worker in a long
    traceback.

    Args:
        source: The rows.
        skipped: Where the bad ones among them are entered.
        read: Makes a sample of a stored row.
        seed: Seed of the augmentation; None in evaluation.
        skip_bad: Whether rows that cannot be read are left out.
    """

    def __init__(
        self,
        source: Source,
        skipped: Skipped,
        read: Read,
        seed: int | None,
        skip_bad: bool,
    ) -> None:
        self.skipped = skipped
        self._source, self._rows, self._read = source, source.rows, read
        self._watch = FileWatch(source.table)
        self._seed, self._skip_bad = seed, skip_bad

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        if not isinstance(key, SampleKey):  # evaluation, or Lightning's sequential order in overfit_batches
            key = SampleKey(key, 0, 0)
        bad: dict[int, str] = {}
        for step in range(len(self) if self._seed is not None else 1):
            row = int(self._rows[(key.index + step) % len(self)])
            called = f"row {row}"
            try:
                stored = self._stored(row)
                called = self._source.called(row, stored)
                sample = self._sample(stored, f"split {self.skipped.split!r}, {called}", key)
            except DataError as error:
                if not (self._skip_bad and isinstance(error, BadImageError)):
                    return {"error": str(error)}
                bad[row] = called
            else:
                return {**sample, "index": row, "skipped": bad}
        if self._seed is not None:
            return {"error": f"split {self.skipped.split!r}: none of the {len(self)} images can be read"}
        return {"skipped": bad}

    def _sample(self, stored: dict[str, Any], where: str, key: SampleKey) -> dict[str, Any]:
        row = self._source.locate(stored, where)
        if self._seed is None:
            return self._source.named(self._read(row, where), stored)
        with sample_seed(self._seed, "augment", *key):
            return self._read(row, where)

    def _stored(self, row: int) -> dict[str, Any]:
        self._watch.check()
        try:
            stored: dict[str, Any] = self._source.table[row]
        except LOADING_ERRORS as error:
            raise DataError(unreadable(f"split {self.skipped.split!r}, row {row}", error)) from error
        return stored


class RowStream(IterableDataset[dict[str, Any]]):
    """Samples of a split that is read as a stream, with the same entries as those of ``RowDataset``.

    The rows are divided among the processes and their workers. ``index`` is the row number in the split as stored, as
    far as it can be known (see ``find_shards``), and in any case one number for one row. A bad image is left out or
    is an error, as in ``RowDataset``; the stream goes on with the next row.

    A pass that begins within an epoch passes over the batches before its place: their rows are read, for the
    shuffling to be the same, but not decoded. Their samples hold ``passed`` alone. A worker knows of most batches
    that they come before the place, but not of those that it made in place of workers at their end; whoever
    reads the batches counts and drops ``passed_batches`` of them.

    Args:
        source: The rows for this process, numbered (see ``number_rows``).
        skipped: Where the bad ones among them are entered.
        read: Makes a sample of a stored row.
        seed: Seed of the augmentation; None in evaluation.
        skip_bad: Whether rows that cannot be read are left out.
        process: Number of this process, and number of processes.
        batch_size: Samples per batch, needed to leave out whole batches.
    """

    def __init__(
        self,
        source: Source,
        skipped: Skipped,
        read: Read,
        seed: int | None,
        skip_bad: bool,
        process: tuple[int, int],
        batch_size: int,
    ) -> None:
        self.skipped = skipped
        self._source, self._stream, self._read = source, source.table, read
        self._seed, self._skip_bad = seed, skip_bad
        (self._rank, self._world_size), self._batch_size = process, batch_size
        # shared memory, since workers that live on through epochs hold a copy of this object
        self._start: Tensor = torch.zeros(2, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def passed_batches(self) -> int:
        """Return how many batches at the beginning of this process's pass are to be dropped."""
        return int(self._start[1])

    def start(self, epoch: int, skip_batches: int) -> None:
        """Go to ``epoch`` and pass over its first batches (of this process)."""
        self._start.copy_(torch.tensor([epoch, skip_batches]))
        # here and not in the workers, who share the stream's epoch too: set_epoch adds the difference to it, and two
        # workers that do so at once go too far
        self._stream.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Go to ``epoch``; what ``start`` said still holds if it is the same epoch."""
        if epoch != int(self._start[0]):
            self.start(epoch, 0)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch, passed = map(int, self._start.tolist())
        stride, offset = self._world_size * workers, self._rank * workers + worker
        readable = True
        rows = iter(self._stream)
        for number in itertools.count():
            try:
                example = next(rows)
            except StopIteration:
                return
            except LOADING_ERRORS as error:
                yield {"error": unreadable(f"split {self.skipped.split!r}, streamed row {number}", error)}
                return
            # the loader takes the batches of its workers in turns, and leaves out one without a readable image
            batch, place = divmod(number, self._batch_size)
            readable = readable and (place > 0 or not self._skip_bad)
            if batch * workers + worker < passed and readable:
                yield {"passed": True, "skipped": {}}
                continue
            sample = self._sample(example, number * stride + offset, epoch)
            readable = "index" in sample
            yield sample

    def _sample(self, example: dict[str, Any], number: int, epoch: int) -> dict[str, Any]:
        """A sample; ``number`` tells its place among those of all processes and workers."""
        index = example.pop(ROW)
        called = self._source.called(index, example)
        where = f"split {self.skipped.split!r}, {called}"
        try:
            row = self._source.locate(example, where)
            if self._seed is None:
                sample = self._source.named(self._read(row, where), example)
            else:
                with sample_seed(self._seed, "augment", number, epoch):
                    sample = self._read(row, where)
        except DataError as error:
            bad = self._skip_bad and isinstance(error, BadImageError)
            return {"skipped": {index: called}} if bad else {"error": str(error)}
        return {**sample, "index": index, "skipped": {}}
