"""Transforms of images, and of masks on them, that segmentation and detection share."""

from collections.abc import Callable

from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from biformer_lit.data.normalisation import Triple, normalise
from biformer_lit.data.preprocessing import Transform

DIVISOR = 32
"""What height and width of padded batches are multiples of: what the last stage of a four-stage network divides by."""


def photometric_distortion() -> v2.Transform:
    """Vary brightness, contrast, saturation and hue of an image, each with probability 1/2."""
    # strengths of mmsegmentation and mmdetection; v2.RandomPhotometricDistort would also swap the colour channels
    jitters = (
        v2.ColorJitter(brightness=32 / 255),
        v2.ColorJitter(contrast=0.5),
        v2.ColorJitter(saturation=0.5),
        v2.ColorJitter(hue=18 / 180),
    )
    return v2.Compose([v2.RandomApply([jitter], 0.5) for jitter in jitters])


def resize_pair(image: Tensor, mask: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize an image (..., height, width) and masks on it (..., height, width) to ``size``, height and width."""
    if tuple(mask.shape[-2:]) == size:
        return image, mask
    # resizing a Mask takes the upper left pixel, which shifts it against its image; NEAREST_EXACT takes the middle
    nearest = TF.resize(mask.as_subclass(Tensor)[None], list(size), v2.InterpolationMode.NEAREST_EXACT)[0]
    return TF.resize(image, list(size), antialias=True), tv_tensors.Mask(nearest)


def common_size(images: list[Tensor], divisor: int) -> tuple[int, int]:
    """Height and width that hold each of the images (..., height, width), multiples of ``divisor``."""
    height, width = (max(image.shape[axis] for image in images) for axis in (-2, -1))
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def whole_image(size_of: Callable[[int, int], tuple[int, int] | None], mean: Triple, std: Triple) -> Transform:
    """Return what resizes a whole RGB image and normalises it.

    Args:
        size_of: From height and width of an image to those that it is fed with; None keeps them.
        mean: Mean of each channel, for pixel values 0..1.
        std: Standard deviation of each channel.
    """

    def prepare(image: Image.Image) -> Tensor:
        picture = TF.pil_to_tensor(image)
        if (size := size_of(image.height, image.width)) is not None:
            picture = TF.resize(picture, list(size), antialias=True)
        return normalise(picture, mean, std)

    return prepare
