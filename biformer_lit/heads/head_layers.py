"""Layers of the heads."""

from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biformer_lit.common.seeding import derive_seed
from biformer_lit.seams.torch_seams import tree_map_only

HeadNorm: TypeAlias = Literal["batch", "group"]


def build_norm(kind: HeadNorm, channels: int) -> nn.Module:
    """Normalisation of a head's map.

    Args:
        kind: ``batch``, or ``group``: at most 32 groups, of at least four channels each where the map has four.
        channels: Channels of the map.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    most = max(min(32, channels // 4), 1)
    return nn.GroupNorm(next(groups for groups in range(most, 0, -1) if channels % groups == 0), channels)


class ConvNormReLU(nn.Sequential):
    """Convolution without bias, normalisation, ReLU; the map keeps its size.

    Args:
        inputs: Channels of the map.
        outputs: Channels of the result.
        kernel: Pixels per side of the kernel; odd.
        norm: Kind of normalisation, see :func:`build_norm`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, norm: HeadNorm) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        super().__init__(convolution, build_norm(norm, outputs), nn.ReLU(inplace=True))


class PixelClassifier(nn.Sequential):
    """Dropout of whole channels, and a 1x1 convolution to logits.

    Args:
        inputs: Channels of the map.
        num_classes: Channels of the logits.
        dropout: Probability that a channel is dropped in training.
    """

    def __init__(self, inputs: int, num_classes: int, dropout: float) -> None:
        super().__init__(nn.Dropout2d(dropout), nn.Conv2d(inputs, num_classes, 1))


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (N, C, H, W) at another height and width, bilinear between the centres of the pixels."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


@torch.no_grad()
def draw_head(head: nn.Module, seed: int) -> None:
    """Draw the convolutions of a head, each from the seed and its own name, on the CPU.

    Kaiming's normal distribution for what a ReLU follows; 0.01 for classifiers, so that the first predictions are
    even. Norms keep the ones and zeros they are made with; biases are zero.

    Args:
        head: The head.
        seed: What to draw from, together with the names.
    """
    for name, part in head.named_modules():
        if not isinstance(part, nn.Conv2d):
            continue
        if part.bias is not None:
            part.bias.zero_()
        if part.weight.is_meta:
            continue
        generator = torch.Generator("cpu").manual_seed(derive_seed(seed, name))
        values = torch.empty(part.weight.shape, device="cpu")
        if name.startswith("classifier"):
            values.normal_(0.0, 0.01, generator=generator)
        else:
            nn.init.kaiming_normal_(values, mode="fan_out", nonlinearity="relu", generator=generator)
        part.weight.copy_(values)


ASPECT_RATIOS = (0.5, 1.0, 2.0)
"""Height by width of a detector's anchors."""


class NoBackbone(nn.Module):
    """Stand-in for the backbone that torchvision's detectors ask for; it only states the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels


def give_float32(part: nn.Module) -> None:
    """Have a module return float32, for the losses, where it computes in half precision."""
    part.register_forward_hook(_in_float32)


def _in_float32(_module: nn.Module, _inputs: Any, outputs: Any) -> Any:
    return tree_map_only(Tensor, Tensor.float, outputs)
