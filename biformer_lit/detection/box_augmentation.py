"""Transforms that move an image and its objects together, and batches of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from biformer_lit.data.checks import require
from biformer_lit.data.normalisation import Triple, normalise
from biformer_lit.data.own_transforms import OwnTransforms
from biformer_lit.dense.pixel_transforms import common_size, photometric_distortion, resize_pair
from biformer_lit.detection.boxes import sound_boxes
from biformer_lit.detection.object_masks import has_pixels
from biformer_lit.detection.object_reading import Objects, select

BoxTransform = Callable[[Image.Image, Objects], tuple[Tensor, Objects]]
"""From an RGB image and its objects, in pixels of that image, to what is fed, float32 (3, h, w), and its objects."""


@dataclass(frozen=True)
class DetectionAugmentation:
    """Augmentation of training images with their objects.

    Attributes:
        short_sides: Lengths of the shorter side to draw from, in pixels; empty for always ``image_size``.
        flip: Probability of a mirror image.
        flip_vertical: Probability of an image upside down.
        photometric: Whether brightness, contrast, saturation and hue vary, each with probability 1/2.
        crop: Whether a random part is cut out that keeps a random share of some object, as SSD does; objects whose
            centre is not on it are left out.
        scale: Range of a further factor of the shorter side; null for none. What ``max_size`` says holds all the same.

    Raises:
        ConfigError: If a setting is out of its range.
    """

    short_sides: tuple[int, ...] = ()
    flip: float = 0.5
    flip_vertical: float = 0.0
    photometric: bool = False
    crop: bool = False
    scale: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        sides, scale = self.short_sides, self.scale
        problem = "must be numbers of pixels, 1 or more each"
        require(all(side >= 1 for side in sides), "augmentation.short_sides", sides, problem)
        for field in ("flip", "flip_vertical"):
            value = getattr(self, field)
            require(0 <= value <= 1, f"augmentation.{field}", value, "must be within 0..1")
        good = scale is None or (len(scale) == 2 and 0 < scale[0] <= scale[1] < float("inf"))
        require(good, "augmentation.scale", scale, "must be two numbers, 0 < low <= high, or null")


@dataclass(frozen=True)
class ImageSize:
    """Size at which images are fed to the network.

    Attributes:
        short: Pixels of the shorter side.
        most: Most pixels of the longer side.
    """

    short: int
    most: int

    def fit(self, size: tuple[int, int], short: float) -> tuple[int, int]:
        """Height and width of an image of height and width ``size`` whose shorter side is to be ``short``.

        As ``torchvision.transforms.v2.Resize``, but no side comes to 0.
        """
        least, longest = min(size), max(size)
        wanted = max(1, min(round(short), self.most))
        sides = wanted, max(1, int(wanted * longest / least))
        if sides[1] > self.most:
            sides = max(1, int(self.most * wanted / sides[1])), self.most
        return sides if size[0] <= size[1] else (sides[1], sides[0])


class TrainBoxes:
    """Cuts out, resizes, mirrors and recolours at random, then normalises.

    The random numbers are torch's. Objects come without ``area`` and ``crowd``, and without those that are many in
    one; what a crop leaves under one pixel wide or high, or without a pixel of its mask, is left out.

    Args:
        augmentation: What to do at random.
        size: How large images are fed.
        mean: Mean of each channel, for pixel values 0..1.
        std: Standard deviation of each channel.
        own: What the user registered, applied before the normalisation; it may change the size of the image. Objects
            that it leaves under one pixel wide or high, or without a pixel of their mask, are left out.
    """

    def __init__(
        self,
        augmentation: DetectionAugmentation,
        size: ImageSize,
        mean: Triple,
        std: Triple,
        own: OwnTransforms | None = None,
    ) -> None:
        self.own = own
        self.augmentation, self.size, self.mean, self.std = augmentation, size, mean, std
        self.crop = v2.RandomIoUCrop()
        self.distort = photometric_distortion()

    def __call__(self, image: Image.Image, objects: Objects) -> tuple[Tensor, Objects]:
        """Transform; see ``BoxTransform``."""
        settings = self.augmentation
        objects = select(objects, ~objects["crowd"])
        picture = tv_tensors.Image(TF.pil_to_tensor(image))
        labels, masked = objects["labels"], "masks" in objects
        boxes = tv_tensors.BoundingBoxes(objects["boxes"], format="XYXY", canvas_size=picture.shape[-2:])
        masks = tv_tensors.Mask(objects["masks"] if masked else torch.zeros((0, *picture.shape[-2:])))
        if settings.crop:
            picture, boxes, masks = self.crop(picture, boxes, masks)
            large = sound_boxes(boxes.as_subclass(Tensor), boxes.canvas_size)[1]
            boxes, labels = tv_tensors.wrap(boxes[large], like=boxes), labels[large]
            masks = tv_tensors.Mask(masks[large]) if masked else masks
        size = self.size.fit(boxes.canvas_size, self._short_side())
        picture, masks = resize_pair(picture, masks, size)
        boxes = TF.resize(boxes, list(size))
        for flip, probability in ((TF.horizontal_flip, settings.flip), (TF.vertical_flip, settings.flip_vertical)):
            if torch.rand(1) < probability:
                picture, boxes, masks = flip(picture), flip(boxes), flip(masks)
        if settings.photometric:
            picture = self.distort(picture)
        known = {"boxes": boxes, "labels": labels} | ({"masks": masks} if masked else {})
        if self.own:
            result = self.own({"image": picture, **known})
            large = sound_boxes(result["boxes"].as_subclass(Tensor), result["boxes"].canvas_size)[1]
            picture, known = result["image"], {name: result[name].as_subclass(Tensor)[large] for name in known}
        moved = {name: value.as_subclass(Tensor) for name, value in known.items()}
        if masked:
            moved = select(moved, has_pixels(moved["masks"]))
        return normalise(picture, self.mean, self.std), moved

    def _short_side(self) -> float:
        sides, scale = self.augmentation.short_sides or (self.size.short,), self.augmentation.scale
        side = sides[int(torch.randint(len(sides), (1,)))]
        return side if scale is None else side * float(torch.empty(1).uniform_(*scale))


class EvalBoxes:
    """Resizes the image and normalises it; objects stay as they are stored.

    Args:
        size: How large images are fed.
        mean: Mean of each channel, for pixel values 0..1.
        std: Standard deviation of each channel.
    """

    def __init__(self, size: ImageSize, mean: Triple, std: Triple) -> None:
        self.size, self.mean, self.std = size, mean, std

    def __call__(self, image: Image.Image, objects: Objects) -> tuple[Tensor, Objects]:
        """Transform; see ``BoxTransform``."""
        picture = tv_tensors.Image(TF.pil_to_tensor(image))
        size = self.size.fit((image.height, image.width), self.size.short)
        return normalise(TF.resize(picture, list(size), antialias=True), self.mean, self.std), objects


@dataclass(frozen=True)
class PadImages:
    """Makes a batch of samples with images of different sizes, which are padded on the right and at the bottom with 0.

    Attributes:
        divisor: What height and width of the batch are multiples of.
    """

    divisor: int

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """``image`` (N, 3, H, W), ``objects`` as a list, and the rest as torch stacks it."""
        size = common_size([sample["image"] for sample in samples], self.divisor)
        padded = []
        for sample in samples:
            rest = {name: value for name, value in sample.items() if name != "objects"}
            below, behind = size[0] - sample["image"].shape[1], size[1] - sample["image"].shape[2]
            padded.append({**rest, "image": F.pad(sample["image"], (0, behind, 0, below))})
        batch: dict[str, Any] = default_collate(padded)
        return {**batch, "objects": [sample["objects"] for sample in samples]}
