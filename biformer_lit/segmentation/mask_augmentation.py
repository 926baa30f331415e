"""Transforms that move an image and its label map together, and batches of images of different sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as TF

from biformer_lit.data.checks import require
from biformer_lit.data.labels import Integers
from biformer_lit.data.normalisation import Triple, normalise
from biformer_lit.data.own_transforms import OwnTransforms
from biformer_lit.dense.pixel_transforms import common_size, photometric_distortion, resize_pair

Pair = tuple[Tensor, Tensor]
PairTransform = Callable[[Image.Image, Integers], Pair]
"""From an RGB image and its class numbers (height, width) to float32 (3, h, w) and int64, in evaluation as stored."""

_CROPS = 10  # crops looked at for one that is not almost all of one class


@dataclass(frozen=True)
class SegmentationAugmentation:
    """Augmentation of training images with label maps; the defaults are mmsegmentation's for ADE20K.

    Attributes:
        scale: Range of the factor that the image is resized by before a crop is cut out.
        flip: Probability of a mirror image.
        photometric: Whether brightness, contrast, saturation and hue vary, each with probability 1/2.
        cat_max_ratio: Greatest share of one class in a crop, of the pixels that are not ignored; of ten crops the
            first that keeps to it is taken, or the last. 1 takes the first.

    Raises:
        ConfigError: If a setting is out of its range.
    """

    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    photometric: bool = True
    cat_max_ratio: float = 0.75

    def __post_init__(self) -> None:
        good = len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] < float("inf")
        require(good, "augmentation.scale", self.scale, "must be two numbers, 0 < low <= high")
        require(0 <= self.flip <= 1, "augmentation.flip", self.flip, "must be within 0..1")
        good = 0 < self.cat_max_ratio <= 1
        require(good, "augmentation.cat_max_ratio", self.cat_max_ratio, "must be above 0 and at most 1")


class TrainPair:
    """Resizes, cuts out, mirrors and recolours at random, then normalises.

    Where a resized image is smaller than the crop it lies somewhere in it; what is beyond has the mean colour and is
    ignored. The random numbers are torch's.

    Args:
        augmentation: What to do at random.
        size: Height and width of the crop.
        mean: Mean of each channel, for pixel values 0..1.
        std: Standard deviation of each channel.
        ignore_index: The number that means no class.
        own: What the user registered, applied before the normalisation.
    """

    def __init__(
        self,
        augmentation: SegmentationAugmentation,
        size: tuple[int, int],
        mean: Triple,
        std: Triple,
        ignore_index: int,
        own: OwnTransforms | None = None,
    ) -> None:
        self.own = own
        self.augmentation, self.size, self.mean, self.std = augmentation, size, mean, std
        self.ignore_index = ignore_index
        self.distort = photometric_distortion()

    def __call__(self, image: Image.Image, labels: Integers) -> Pair:
        """Transform; see ``PairTransform``."""
        settings = self.augmentation
        picture, mask = _tensors(image, labels)
        factor = float(torch.empty(1).uniform_(*settings.scale))
        height, width = (max(1, round(side * factor)) for side in mask.shape)
        picture, mask = resize_pair(picture, mask, (height, width))
        top, left = self._corner(mask)
        picture, mask = _cut(picture, top, left, self.size), _cut(mask, top, left, self.size)
        above, before = max(0, -top), max(0, -left)
        below, behind = self.size[0] - above - mask.shape[0], self.size[1] - before - mask.shape[1]
        if torch.rand(1) < settings.flip:
            picture, mask = TF.horizontal_flip(picture), TF.horizontal_flip(mask)
            before, behind = behind, before
        if settings.photometric:
            picture = self.distort(picture)
        if self.own:
            moved = self.own({"image": picture, "mask": mask})
            picture, mask = moved["image"], moved["mask"]
        picture = normalise(picture, self.mean, self.std)
        return _pad(picture, mask, (before, behind, above, below), self.ignore_index)

    def _corner(self, mask: Tensor) -> tuple[int, int]:
        """Upper left corner of the crop in the image; negative where the image is smaller than the crop."""
        spare = [side - wanted for side, wanted in zip(mask.shape, self.size, strict=True)]
        top = left = 0
        for _ in range(_CROPS):
            top, left = (int(torch.randint(min(0, free), max(0, free) + 1, (1,))) for free in spare)
            if self.augmentation.cat_max_ratio == 1 or self._is_mixed(_cut(mask, top, left, self.size)):
                break
        return top, left

    def _is_mixed(self, mask: Tensor) -> bool:
        counts = torch.bincount(mask[mask != self.ignore_index])
        return bool(counts.numel()) and bool(counts.max() < self.augmentation.cat_max_ratio * counts.sum())


class EvalPair:
    """Resizes the shorter side of the image, if that is wanted, and normalises it; the label map stays as it is stored.

    Args:
        short_side: Pixels of the shorter side of the image; None keeps the size.
        mean: Mean of each channel, for pixel values 0..1.
        std: Standard deviation of each channel.
    """

    def __init__(self, short_side: int | None, mean: Triple, std: Triple) -> None:
        self.short_side, self.mean, self.std = short_side, mean, std

    def __call__(self, image: Image.Image, labels: Integers) -> Pair:
        """Transform; see ``PairTransform``."""
        picture, mask = _tensors(image, labels)
        if self.short_side is not None:
            short = min(mask.shape)
            size = [max(1, round(side * self.short_side / short)) for side in mask.shape]
            picture = picture if size == list(mask.shape) else TF.resize(picture, size, antialias=True)
        return normalise(picture, self.mean, self.std), mask.as_subclass(Tensor)


def _tensors(image: Image.Image, labels: Integers) -> Pair:
    return tv_tensors.Image(TF.pil_to_tensor(image)), tv_tensors.Mask(torch.from_numpy(labels))


def _cut(image: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
    """The part of a window (top, left, size) that lies on the image (..., height, width)."""
    window = image[..., max(0, top) : max(0, top + size[0]), max(0, left) : max(0, left + size[1])]
    cut: Tensor = tv_tensors.wrap(window, like=image)
    return cut


def _pad(image: Tensor, mask: Tensor, border: tuple[int, int, int, int], ignore_index: int) -> Pair:
    """Pad left, right, top, bottom: a normalised image with the mean colour, its mask with what is ignored."""
    if not any(border):
        return image, mask.as_subclass(Tensor)
    return F.pad(image, border), F.pad(mask.as_subclass(Tensor), border, value=ignore_index)


@dataclass(frozen=True)
class PadBatch:
    """Makes a batch of samples with images of different sizes, which are padded on the right and at the bottom.

    Label maps may be of other sizes than their images, and are padded by themselves.

    Attributes:
        ignore_index: What the masks are padded with; the images are padded with 0, the mean colour.
        divisor: What height and width of the batch are multiples of.
    """

    ignore_index: int
    divisor: int

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """``image`` (N, 3, H, W), ``mask`` (N, H', W'), and the rest as torch stacks it."""
        padded = [dict(sample) for sample in samples]
        for name, value in (("image", 0), ("mask", self.ignore_index)):
            height, width = common_size([sample[name] for sample in samples], self.divisor)
            for sample in padded:
                below, behind = height - sample[name].shape[-2], width - sample[name].shape[-1]
                sample[name] = F.pad(sample[name], (0, behind, 0, below), value=value)
        batch: dict[str, Any] = default_collate(padded)
        return batch
