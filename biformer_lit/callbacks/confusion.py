"""Confusion matrix of the classes."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from biformer_lit.callbacks.tensorboard_writers import tensorboard_writers
from biformer_lit.kinds import kind_of
from biformer_lit.text.fonts import drawable, drawing

_MOST_CLASSES = 1000  # beyond this a cell is less than a pixel, and the matrix takes hundreds of megabytes
_MOST_NAMED = 30  # beyond this the names of the classes no longer fit beside the matrix


class ConfusionMatrix(Callback):
    """Draws the confusion matrix of each validation in TensorBoard, rows normalised to the true class.

    Tasks that predict objects are skipped: their confusion depends on how they are matched. So are more
    than 1,000 classes, whose matrix nobody could read.
    """

    def __init__(self) -> None:
        self.matrix: MulticlassConfusionMatrix | None = None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a fresh count on the run's device."""
        classes = int(pl_module.num_classes)  # type: ignore[arg-type]
        self.matrix = None
        if 1 < classes <= _MOST_CLASSES and kind_of(pl_module).confusion:
            ignored = getattr(pl_module, "ignore_index", None)  # pixels that hold no class, in segmentation
            matrix = MulticlassConfusionMatrix(classes, ignore_index=ignored, validate_args=False)
            self.matrix = matrix.to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        if self.matrix is not None:
            self.matrix.update(outputs["prediction"], outputs["label"])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what was counted, on all ranks together."""
        if self.matrix is None or trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        counts = self.matrix.compute()
        shares = counts / counts.sum(1, keepdim=True).clamp_min(1)  # a class that does not occur has a row of zeros
        if not trainer.is_global_zero:
            return
        names = list(getattr(pl_module, "class_names", []))
        kept = _classes_there(counts, getattr(getattr(pl_module, "network_classes", None), "there", None))
        if len(kept) < len(counts):
            shares, names = shares[kept][:, kept], [names[number] for number in kept] if names else []
        figure = draw_confusion(shares, names)
        for writer in tensorboard_writers(trainer):
            writer.add_figure("val/confusion", figure, trainer.global_step, close=True)


def _classes_there(counts: Tensor, there: list[int] | None) -> list[int]:
    """The classes to draw: those that the data has, None for all, and others that were predicted."""
    if there is None:
        return list(range(len(counts)))
    return sorted({*there, *counts.sum(0).nonzero().flatten().tolist()})


def draw_confusion(shares: Tensor, names: list[str]) -> Figure:
    """A figure of a confusion matrix.

    Args:
        shares: Share of each true class (row) predicted as each class (column), shape (C, C).
        names: Class names; left out where there are too many to read.
    """
    classes = len(shares)
    named = len(names) == classes <= _MOST_NAMED
    names = [drawable(name, 24) for name in names] if named else []
    with drawing(names):
        return _draw(shares, names)


def _draw(shares: Tensor, names: list[str]) -> Figure:
    classes = len(shares)
    side = min(4 + 0.35 * classes, 12)
    figure = Figure(figsize=(side, side), layout="constrained")  # no pyplot: nothing global, no display needed
    axes = figure.subplots()
    image = axes.imshow(shares.cpu().numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if names:
        axes.set_xticks(range(classes), names, rotation=90)
        axes.set_yticks(range(classes), names)
    if classes <= 15:
        for row in range(classes):
            for column in range(classes):
                share = float(shares[row, column])
                if share >= 0.005:
                    colour = "white" if share > 0.5 else "black"
                    axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    return figure
