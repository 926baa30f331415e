"""Depthwise convolution with a weight gradient that is fast on CPUs."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# The weight gradient of oneDNN is vectorised for kernels up to this width; wider ones take far
# longer than their size explains: the 5x5 of LCE up to 18 times as long as two narrow ones (docs/benchmarks.md).
_WIDTH = 3


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution of each channel with a kernel of its own, zero-padded to keep the size.

    Args:
        x: Map (N, C, H, W); channels-last is fastest.
        weight: Kernels (C, 1, k, k), k odd.
        bias: Shape (C,), or None.

    Returns:
        Map (N, C, H, W).
    """
    size = weight.shape[-1]
    narrow = size <= _WIDTH or x.shape[-1] < size // 2  # the kernel, or a map that cannot be moved as far
    if narrow or x.device.type != "cpu" or not torch.is_grad_enabled():
        return F.conv2d(x, weight, bias, padding=size // 2, groups=len(weight))
    if torch.is_autocast_enabled("cpu"):  # which does not look into functions of our own
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    out: Tensor = _Depthwise.apply(x, weight, bias)
    return out


class _Depthwise(torch.autograd.Function):
    """``F.conv2d`` with the weight gradient made of narrow pieces."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.bias = bias is not None
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        around = weight.shape[-1] // 2
        of_x = _gradients(x, weight, gradient, (around, around), (True, False))[0] if wants_x else None
        of_weight = _weight_gradient(x, weight, gradient) if wants_weight else None
        # summed here, because oneDNN has the bias' gradient only together with the slow one of the whole weight
        of_bias = gradient.sum((0, 2, 3)) if wants_bias and ctx.bias else None
        return of_x, of_weight, of_bias


def _weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of ``weight``, a few columns at a time."""
    size = weight.shape[-1]
    pieces = []
    for first in range(0, size, _WIDTH):
        columns = weight[..., first : first + _WIDTH]
        # the map, moved so that these columns are the whole kernel
        left = size // 2 - first
        moved = F.pad(x, (left, columns.shape[-1] - 1 - left))
        pieces.append(_gradients(moved, columns, gradient, (size // 2, 0), (False, True))[1])
    return torch.cat(pieces, dim=-1)


def _gradients(
    x: Tensor, weight: Tensor, gradient: Tensor, padding: tuple[int, int], wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Gradients of ``x`` and ``weight``, undefined where not wanted."""
    channels = len(weight)
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], list(padding), [1, 1], False, [0, 0], channels, [*wanted, False]
    )
    return of_x, of_weight
