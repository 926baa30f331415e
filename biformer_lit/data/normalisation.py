"""Mean and standard deviation by which images are normalised."""

from collections.abc import Sequence

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from biformer_lit.data.checks import require

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = IMAGENET_DEFAULT_MEAN
IMAGENET_STD: Triple = IMAGENET_DEFAULT_STD


def normalise(image: Tensor, mean: Triple, std: Triple) -> Tensor:
    """A uint8 image as float32, less the mean and divided by the standard deviation of its channels."""
    result: Tensor = TF.normalize(TF.to_dtype(image, torch.float32, scale=True), list(mean), list(std))
    return result.as_subclass(Tensor)


def require_normalisation(mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse what cannot normalise images of three channels."""
    require(len(mean) == 3, "mean", mean, "must be three numbers, one per channel")
    require(len(std) == 3 and min(std) > 0, "std", std, "must be three numbers above 0, one per channel")
