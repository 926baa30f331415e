"""Predictions as a table or as pictures."""

import csv
from pathlib import Path
from typing import Any, TextIO

from lightning.pytorch import Callback, LightningModule, Trainer

from biformer_lit.callbacks.images import unnormalised
from biformer_lit.callbacks.map_files import MapFiles
from biformer_lit.errors import ConfigError


class PredictionWriter(Callback):
    """Writes what ``predict`` finds.

    Of a classifier a table as CSV: row number, class name, its probability, every class' probability. Of a network
    that predicts label maps a folder of pictures, :class:`biformer_lit.callbacks.map_files.MapFiles`.

    Args:
        path: The file or, for label maps, the folder; None puts ``predictions.csv`` or ``predictions`` into the run's
            folder. Never overwritten. With several processes each writes its own part, with ``-rank1`` and so on
            before the suffix.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self.file: TextIO | None = None
        self.maps: MapFiles | None = None
        self.written: Path | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file and write the header, or make the folder.

        Raises:
            ConfigError: If the file exists or its folder does not.
        """
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        maps = bool(getattr(pl_module, "predicts_maps", False))
        if self.path is None:
            folder = Path(trainer.log_dir or trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / ("predictions" if maps else "predictions.csv")
        else:
            path = Path(self.path)
        if trainer.global_rank:
            path = path.with_stem(f"{path.stem}-rank{trainer.global_rank}")
        if maps:
            self.maps = MapFiles(path, int(pl_module.num_classes))  # type: ignore[arg-type]
            self.written = path
            return
        if path.exists():
            raise ConfigError(f"predictions.path={path} exists already; choose another file or remove it")
        if not path.parent.is_dir():
            raise ConfigError(f"predictions.path={path}: the folder {path.parent} does not exist; make it first")
        self.names = list(pl_module.class_names) or [str(i) for i in range(int(pl_module.num_classes))]  # type: ignore[arg-type]
        self.file = path.open("w", newline="", encoding="utf-8")
        self.written = path
        self.writer = csv.writer(self.file)
        self.writer.writerow(["index", "class", "probability", *self.names])

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
        if self.maps is not None:
            photos = unnormalised(batch["image"], trainer)
            for index, labels, photo in zip(outputs["index"].tolist(), outputs["labels"], photos, strict=True):
                self.maps.write(index, labels, photo[:, : labels.shape[0], : labels.shape[1]])
        if self.file is None:
            return
        probabilities = outputs["probabilities"].cpu()
        best, classes = probabilities.max(-1)
        for row in range(len(classes)):
            numbers = [f"{p:.6f}" for p in probabilities[row].tolist()]
            name = self.names[int(classes[row])]
            self.writer.writerow([int(outputs["index"][row]), name, f"{float(best[row]):.6f}", *numbers])

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the file."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the file; what was predicted so far stays."""
        self._close()

    def _close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None
