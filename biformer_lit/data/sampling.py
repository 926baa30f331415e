"""Order and random numbers of the samples, as a function of the position alone."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from timm.data.distributed_sampler import RepeatAugSampler
from torch.utils.data import Dataset, DistributedSampler, get_worker_info

from biformer_lit.common.seeding import derive_seed, local_seed
from biformer_lit.errors import ConfigError


class SampleKey(NamedTuple):
    """Names one augmented sample.

    Attributes:
        index: Position in the training part, 0 to rows-1.
        epoch: Epoch, from 0.
        draw: Which of the repetitions of the image in this epoch, from 0.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    epoch: int
    draw: int


@contextmanager
def sample_seed(*key: int | str) -> Iterator[None]:
    """Like ``local_seed``, but cheap inside a data worker, where nobody needs the earlier state back.

    Seeding CUDA's generators, which ``torch.manual_seed`` does too, costs ten times as much as all the
    rest.
    """
    if get_worker_info() is None:
        with local_seed(*key):
            yield
        return
    seed = derive_seed(*key)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (timm draws from the legacy generator)
    torch.default_generator.manual_seed(seed)
    yield


class _Length(Dataset[int]):
    """The one thing a sampler wants to know of a data set."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows


class TrainSampler(DistributedSampler[SampleKey]):
    """Shuffled samples of one process, a new order each epoch.

    Position i of process r in epoch e depends on the seed, e and r + i * world_size only. Each epoch has
    rows // world_size samples per process; the few rows left over differ from epoch to epoch.

    Args:
        rows: Number of training rows.
        rank: Number of this process.
        world_size: Number of processes.
        seed: Seed of the order.
        repeats: Repetitions of each drawn image with different augmentation. Repetitions are neighbours in
            the order, so they fall on different processes; the epoch keeps its length and draws fewer
            images.
    """

    def __init__(self, rows: int, rank: int, world_size: int, seed: int, repeats: int = 1) -> None:
        super().__init__(_Length(rows), num_replicas=world_size, rank=rank, seed=seed, drop_last=True)
        self.rows, self.repeats = rows, repeats
        self._first = (0, 0)
        # timm rounds an epoch down to a multiple of 256 images by default, which would halve a set of 511
        self._order = RepeatAugSampler(range(rows), world_size, rank, num_repeats=repeats, selected_round=0)

    def start(self, epoch: int, skip: int) -> None:
        """Go to ``epoch`` and leave out its first ``skip`` samples (of this process)."""
        self._first = (epoch, skip)
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows // self.num_replicas

    def __iter__(self) -> Iterator[SampleKey]:
        self._order.set_epoch(derive_seed(self.seed, "shuffle", self.epoch))
        rows = list(self._order)[: len(self)]
        first = self._first[1] if self._first[0] == self.epoch else 0
        for position in range(first, len(rows)):
            draw = (self.rank + position * self.num_replicas) % self.repeats
            yield SampleKey(rows[position], self.epoch, draw)


class EvalSampler(DistributedSampler[int]):
    """Every ``world_size``-th row, starting with row ``rank``; over the processes each row exactly once.

    It is a ``DistributedSampler`` because Lightning would replace any other by one that repeats rows to
    make the processes even, which falsifies metrics.

    Args:
        rows: Number of rows.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ConfigError: If there are more processes than rows.
    """

    def __init__(self, rows: int, rank: int, world_size: int) -> None:
        super().__init__(_Length(rows), num_replicas=world_size, rank=rank, shuffle=False)
        if rows < world_size:
            raise ConfigError(
                f"trainer.devices: {world_size} processes cannot share {rows} rows to evaluate; use fewer"
            )
        self._rows = range(rank, rows, world_size)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)
