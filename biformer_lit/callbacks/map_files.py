"""Predicted label maps as files."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from biformer_lit.callbacks.label_maps import overlay, paint_labels
from biformer_lit.errors import ConfigError


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
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"predictions.path={folder} exists already; choose another folder or empty it")
        if not folder.parent.is_dir():
            raise ConfigError(f"predictions.path={folder}: the folder {folder.parent} does not exist; make it first")
        self.folder = folder
        self.classes = classes
        for name in ("labels", "overlays"):
            (folder / name).mkdir(parents=True)

    def write(self, index: int, labels: Tensor, photo: Tensor) -> None:
        """Write the two files of an image.

        Args:
            index: Its row number, which becomes the file's name with at least six digits.
            labels: Classes (H, W).
            photo: The image (1 or 3, H, W), between 0 and 1.
        """
        name = f"{index:06d}.png"
        values = labels.cpu().numpy()
        kind = np.uint8 if self.classes <= 256 else np.uint16
        Image.fromarray(values.astype(kind)).save(self.folder / "labels" / name)
        painted = overlay(photo.permute(1, 2, 0).numpy(), paint_labels(values, self.classes))
        Image.fromarray(painted).save(self.folder / "overlays" / name)
