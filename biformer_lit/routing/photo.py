"""A photo as a network sees it: read, resized without a crop, and normalised as in training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from biformer_lit.checkpoints.saved_weights import SavedWeights
from biformer_lit.common.yaml_text import load_yaml
from biformer_lit.data.images.decoding import REMEDY, decode_image
from biformer_lit.data.images.rendering import PLAIN, Rendering
from biformer_lit.data.normalisation import IMAGENET_MEAN, IMAGENET_STD
from biformer_lit.data.preprocessing import check_preprocessing
from biformer_lit.errors import ConfigError, DataError
from biformer_lit.routing.paint import Array

Triple: TypeAlias = tuple[float, float, float]

_LONGEST = 8  # times as long as wide: more than a photo is, less than what fills the memory


@dataclass(frozen=True)
class Preprocessing:
    """Settings that turn a photo into the network's input.

    Args:
        size: Pixels of the shorter side.
        mean: Mean of each channel that is subtracted, for pixel values 0 to 1.
        std: Standard deviation of each channel that is divided by.
        source: Where the values come from, for people.
        rendering: Which stored values are black and white, and which bands are colours.
        interpolation: How the photo is resized, bicubic or bilinear.

    Raises:
        ConfigError: On a value out of its range.
    """

    size: int = 224
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    source: str = "ImageNet's"
    rendering: Rendering = PLAIN
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"size={self.size} must be at least 1, the pixels of the photo's shorter side")
        if not np.isfinite(self.mean).all():
            raise ConfigError(f"mean={list(self.mean)} must be three finite numbers, one for each channel")
        if not np.isfinite(self.std).all() or min(self.std) <= 0:
            raise ConfigError(f"std={list(self.std)} must be three finite numbers above 0, one for each channel")

    def resize(self, photo: Image.Image) -> Array:
        """The photo at the network's size and its own aspect ratio, RGB, 0 to 1 (H, W, 3)."""
        width, height = (round(side * self.size / min(photo.size)) for side in photo.size)
        return (
            np.asarray(photo.resize((width, height), Image.Resampling[self.interpolation.upper()]), dtype=np.float32)
            / 255
        )

    def normalise(self, pixels: Array) -> Tensor:
        """A batch of one image (1, 3, H, W) from RGB, 0 to 1 (H, W, 3)."""
        image = (torch.from_numpy(pixels) - torch.tensor(self.mean)) / torch.tensor(self.std)
        return image.permute(2, 0, 1)[None]


def find_preprocessing(checkpoint: SavedWeights) -> Preprocessing:
    """Return a run's preprocessing from its checkpoint, or from the config above the folder of its checkpoints.

    Checkpoints of version 0.1 say nothing of the data.

    Args:
        checkpoint: The file, which was read.

    Returns:
        The run's values, or ImageNet's if nothing tells them.

    Raises:
        CheckpointError: If what it says makes no sense.
    """
    stored = checkpoint.origin.preprocessing
    if stored is not None:
        known = check_preprocessing(stored, checkpoint.source)
        sides = known["image_size"] if isinstance(known["image_size"], list | tuple) else [known["image_size"]]
        return Preprocessing(
            known.get("eval_size") or min(sides),
            _triple(known["mean"]),
            _triple(known["std"]),
            f"those of {checkpoint.source}",
            Rendering(known["value_range"], known["bands"]),
            known.get("interpolation", "bicubic"),
        )
    config = Path(checkpoint.source).parent.parent / "config.yaml"
    try:
        data = load_yaml(config)["data"]["init_args"]
        return Preprocessing(
            int(data["image_size"]),
            _triple(data["mean"]),
            _triple(data["std"]),
            f"those of {config}",
            Rendering(data.get("value_range"), data.get("bands")),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):  # not the folder of a run of ours
        return Preprocessing()


def read_photo(path: str, rendering: Rendering = PLAIN) -> Image.Image:
    """A photo as upright 8-bit RGB.

    Args:
        path: The file.
        rendering: Which stored values are black and white, and which bands are colours.

    Raises:
        DataError: If it cannot be read, or is too long and narrow for a map with regions.
    """
    if not Path(path).is_file():
        raise DataError(f"image={path}: there is no such file; give the path of a photo")
    try:
        photo = decode_image({"path": path}, f"image={path}", rendering)
    except DataError as error:
        text = str(error).replace("data.init_args.", "--")
        if str(error).endswith(REMEDY):
            text = f"{str(error).removesuffix(REMEDY)}give another photo, or save it again"
        raise DataError(text) from None
    if max(photo.size) > _LONGEST * min(photo.size):
        raise DataError(f"image={path}: {photo.width} x {photo.height} pixels are too long and narrow; crop it")
    return photo


def _triple(values: Any) -> Triple:
    red, green, blue = map(float, values)
    return red, green, blue
