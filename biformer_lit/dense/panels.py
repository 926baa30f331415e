"""Images, truth and prediction side by side, while the network learns."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from lightning.pytorch import LightningModule, Trainer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from biformer_lit.callbacks.image_table import named_images
from biformer_lit.callbacks.input_images import unnormalised
from biformer_lit.callbacks.tensorboard_writers import tensorboard_writers
from biformer_lit.callbacks.turns import DrawsInTurns
from biformer_lit.dense.label_colours import Pixels, palette
from biformer_lit.text.fonts import drawable

_MOST_NAMED = 24  # more classes do not fit into the legend
PANELS_WIDTH = 9  # of a figure, in inches


class Panels(DrawsInTurns, ABC):
    """Base of what draws the first validation images in TensorBoard, a row for each.

    The predictions are those that the validation made, of the averaged weights with the EMA callback. Nothing is
    computed for it and no random number drawn. Tasks that predict something else are skipped.

    Args:
        every_n_epochs: How often; the first validation is always drawn.
        images: How many of the first validation batch's images.

    Raises:
        ConfigError: On a value out of its range.
    """

    kind: ClassVar[str]

    def __init__(self, every_n_epochs: int = 5, images: int = 4) -> None:
        super().__init__(every_n_epochs, images, "--monitoring false omits it")

    @abstractmethod
    def draw(self, photos: list[Pixels], outputs: Any, batch: Any, pl_module: LightningModule) -> Figure:
        """The figure.

        Args:
            photos: The images (H, W, 1 or 3) to draw, between 0 and 1, without padding.
            outputs: What the validation step returned.
            batch: What it was given; its first images are those to draw.
            pl_module: The task.
        """

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch, if it is its turn."""
        if batch_idx or dataloader_idx or getattr(pl_module, "kind", None) != self.kind:
            return
        if not self.has_turn(trainer) or not len(batch["image"]):
            return
        self.drawn = trainer.current_epoch
        padded = unnormalised(batch["image"][: self.images], trainer).permute(0, 2, 3, 1).numpy()
        sizes = batch["size"][: self.images].tolist()
        photos = [photo[:height, :width] for photo, (height, width) in zip(padded, sizes, strict=True)]
        figure = self.draw(photos, outputs, batch, pl_module)
        columns = len(figure.axes) // len(photos)
        for i, (index, named) in enumerate(
            zip(batch["index"].tolist(), named_images(batch, len(photos)), strict=False)
        ):
            name_row(figure.axes[i * columns], index, named)
        for writer in tensorboard_writers(trainer):
            writer.add_figure("val/panels", figure, trainer.global_step, close=True)


def panel_grid(heights: Sequence[float], titles: Sequence[str]) -> tuple[Figure, Any]:
    """A figure without pictures yet.

    Args:
        heights: Height of each row, as a multiple of the width of a picture.
        titles: Title of each column.

    Returns:
        The figure, and its axes as an array of rows and columns.
    """
    height = PANELS_WIDTH / len(titles) * sum(heights) + 1
    figure = Figure(figsize=(PANELS_WIDTH, height), layout="constrained")  # no pyplot: nothing global
    axes = figure.subplots(len(heights), len(titles), squeeze=False, gridspec_kw={"height_ratios": heights})
    for row in axes:
        for axis, title in zip(row, titles, strict=True):
            _name(axis, title)
    return figure, axes


def _name(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.axis("off")


def name_row(axis: Axes, index: int, named: Mapping[str, Any]) -> None:
    """Say below the first picture of a row which image it is: its row number, and its file where there is one."""
    file = f": {drawable(named['file'], 50)}" if named.get("file") else ""
    axis.text(0, -0.02, f"row {index}{file}", transform=axis.transAxes, fontsize=7, va="top")


def add_legend(figure: Figure, seen: Iterable[int], names: list[str], others: list[Patch]) -> None:
    """Say which colour is which class.

    Args:
        figure: Where.
        seen: Classes that occur; what is no class is passed over.
        names: Names of all classes.
        others: What else there is to explain.
    """
    colours = palette(len(names)) / 255
    known = [i for i in sorted(seen) if 0 <= i < len(names)]
    patches = [Patch(color=colours[i], label=drawable(names[i], 40)) for i in known[:_MOST_NAMED]]
    if len(known) > _MOST_NAMED:
        patches.append(Patch(color="white", label=f"and {len(known) - _MOST_NAMED} more"))
    figure.legend(handles=patches + others, loc="outside lower center", ncols=4, fontsize=8)
