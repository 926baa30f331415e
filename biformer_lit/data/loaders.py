"""Data loaders that account for bad images and can be resumed in the middle of an epoch."""

import itertools
import logging
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias

import joblib
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, default_collate

from biformer_lit.data.identity import FILE, IMAGE_ID
from biformer_lit.data.repairs import Repairs, total_of
from biformer_lit.errors import ConfigError, DataError
from biformer_lit.running.parent import leave_signals_to_parent
from biformer_lit.seams.lightning_seams import consumed, end_epoch_here, is_restarting
from biformer_lit.seams.torch_seams import end_workers

_log = logging.getLogger(__name__)
Agree: TypeAlias = Callable[[bool], bool]
LAST = "last"


@dataclass(frozen=True)
class Collate:
    """Makes a batch of the samples that could be read, and hands on what could not.

    Attributes:
        stack: Makes a batch of complete samples.
    """

    stack: Callable[[list[dict[str, Any]]], dict[str, Any]] = default_collate

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate; the batch has the extra entries ``skipped`` and ``repairs``, or is ``{"error": message}``.

        One that a resumed run passes over (see ``RowStream``) has an entry ``passed`` and nothing else of its own.
        """
        for sample in samples:
            if "error" in sample:
                return sample
        skipped = {row: called for sample in samples for row, called in sample.pop("skipped").items()}
        complete = [sample for sample in samples if sample]
        if any("passed" in sample for sample in complete):
            return {"passed": True, "skipped": skipped, "repairs": {}}
        repairs = {sample["index"]: sample.pop("repairs") for sample in complete if "repairs" in sample}
        names = {name: [sample.pop(name) for sample in complete if name in sample] for name in (FILE, IMAGE_ID)}
        named = {name: values for name, values in names.items() if values}
        return {**(self.stack(complete) if complete else {}), **named, "skipped": skipped, "repairs": repairs}


class Loader(DataLoader[Any]):
    """A ``DataLoader`` over a ``RowDataset`` or ``RowStream``.

    A bad image that is an error raises ``DataError`` in the main process, in one line. One that is skipped
    is added to ``dataset.skipped``, and one warning is logged when the pass ends. Batches are never empty:
    one of which no image could be read is left out. What was done about the rest of its row is told in the same way.

    Args:
        dataset: The ``RowDataset`` or ``RowStream``.
        agree: Tells whether all processes say yes, None for a single process. It waits for the others, so that
            all of them have to ask it equally often.
        options: Further arguments of a ``DataLoader``.
    """

    def __init__(self, dataset: Any, agree: Agree | None = None, **options: Any) -> None:
        super().__init__(dataset, **options)
        self.agree = agree

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator wraps torch's iterator
        """Batches, of which each process has at least one: without any it would wait for metrics nobody sends it.

        Raises:
            DataError: If an image or a row cannot be used, or a process has no batch.
        """
        with closing(self.complete_batches()) as batches:
            first = next(batches, None)
            if not self.all_say(first is not None):
                raise DataError(
                    f"split {self.split!r}: there is a process without any image to evaluate; use fewer processes "
                    "(trainer.devices) or name another split"
                )
            yield first
            yield from batches

    @property
    def split(self) -> str:
        """Name of the split it reads."""
        return str(self.dataset.skipped.split)  # type: ignore[attr-defined]  # see the class docstring

    def all_say(self, yes: bool) -> bool:
        """Return whether all processes say yes."""
        return yes if self.agree is None else self.agree(yes)

    def complete_batches(self) -> Generator[Any]:
        """Batches of this process as they come, none of them empty."""
        new: dict[int, str] = {}  # rows, and what they are called in messages
        repairs: dict[int, Repairs] = {}
        skipped = self.dataset.skipped  # type: ignore[attr-defined]  # see the class docstring
        try:
            for batch in super().__iter__():
                if "error" in batch:
                    end_workers(self)  # now, not when the traceback is collected
                    raise DataError(batch["error"])
                new.update({row: name for row, name in batch.pop("skipped").items() if row not in skipped.rows})
                repairs.update(batch.pop("repairs"))
                if batch:
                    yield batch
        except (ConnectionError, EOFError) as error:  # torch looks for its workers only where it waits for them
            raise RuntimeError(
                f"split {self.split!r}: a DataLoader worker exited unexpectedly; the system may have been out of "
                "memory, or of shared memory: fewer data.init_args.num_workers need less"
            ) from error
        finally:
            if new:
                skipped.rows |= set(new)
                _log.warning(
                    "split %r: %d images cannot be read and are skipped (rows %s)",
                    skipped.split,
                    len(new),
                    ", ".join(new[row].removeprefix("row ") for row in sorted(new)[:10])
                    + (", ..." if len(new) > 10 else ""),
                )
            repairs = {row: done for row, done in repairs.items() if row not in skipped.repairs}
            if repairs:
                skipped.repairs.update(repairs)
                if (total := total_of(repairs.values())) is not None:
                    _log.warning("split %r: %s (rows %s)", skipped.split, total.describe(), _shorten(repairs))


def _shorten(rows: Collection[int]) -> str:
    return ", ".join(map(str, sorted(rows)[:10])) + (", ..." if len(rows) > 10 else "")


class TrainLoader(Loader):
    """A ``Loader`` of training rows, equally many batches for each process, that can be resumed in mid-epoch.

    The position itself is no part of the state: the data module takes it from the trainer's counters, which
    are also right when the checkpoint was written between two batches or by a failing step. The state holds
    what must not change for the position to mean the same samples.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator wraps torch's iterator
        """Batches; the sampler sees to it that each process has its share."""
        return self.complete_batches()

    def state_dict(self) -> dict[str, Any]:
        """Return what a position in the epoch depends on."""
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
        now = self.state_dict()
        changed = [f"{k} {state[k]} -> {now[k]}" for k in now if k in state and state[k] != now[k]]
        if changed:
            raise ConfigError(
                "data.init_args: the checkpoint was saved within an epoch and cannot be continued with "
                f"other settings ({', '.join(changed)}); restore them, or resume at the end of an epoch"
            )


class StreamLoader(TrainLoader):
    """A ``TrainLoader`` over a ``RowStream``, whose length nobody knows.

    Streams of several processes end at different times, and a process that went on alone would wait for the
    gradients of the others forever. So they ask each other before each step, and an epoch ends for all of them
    when the first has no whole batch left. The last batch has an entry ``last``, for Lightning takes an epoch to be
    as long as ``limit_train_batches`` says, and would not validate after a shorter one.

    Args:
        dataset: The stream.
        settings: What else the order of the rows depends on, by name.
        options: Further arguments of a ``Loader``.
    """

    def __init__(self, dataset: Any, settings: Mapping[str, int], **options: Any) -> None:
        super().__init__(dataset, **options)
        self.settings = settings

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator wraps torch's iterator
        """Batches from the place where the epoch goes on.

        Raises:
            DataError: If an image or a row cannot be used, or a process has not one batch in a whole epoch.
        """
        number = passed = self.dataset.passed_batches  # type: ignore[attr-defined]  # a RowStream
        with closing(self.complete_batches()) as batches:
            for _ in itertools.islice(batches, passed):
                pass
            batch: Any = next(batches, None)
            more = self.all_say(batch is not None)
            while more:
                following = next(batches, None)
                more = self.all_say(following is not None)
                yield batch if more else {**batch, LAST: True}
                batch, number = following, number + 1
        if not number:
            raise DataError(
                f"split {self.split!r}: the stream of a process ends before its first batch of {self.batch_size}; use "
                "smaller batches (data.init_args.batch_size), or fewer processes or data workers, each of which fills "
                "batches of its own"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return what a position in the epoch depends on, also the number of workers, which share the rows."""
        return {"batch_size": self.batch_size, "num_workers": self.num_workers, **self.settings}


def loader_options(trainer: Trainer | None, batch_size: int, workers: int | None, collate: Collate) -> dict[str, Any]:
    """Arguments for a ``Loader`` that do not depend on the data.

    Args:
        trainer: The trainer, if there is one.
        batch_size: Samples per batch.
        workers: Number of data workers; None for the CPUs that this process has to spare, at most 8. Only the CPUs
            count that the process may use: its affinity and the quota of its container limit them.
        collate: What makes a batch of samples.
    """
    if workers is None:
        workers = min(8, max(0, joblib.cpu_count() // (1 if trainer is None else trainer.num_devices) - 1))
    return {
        "batch_size": batch_size,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "collate_fn": collate,
        "worker_init_fn": leave_signals_to_parent,
        "pin_memory": trainer is not None and trainer.strategy.root_device.type == "cuda",
        "generator": torch.Generator(),  # else each pass would draw from the global one
        "agree": None if trainer is None or trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision,
    }


def is_searching(trainer: Trainer | None) -> bool:
    """Return whether Lightning is trying out batches or learning rates on a task of ours."""
    return trainer is not None and bool(getattr(trainer.lightning_module, "is_searching", False))


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


def end_epoch(trainer: Trainer, batches: int) -> None:
    """Tell Lightning that the batch it has just taken is the last of this epoch.

    Args:
        trainer: The trainer, which is training.
        batches: The number of that batch in the epoch, from 1.
    """
    end_epoch_here(trainer)
    if batches < trainer.num_training_batches < float("inf"):
        _log.warning(
            "the training stream ended after %d batches, before trainer.limit_train_batches=%d, by which the learning "
            "rate goes; set it to what each epoch has",
            batches,
            trainer.num_training_batches,
        )


def training_position(trainer: Trainer | None) -> tuple[int, int]:
    """Return the position at which training continues.

    Lightning restores its counters from a checkpoint before it asks for the loader, but reads the loader
    from its start.

    Args:
        trainer: The trainer, if there is one.

    Returns:
        The epoch, and the number of its batches that were consumed already.
    """
    if trainer is None:
        return 0, 0
    done = consumed(trainer)
    return done.epoch, done.batches if is_restarting(trainer) and not done.ended else 0
