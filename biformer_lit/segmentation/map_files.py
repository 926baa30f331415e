"""Predicted label maps as files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from biformer_lit.callbacks.folders import make_folder, picture_name, save_picture
from biformer_lit.callbacks.image_table import ImageTable, named_images
from biformer_lit.callbacks.input_images import unnormalised
from biformer_lit.callbacks.names import class_names
from biformer_lit.callbacks.shown import Shown
from biformer_lit.dense.label_colours import overlay, paint_labels


class MapFiles:
    """A folder with ``labels/<row>.png``, whose values are the classes, and ``overlays/<row>.png``, for people.

    Label maps have 8 bits (mode L), and 16 (I;16) with more than 256 classes. Where the data set tells the images'
    files or has numbers for them, ``images.csv`` says which picture belongs to which, and so does a text in each PNG.

    Args:
        folder: The folder, made here; one with something in it is refused.
        classes: Number of classes.
        names: What they are called, which ``id2label.json`` then says; None if nothing names them.

    Raises:
        ConfigError: If the folder holds something, is a file or a link, or lies where there is none.
    """

    def __init__(self, folder: Path, classes: int, names: Sequence[str] | None = None) -> None:
        make_folder(folder, "labels", "overlays")
        self.folder = folder
        self.classes = classes
        if names is not None:
            text = json.dumps(dict(enumerate(names)), ensure_ascii=False, indent=1)
            (folder / "id2label.json").write_text(f"{text}\n", encoding="utf-8")
        self.table = ImageTable(folder / "images.csv")

    def write_batch(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        """Write what was predicted for a batch."""
        photos = unnormalised(batch["image"], trainer)
        fed, named = batch["size"].tolist(), named_images(batch, len(photos))
        rows = zip(outputs["index"].tolist(), outputs["labels"], photos, fed, named, strict=True)
        for index, labels, photo, (height, width), names in rows:
            self.write(index, labels, photo[:, :height, :width], names)

    def write(self, index: int, labels: Tensor, photo: Tensor, named: Mapping[str, Any] | None = None) -> None:
        """Write the two files of an image.

        Args:
            index: Its row number, which becomes the file's name with at least six digits.
            labels: Classes (H, W).
            photo: The image as fed (1 or 3, rows, columns), between 0 and 1.
            named: What identifies it besides the row, by name.
        """
        name, named = picture_name(index), named or {}
        values = labels.cpu().numpy()
        kind = np.uint8 if self.classes <= 256 else np.uint16
        save_picture(Image.fromarray(values.astype(kind)), self.folder / "labels" / name, named)
        if photo.shape[1:] != labels.shape:
            photo = F.interpolate(photo[None], labels.shape, mode="bilinear", align_corners=False)[0]
        painted = overlay(photo.permute(1, 2, 0).numpy(), paint_labels(values, self.classes))
        save_picture(Image.fromarray(painted), self.folder / "overlays" / name, named)
        self.table.add(index, name, named)

    def close(self) -> None:
        """Close the table."""
        self.table.close()


def open_map_files(path: Path, task: Any, data: Any, shown: Shown) -> MapFiles:  # noqa: ARG001
    """Open what label maps are written to; see :data:`biformer_lit.kinds.OpenFiles`."""
    return MapFiles(path, int(task.num_classes), class_names(task))
