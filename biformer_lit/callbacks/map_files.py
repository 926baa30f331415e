"""Predicted label maps as files."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from biformer_lit.callbacks.folders import make_folder, picture_name
from biformer_lit.callbacks.images import unnormalised
from biformer_lit.callbacks.label_maps import overlay, paint_labels


class MapFiles:
    """A folder with ``labels/<row>.png``, whose values are the classes, and ``overlays/<row>.png``, for people.

    Label maps have 8 bits (mode L), and 16 (I;16) with more than 256 classes.

    Args:
        folder: The folder, made here; one with something in it is refused.
        classes: Number of classes.

    Raises:
        ConfigError: If the folder holds something, is a file, or lies where there is none.
    """

    def __init__(self, folder: Path, classes: int) -> None:
        make_folder(folder, "labels", "overlays")
        self.folder = folder
        self.classes = classes

    def write_batch(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        """Write what was predicted for a batch."""
        photos = unnormalised(batch["image"], trainer)
        for index, labels, photo in zip(outputs["index"].tolist(), outputs["labels"], photos, strict=True):
            self.write(index, labels, photo[:, : labels.shape[0], : labels.shape[1]])

    def write(self, index: int, labels: Tensor, photo: Tensor) -> None:
        """Write the two files of an image.

        Args:
            index: Its row number, which becomes the file's name with at least six digits.
            labels: Classes (H, W).
            photo: The image (1 or 3, H, W), between 0 and 1.
        """
        name = picture_name(index)
        values = labels.cpu().numpy()
        kind = np.uint8 if self.classes <= 256 else np.uint16
        Image.fromarray(values.astype(kind)).save(self.folder / "labels" / name)
        painted = overlay(photo.permute(1, 2, 0).numpy(), paint_labels(values, self.classes))
        Image.fromarray(painted).save(self.folder / "overlays" / name)

    def close(self) -> None:
        """Nothing is open between two images."""
