"""Look at the data of a run when it starts, refuse what would end it later, and tell the user what was understood."""

from typing import Any, ClassVar

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from biformer_lit.data.labels import Integers
from biformer_lit.data.overview import Overview, PartOverview
from biformer_lit.data.samples import PARTS, Part, Source
from biformer_lit.data.streams import UNKNOWN_STRIDE, Shards
from biformer_lit.data.survey import Inspect, Survey, survey_rows
from biformer_lit.errors import ConfigError, DataError


class ToldData:
    """Part of ``HFDataModule``: an overview of what a run will use.

    A task's data module overrides ``inspector`` and ``count_classes``.
    """

    look_seconds: ClassVar[float] = 8.0
    """How long to look at the headers of a part's images, and at its label maps."""
    unit: ClassVar[str] = "images"
    """What is counted of each class."""
    # what HFDataModule has
    dataset: str
    streaming: bool
    on_bad_image: str
    rendering: Any
    trainer: Any
    _image_column: str
    _sources: dict[Part, Source]
    _shards: dict[str, Shards]

    def overview(self, stage: str) -> Overview:
        """Look at the rows that a stage uses; it must have been set up.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.

        Raises:
            DataError: If rows would end the run; the message counts those with the same fault.
        """
        try:
            names = tuple(getattr(self, "own_class_names", ()))
        except ConfigError:  # nothing is labelled, as in prediction
            names = ()
        parts = tuple(self._look(part, names) for part in PARTS[stage])
        folder: Any = getattr(self, "folder", None)
        notes = () if folder is None else (f"{folder.used:,} of {folder.seen:,} files used",)
        return Overview(self.dataset, self.unit, names, parts, notes)

    def tell(self, stage: str) -> None:
        """Look at the data of a stage on rank 0, and tell it in the terminal and in TensorBoard.

        Raises:
            DataError: On every rank, if rows would end the run.
        """
        trainer = self.trainer
        if not isinstance(trainer, Trainer):
            return
        problem: str | None = None
        if trainer.is_global_zero:
            try:
                found = self.overview(stage)
            except DataError as error:
                problem = str(error)
            else:
                rank_zero_info(found.line())
                self._log_table(trainer, stage, found)
        if trainer.world_size > 1:
            problem = trainer.strategy.broadcast(problem)
        if problem is not None:
            raise DataError(problem)

    def _log_table(self, trainer: Trainer, stage: str, found: Overview) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text(f"data/{TrainerFn(stage).value}", found.table(), 0)
                logger.experiment.flush()  # nobody else does after predict

    def _look(self, part: Part, names: tuple[str, ...]) -> PartOverview:
        source = self._sources[part]
        if self.streaming:
            return PartOverview(part, source.split, None, None, notes=self._stream_notes(source))
        survey = self.survey(part, source)
        counts, counted = self.count_classes(part, source) if names else (None, 0)
        notes = []
        if skipped := survey.skipped():
            why = "; ".join(fault.describe(survey.looked) for fault in survey.faults.values())
            notes.append(f"{part}: {skipped} of {survey.looked} rows cannot be used and are skipped: {why}")
        if survey.repairs is not None:
            notes.append(f"{part}: {survey.repairs.describe()}")
        return PartOverview(
            part, source.split, len(source.rows), len(source.table), counts, counted, survey, tuple(notes)
        )

    def _stream_notes(self, source: Source) -> tuple[str, ...]:
        shards = self._shards[source.split]
        if shards.counted:
            return ()
        note = (
            f"nothing tells how many rows its {len(shards.starts)} files have, so that index counts those of each from "
            f"a multiple of {UNKNOWN_STRIDE:,}"
        )
        return (note,)

    def survey(self, part: Part, source: Source) -> Survey:
        """Look at the rows of a part.

        Raises:
            DataError: If rows would end the run.
        """
        found = survey_rows(
            source,
            self._image_column,
            self.inspector(part, source),
            self.look_seconds,
            self.rendering,
        )
        found.require_sound(self.on_bad_image == "skip")
        return found

    def inspector(self, part: Part, source: Source) -> Inspect | None:
        """Return the function that inspects a row besides its image; None if there is nothing to inspect."""
        return None

    def count_classes(self, part: Part, source: Source) -> tuple[Integers | None, int]:
        """Return the amount of each class (classes,), None if unknown, and the number of rows counted."""
        return None, 0


def count_numbers(numbers: Integers, classes: int) -> Integers:
    """Count how often each class number occurs (classes,); other numbers are left out."""
    known = numbers[(numbers >= 0) & (numbers < classes)]
    return np.bincount(known, minlength=classes).astype(np.int64)
