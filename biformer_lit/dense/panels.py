"""Images, truth and prediction side by side, while the network learns."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from biformer_lit.callbacks.image_table import named_images
from biformer_lit.callbacks.input_images import unnormalised
from biformer_lit.callbacks.names import class_names
from biformer_lit.callbacks.tensorboard_writers import tensorboard_writers
from biformer_lit.callbacks.turns import DrawsInTurns
from biformer_lit.dense.label_colours import Pixels, paint_labels, palette
from biformer_lit.detection.object_drawing import ObjectArrays, Shown, as_arrays, draw_objects
from biformer_lit.text.fonts import drawable, drawing

_MOST_NAMED = 24  # more classes do not fit into the legend
_WIDTH = 9  # of a figure, in inches


class Panels(DrawsInTurns, ABC):
    """Base of what draws the first validation images in TensorBoard, a row for each.

    The predictions are those that the validation made, of the averaged weights with the EMA callback. Nothing is
    computed for it and no random number drawn. Tasks that predict something else are let be.

    Args:
        every_n_epochs: How often; the first validation is always drawn.
        images: How many of the first validation batch's images.

    Raises:
        ConfigError: On a value out of its range.
    """

    predicts: ClassVar[Literal["maps", "objects"]]

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
        if batch_idx or dataloader_idx or getattr(pl_module, "predicts", "classes") != self.predicts:
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


class SegmentationPanels(Panels):
    """Draws the first validation images in TensorBoard: the image, its truth, and the label map that is predicted.

    The predictions are those that the validation made, of the averaged weights with the EMA callback. What is ignored
    is striped in grey in the truth, and left as predicted beside it. Nothing is computed for it and no random number
    drawn. Tasks that predict no label maps are let be.

    Args:
        every_n_epochs: How often; the first validation is always drawn.
        images: How many of the first validation batch's images.

    Raises:
        ConfigError: On a value out of its range.
    """

    predicts: ClassVar[Literal["maps", "objects"]] = "maps"

    def draw(self, photos: list[Pixels], outputs: Any, batch: Any, pl_module: LightningModule) -> Figure:
        """The figure, see :func:`draw_panels`."""
        truth, found = (outputs[name][: self.images].cpu().numpy() for name in ("label", "prediction"))
        rows: list[tuple[Pixels, ...]] = []
        sizes = batch.get("stored_size", batch["size"]).tolist()
        for i, photo in enumerate(photos):
            height, width = sizes[i]
            rows.append((photo, truth[i, :height, :width], found[i, :height, :width]))
        names = class_names(pl_module)
        with drawing(names):
            return draw_panels(rows, names, int(pl_module.ignore_index))  # type: ignore[arg-type]


class DetectionPanels(Panels):
    """Draws the first validation images in TensorBoard, twice: with their true objects, and with those predicted.

    Boxes have the class' name, and in predictions the score; masks are translucent; crowds are dashed and hatched. The
    predictions are those that the validation made, of the averaged weights with the EMA callback. Nothing is computed
    for it and no random number drawn. Tasks that predict no objects are let be.

    Args:
        every_n_epochs: How often; the first validation is always drawn.
        images: How many of the first validation batch's images.
        min_score: Predictions below this score are left out.
        most_boxes: At most so many predictions are drawn on an image, those of the highest scores.

    Raises:
        ConfigError: On a value out of its range.
    """

    predicts: ClassVar[Literal["maps", "objects"]] = "objects"

    def __init__(self, every_n_epochs: int = 5, images: int = 4, min_score: float = 0.3, most_boxes: int = 30) -> None:
        super().__init__(every_n_epochs, images)
        self.shown = Shown(f"{type(self).__name__} ", min_score, most_boxes)

    def draw(self, photos: list[Pixels], outputs: Any, batch: Any, pl_module: LightningModule) -> Figure:
        """The figure, see :func:`draw_object_panels`."""
        truths, found = batch["objects"][: self.images], outputs["objects"][: self.images]
        sizes = [(height, width) for height, width in batch["stored_size"][: self.images].tolist()]
        rows = list(zip(photos, sizes, map(as_arrays, truths), map(as_arrays, found), strict=True))
        names = class_names(pl_module)
        with drawing(names):
            return draw_object_panels(rows, names, self.shown)


def draw_panels(rows: list[tuple[Pixels, ...]], names: list[str], ignore_index: int) -> Figure:
    """A figure with a row for each image: the image, its truth, its prediction; and the classes that are seen.

    Args:
        rows: For each image its pixels (H, W, 1 or 3) between 0 and 1, its true and its predicted classes (H, W).
        names: Names of all classes.
        ignore_index: Value of the pixels of the truth that do not count.
    """
    figure, axes = _grid([1.0] * len(rows), ("image", "truth", "prediction"))
    seen: set[int] = set()
    for row, (photo, truth, found) in zip(axes, rows, strict=True):
        pictures = photo, paint_labels(truth, len(names), ignore_index), paint_labels(found, len(names))
        for axis, picture in zip(row, pictures, strict=True):
            shown = picture[..., 0] if picture.shape[-1] == 1 else picture
            axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        seen |= set(np.unique(truth).tolist()) | set(np.unique(found).tolist())
    ignored = Patch(facecolor="0.6", edgecolor="0.4", hatch="///", label="ignored")
    _add_legend(figure, seen - {ignore_index}, names, [ignored] if ignore_index in seen else [])
    return figure


def draw_object_panels(
    rows: Sequence[tuple[Pixels, tuple[int, int], ObjectArrays, ObjectArrays]], names: list[str], shown: Shown
) -> Figure:
    """A figure with a row for each image: with its true objects, and with those predicted; and the classes seen.

    Args:
        rows: For each image its pixels (H, W, 1 or 3) between 0 and 1, height and width of the image that boxes and
            masks belong to, its true objects, and those predicted with falling scores.
        names: Names of all classes.
        shown: Which of those predicted are drawn.
    """
    titles = "truth", "prediction"
    figure, axes = _grid([height / width for _, (height, width), _, _ in rows], titles)
    seen: set[int] = set()
    crowds = False
    for row, (photo, size, truth, found) in zip(axes, rows, strict=True):
        drawn, enough = shown.of(found)
        if enough > len(drawn["labels"]):
            row[1].set_title(f"prediction, {len(drawn['labels'])} of {enough}", fontsize=9)
        scale = _WIDTH / len(titles) * figure.dpi / size[1]
        for axis, objects in zip(row, (truth, drawn), strict=True):
            draw_objects(axis, photo, size, objects, names, scale)
            axis.set_aspect("equal")
            seen |= set(objects["labels"].tolist())
            crowds |= bool(objects.get("crowd", np.zeros(1)).any())
    crowd = Patch(facecolor="none", edgecolor="0.4", linestyle="--", hatch="//", label="crowd")
    _add_legend(figure, seen, names, [crowd] if crowds else [])
    return figure


def _grid(heights: Sequence[float], titles: Sequence[str]) -> tuple[Figure, Any]:
    """A figure without pictures yet.

    Args:
        heights: Height of each row, as a multiple of the width of a picture.
        titles: Title of each column.

    Returns:
        The figure, and its axes as an array of rows and columns.
    """
    height = _WIDTH / len(titles) * sum(heights) + 1
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")  # no pyplot: nothing global
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


def _add_legend(figure: Figure, seen: Iterable[int], names: list[str], others: list[Patch]) -> None:
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
