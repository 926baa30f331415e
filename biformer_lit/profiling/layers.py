"""All multiply-adds of a network in closed form, for the many image sizes at which running it would take too long."""

from typing import Any

from torch import nn

from biformer_lit.attention import Attention
from biformer_lit.backbone.blocks import Block


def closed_form_macs(net: nn.Module, size: tuple[int, int]) -> list[int]:
    """Multiply-adds of the stem, each stage and the head, as ``count_costs`` finds them by a forward.

    A convolution or a linear layer takes as many for each position of its output as it has weights.

    Args:
        net: A BiFormer on any device.
        size: Height and width of the image in pixels.

    Raises:
        ConfigError: If the image is too small for the network.
    """
    body: Any = net
    body.check_image_size(*size)
    macs = [_convolutions(body.stem, size)]
    before = size
    for stage, tokens in zip(body.stages, body.map_sizes(*size), strict=True):
        downsample = 0 if stage.downsample is None else _convolutions(stage.downsample, before)
        macs.append(downsample + sum(_block(block, tokens) for block in stage.blocks))
        before = tokens
    return [*macs, _weights(body.head)]


def _convolutions(row: nn.Sequential, size: tuple[int, int]) -> int:
    """Return the multiply-adds of a stem or a down-sampling on a map of this size."""
    macs = 0
    for layer in row:
        if isinstance(layer, nn.Conv2d):
            conv: Any = layer
            sides = zip(size, conv.padding, conv.kernel_size, conv.stride, strict=True)
            height, width = ((side + 2 * padding - kernel) // stride + 1 for side, padding, kernel, stride in sides)
            size = height, width
            macs += height * width * conv.weight.numel()
    return macs


def _block(block: Block, tokens: tuple[int, int]) -> int:
    """Return the multiply-adds of a transformer block on a map of this many rows and columns of tokens."""
    attention: Attention = block.attn
    cost = attention.cost(*tokens)
    rows, columns = attention.padded_map(*tokens)
    inside = sum(_weights(layer) for layer in (attention.qkv, attention.lce, attention.proj))
    around = sum(_weights(layer) for layer in (block.cpe, block.mlp.fc1, block.mlp.fc2))
    return rows * columns * inside + tokens[0] * tokens[1] * around + cost.routing + cost.attention


def _weights(layer: nn.Module | None) -> int:
    """Weights that a position is multiplied with; a layer that is left out has none."""
    return layer.weight.numel() if isinstance(layer, nn.Conv2d | nn.Linear) else 0
