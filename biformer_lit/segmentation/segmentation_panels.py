"""Images, their true and their predicted label maps side by side, while the network learns."""

from typing import Any, ClassVar

import numpy as np
from lightning.pytorch import LightningModule
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from biformer_lit.callbacks.names import class_names
from biformer_lit.dense.label_colours import Pixels, paint_labels
from biformer_lit.dense.panels import Panels, add_legend, panel_grid
from biformer_lit.text.fonts import drawing


class SegmentationPanels(Panels):
    """Draws the first validation images in TensorBoard: the image, its truth, and the label map that is predicted.

    The predictions are those that the validation made, of the averaged weights with the EMA callback. What is ignored
    is striped in grey in the truth, and left as predicted beside it. Nothing is computed for it and no random number
    drawn. Tasks that predict no label maps are skipped.

    Args:
        every_n_epochs: How often; the first validation is always drawn.
        images: How many of the first validation batch's images.

    Raises:
        ConfigError: On a value out of its range.
    """

    kind: ClassVar[str] = "segmentation"

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


def draw_panels(rows: list[tuple[Pixels, ...]], names: list[str], ignore_index: int) -> Figure:
    """A figure with a row for each image: the image, its truth, its prediction; and the classes that are seen.

    Args:
        rows: For each image its pixels (H, W, 1 or 3) between 0 and 1, its true and its predicted classes (H, W).
        names: Names of all classes.
        ignore_index: Value of the pixels of the truth that do not count.
    """
    figure, axes = panel_grid([1.0] * len(rows), ("image", "truth", "prediction"))
    seen: set[int] = set()
    for row, (photo, truth, found) in zip(axes, rows, strict=True):
        pictures = photo, paint_labels(truth, len(names), ignore_index), paint_labels(found, len(names))
        for axis, picture in zip(row, pictures, strict=True):
            shown = picture[..., 0] if picture.shape[-1] == 1 else picture
            axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        seen |= set(np.unique(truth).tolist()) | set(np.unique(found).tolist())
    ignored = Patch(facecolor="0.6", edgecolor="0.4", hatch="///", label="ignored")
    add_legend(figure, seen - {ignore_index}, names, [ignored] if ignore_index in seen else [])
    return figure
