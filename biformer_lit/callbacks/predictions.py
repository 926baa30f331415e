"""Predictions as a table, as pictures, or as COCO's files."""

import logging
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch import Callback, LightningModule, Trainer

from biformer_lit.callbacks.shown import Shown
from biformer_lit.kinds import kind_of

logger = logging.getLogger(__name__)


class PredictionFiles(Protocol):
    """Files that predictions are written to."""

    def write_batch(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        """Write what was predicted for a batch."""

    def close(self) -> None:
        """Leave the files complete; nothing is written after this."""


class PredictionWriter(Callback):
    """Writes what ``predict`` finds.

    Predictions of a classifier are a CSV table (:class:`biformer_lit.classification.class_table.ClassTable`), label
    maps a folder of pictures (:class:`biformer_lit.segmentation.map_files.MapFiles`), and objects a folder of COCO's
    JSON and pictures (:class:`biformer_lit.detection.object_files.ObjectFiles`).

    Args:
        path: The file or, for label maps and objects, the folder; None puts ``predictions.csv`` or ``predictions``
            into the run's folder. Never overwritten. With several processes each writes its own part, with ``-rank1``
            and so on before the suffix.
        min_score: Objects below this score are left out of the pictures, not of the JSON.
        most_boxes: At most so many objects are drawn on a picture, those of the highest scores.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(self, path: str | None = None, min_score: float = 0.3, most_boxes: int = 30) -> None:
        self.path = path
        self.shown = Shown("predictions.", min_score, most_boxes)
        self.files: PredictionFiles | None = None
        self.written: Path | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file and write the header, or make the folder.

        Raises:
            ConfigError: If something is there already, or no folder to put it in.
        """
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        kind = kind_of(pl_module)
        if kind.files is None:
            logger.warning("no files are written of what tasks like %s predict", type(pl_module).__name__)
            return
        if self.path is None:
            folder = Path(trainer.log_dir or trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / kind.predictions
        else:
            path = Path(self.path)
        if trainer.global_rank:
            path = path.with_stem(f"{path.stem}-rank{trainer.global_rank}")
        self.files = kind.files(path, pl_module, getattr(trainer, "datamodule", None), self.shown)  # type: ignore[arg-type]
        self.written = path

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write a batch."""
        if self.files is not None:
            self.files.write_batch(trainer, outputs, batch)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the files."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the files; what was predicted so far stays."""
        self._close()

    def _close(self) -> None:
        if self.files is not None:
            self.files.close()
            self.files = None
