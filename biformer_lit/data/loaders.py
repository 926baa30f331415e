"""Data loaders that account for bad images and can be resumed in the middle of an epoch."""

import logging
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, default_collate

from biformer_lit.data.boxes import Repairs
from biformer_lit.errors import ConfigError, DataError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collate:
    """Makes a batch of the samples that could be read, and hands on what could not.

    Attributes:
        stack: Makes a batch of complete samples.
    """

    stack: Callable[[list[dict[str, Any]]], dict[str, Any]] = default_collate

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate; the batch has the extra entries ``skipped`` and ``repairs``, or is ``{"error": message}``."""
        for sample in samples:
            if "error" in sample:
                return sample
        skipped = [row for sample in samples for row in sample.pop("skipped")]
        complete = [sample for sample in samples if sample]
        repairs = {sample["index"]: sample.pop("repairs") for sample in complete if "repairs" in sample}
        return {**(self.stack(complete) if complete else {}), "skipped": skipped, "repairs": repairs}


class Loader(DataLoader[Any]):
    """A ``DataLoader`` over a ``RowDataset`` or ``RowStream``.

    A bad image that is an error raises ``DataError`` in the main process, in one line. One that is skipped
    is added to ``dataset.skipped``, and one warning is logged when the pass ends. Batches are never empty:
    one of which no image could be read is left out. What was done to boxes is told in the same way.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator wraps torch's iterator
        new: set[int] = set()
        repairs: dict[int, Repairs] = {}
        skipped = self.dataset.skipped  # type: ignore[attr-defined]  # see the class docstring
        try:
            for batch in super().__iter__():
                if "error" in batch:
                    self._iterator = None  # ends the workers now, not when the traceback is collected
                    raise DataError(batch["error"])
                new.update(set(batch.pop("skipped")) - skipped.rows)
                repairs.update(batch.pop("repairs"))
                if batch:
                    yield batch
        finally:
            if new:
                skipped.rows |= new
                _log.warning(
                    "split %r: %d images cannot be read and are skipped (rows %s)",
                    skipped.split,
                    len(new),
                    _shorten(new),
                )
            repairs = {row: done for row, done in repairs.items() if row not in skipped.repairs}
            if repairs:
                skipped.repairs.update(repairs)
                told = Repairs.total(repairs.values()).describe()
                _log.warning("split %r: %s (rows %s)", skipped.split, told, _shorten(repairs))


def _shorten(rows: Collection[int]) -> str:
    return ", ".join(map(str, sorted(rows)[:10])) + (", ..." if len(rows) > 10 else "")


class TrainLoader(Loader):
    """A ``Loader`` that tells Lightning that it can be resumed in mid-epoch.

    The position itself is no part of the state: the data module takes it from the trainer's counters, which
    are also right when the checkpoint was written between two batches or by a failing step. The state holds
    what must not change for the position to mean the same samples.
    """

    def state_dict(self) -> dict[str, Any]:
        """What a position in the epoch refers to."""
        sampler = self.sampler
        return {
            "batch_size": self.batch_size,
            "rows": getattr(sampler, "rows", None),
            "repeats": getattr(sampler, "repeats", None),
            "world_size": getattr(sampler, "num_replicas", None),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Check that a position in the epoch means the same samples as when it was saved.

        Raises:
            ConfigError: If something it depends on has changed.
        """
        changed = [f"{k} {state.get(k)} -> {v}" for k, v in self.state_dict().items() if state.get(k) != v]
        if changed:
            raise ConfigError(
                "data.init_args: the checkpoint was saved within an epoch and cannot be continued with "
                f"other settings ({', '.join(changed)}); restore them, or resume at the end of an epoch"
            )


def loader_options(trainer: Trainer | None, batch_size: int, workers: int | None, collate: Collate) -> dict[str, Any]:
    """Arguments for a ``Loader`` that do not depend on the data.

    Args:
        trainer: The trainer, if there is one.
        batch_size: Samples per batch.
        workers: Number of data workers; None for the CPUs that this process has to spare, at most 8.
        collate: What makes a batch of samples.
    """
    if workers is None:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(8, max(0, cpus // (1 if trainer is None else trainer.num_devices) - 1))
    return {
        "batch_size": batch_size,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "collate_fn": collate,
        "pin_memory": trainer is not None and trainer.strategy.root_device.type == "cuda",
        "generator": torch.Generator(),  # else each pass would draw from the global one
    }


def follow_epochs(loader: DataLoader[Any], trainer: Trainer | None, start: Callable[[int, int], None]) -> None:
    """Have ``start`` called with epoch and batches to leave out when Lightning announces an epoch.

    Lightning announces an epoch to the sampler only; that of a stream is a dummy of torch's. The loader may
    have been made long before, to count the steps of the run, when the counters of a resumed run were not yet
    restored; at the announcement they are. The number announced is one too high after resuming, with
    ``max_steps`` set, from a checkpoint written by ``on_train_epoch_end``; ``trainer.current_epoch`` is right.
    """

    def announced(epoch: int) -> None:
        if trainer is None:
            start(epoch, 0)
        else:
            start(trainer.current_epoch, training_position(trainer)[1])

    loader.sampler.set_epoch = announced  # type: ignore[attr-defined]


def training_position(trainer: Trainer | None) -> tuple[int, int]:
    """Where training goes on.

    Lightning restores its counters from a checkpoint before it asks for the loader, but reads the loader
    from its start.

    Args:
        trainer: The trainer, if there is one.

    Returns:
        The epoch, and the number of its batches that were consumed already.
    """
    if trainer is None:
        return 0, 0
    epochs: Any = trainer.fit_loop.epoch_progress
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    epoch = int(epochs.current.processed)
    # `ready` also counts a batch whose step failed, `completed` not the one at whose end the file was written
    consumed = int(batches.current.processed)
    ended = batches.is_last_batch or consumed >= trainer.num_training_batches
    return epoch, consumed if trainer.fit_loop.restarting and not ended else 0
