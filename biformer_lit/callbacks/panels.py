"""Images, truth and prediction side by side, while the network learns."""

from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from biformer_lit.callbacks.images import unnormalised
from biformer_lit.callbacks.label_maps import Pixels, paint_labels, palette
from biformer_lit.callbacks.tensorboard import tensorboard_writers
from biformer_lit.callbacks.turns import DrawsInTurns

_MOST_NAMED = 24  # more classes do not fit into the legend


class SegmentationPanels(DrawsInTurns):
    """Draws the first validation images in TensorBoard: the image, its truth, and what is predicted.

    The predictions are those that the validation made, of the averaged weights with the EMA callback. What is ignored
    is striped in grey in the truth, and left as predicted beside it. Nothing is computed for it and no random number
    drawn. Tasks that predict no label maps are let be.

    Args:
        every_n_epochs: How often; the first validation is always drawn.
        images: How many of the first validation batch's images.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(self, every_n_epochs: int = 5, images: int = 4) -> None:
        super().__init__(every_n_epochs, images, "--monitoring false omits it")

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
        if batch_idx or dataloader_idx or not getattr(pl_module, "predicts_maps", False) or not self.has_turn(trainer):
            return
        self.drawn = trainer.current_epoch
        classes, ignored = int(pl_module.num_classes), int(pl_module.ignore_index)  # type: ignore[arg-type]
        names = list(pl_module.class_names) or [str(i) for i in range(classes)]  # type: ignore[arg-type]
        photos = unnormalised(batch["image"][: self.images], trainer).permute(0, 2, 3, 1).numpy()
        truth, found = (outputs[name][: self.images].cpu().numpy() for name in ("label", "prediction"))
        sizes = batch["size"][: self.images].tolist()
        rows = [tuple(x[i, :height, :width] for x in (photos, truth, found)) for i, (height, width) in enumerate(sizes)]
        figure = draw_panels(rows, names, ignored)
        for writer in tensorboard_writers(trainer):
            writer.add_figure("val/panels", figure, trainer.global_step, close=True)


def draw_panels(rows: list[tuple[Pixels, ...]], names: list[str], ignore_index: int) -> Figure:
    """A figure with a row for each image: the image, its truth, its prediction; and the classes that are seen.

    Args:
        rows: For each image its pixels (H, W, 1 or 3) between 0 and 1, its true and its predicted classes (H, W).
        names: Names of all classes.
        ignore_index: Value of the pixels of the truth that do not count.
    """
    figure = Figure(figsize=(9, 3 * len(rows) + 1), layout="constrained")  # no pyplot: nothing global
    axes = figure.subplots(len(rows), 3, squeeze=False)
    seen: set[int] = set()
    for row, (photo, truth, found) in zip(axes, rows, strict=True):
        pictures = photo, paint_labels(truth, len(names), ignore_index), paint_labels(found, len(names))
        for axis, picture, title in zip(row, pictures, ("image", "truth", "prediction"), strict=True):
            shown = picture[..., 0] if picture.shape[-1] == 1 else picture
            axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(title, fontsize=9)
            axis.axis("off")
        seen |= set(np.unique(truth).tolist()) | set(np.unique(found).tolist())
    colours = palette(len(names)) / 255
    known = [i for i in sorted(seen) if 0 <= i < len(names) and i != ignore_index]
    patches = [Patch(color=colours[i], label=names[i]) for i in known[:_MOST_NAMED]]
    if len(known) > _MOST_NAMED:
        patches.append(Patch(color="white", label=f"and {len(known) - _MOST_NAMED} more"))
    if ignore_index in seen:
        patches.append(Patch(facecolor="0.6", edgecolor="0.4", hatch="///", label="ignored"))
    figure.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=8)
    return figure
