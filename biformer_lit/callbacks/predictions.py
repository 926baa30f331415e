"""Predictions as a table."""

import csv
from pathlib import Path
from typing import Any, TextIO

from lightning.pytorch import Callback, LightningModule, Trainer

from biformer_lit.errors import ConfigError


class PredictionWriter(Callback):
    """Writes what ``predict`` finds as CSV: row number, class name, its probability, every class' probability.

    Args:
        path: The file; None puts ``predictions.csv`` into the run's folder. Never overwritten. With several
            processes each writes its own part, with ``-rank1`` and so on before the suffix.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self.file: TextIO | None = None
        self.written: Path | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file and write the header.

        Raises:
            ConfigError: If the file exists or its folder does not.
        """
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if self.path is None:
            folder = Path(trainer.log_dir or trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "predictions.csv"
        else:
            path = Path(self.path)
        if trainer.global_rank:
            path = path.with_stem(f"{path.stem}-rank{trainer.global_rank}")
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
