"""Images with their true and with their predicted objects side by side, while the network learns."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from lightning.pytorch import LightningModule
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from biformer_lit.callbacks.names import class_names
from biformer_lit.callbacks.shown import ObjectArrays, Shown
from biformer_lit.dense.label_colours import Pixels
from biformer_lit.dense.panels import PANELS_WIDTH, Panels, add_legend, panel_grid
from biformer_lit.detection.object_drawing import as_arrays, draw_objects
from biformer_lit.text.fonts import drawing


class DetectionPanels(Panels):
    """Draws the first validation images in TensorBoard, twice: with their true objects, and with those predicted.

    Boxes have the class' name, and in predictions the score; masks are translucent; crowds are dashed and hatched. The
    predictions are those that the validation made, of the averaged weights with the EMA callback. Nothing is computed
    for it and no random number drawn. Tasks that predict no objects are skipped.

    Args:
        every_n_epochs: How often; the first validation is always drawn.
        images: How many of the first validation batch's images.
        min_score: Predictions below this score are left out.
        most_boxes: At most so many predictions are drawn on an image, those of the highest scores.

    Raises:
        ConfigError: On a value out of its range.
    """

    kind: ClassVar[str] = "detection"

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
    figure, axes = panel_grid([height / width for _, (height, width), _, _ in rows], titles)
    seen: set[int] = set()
    crowds = False
    for row, (photo, size, truth, found) in zip(axes, rows, strict=True):
        drawn, enough = shown.of(found)
        if enough > len(drawn["labels"]):
            row[1].set_title(f"prediction, {len(drawn['labels'])} of {enough}", fontsize=9)
        scale = PANELS_WIDTH / len(titles) * figure.dpi / size[1]
        for axis, objects in zip(row, (truth, drawn), strict=True):
            draw_objects(axis, photo, size, objects, names, scale)
            axis.set_aspect("equal")
            seen |= set(objects["labels"].tolist())
            crowds |= bool(objects.get("crowd", np.zeros(1)).any())
    crowd = Patch(facecolor="none", edgecolor="0.4", linestyle="--", hatch="//", label="crowd")
    add_legend(figure, seen, names, [crowd] if crowds else [])
    return figure
