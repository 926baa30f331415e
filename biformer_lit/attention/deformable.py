"""Deformable attention (the paper's figure 1 e), as in DAT (https://arxiv.org/abs/2201.00520)."""

from typing import Annotated

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from biformer_lit.attention.base import Attention, AttentionCost, check_least
from biformer_lit.attention.settings import Setting
from biformer_lit.errors import ConfigError
from biformer_lit.ops import attend_groups


class DeformableAttention(Attention):
    """Each token sees the same few points, which start as an even grid and are moved to where the queries say.

    Keys and values are read off the map at the points by bilinear interpolation. DAT reads the module's input there
    and projects it, which is the same: the projection is affine, and the weights of a point sum to one, also beyond the
    border, where the border is repeated. There is no position bias; see :class:`WindowAttention`.

    Args:
        dim: Channels C.
        heads: Number of heads; divides ``dim``.
        deform_stride: Tokens per side for each point, for ``deformable``: a map of H x W has
            ceil(H / stride) x ceil(W / stride) points. A network's default, DAT's, makes 7 x 7 points at 224.
        deform_groups: Groups of heads that have points of their own, for ``deformable``; divides the heads.
        deform_range: How far a point may move, for ``deformable``, in distances between the points.
        lce: See :class:`Attention`.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        deform_stride: Annotated[int, Setting(default=(8, 4, 2, 1))] = 1,
        deform_groups: int = 1,
        deform_range: float = 1.0,
        lce: int = 5,
    ) -> None:
        super().__init__(dim, heads, lce=lce)
        check_least("deform_stride", deform_stride)
        check_least("deform_groups", deform_groups)
        if not deform_range > 0:
            raise ConfigError(f"deform_range={deform_range} must be above 0")
        if heads % deform_groups:
            raise ConfigError(
                f"{heads} heads do not divide into deform_groups={deform_groups}; choose a divisor of {heads}"
            )
        self.deform_stride = deform_stride
        self.deform_groups = deform_groups
        self.deform_range = deform_range
        channels = dim // deform_groups
        self.kernel = deform_stride + 1 - deform_stride % 2  # odd, so that there are ceil(size / stride) points
        self.offsets = nn.Sequential(
            nn.Conv2d(channels, channels, self.kernel, deform_stride, padding=self.kernel // 2, groups=channels),
            LayerNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, 2, kernel_size=1, bias=False),
        )

    def points(self, q: Tensor) -> Tensor:
        """Return the points at which keys and values are read.

        Args:
            q: Queries (N, H, W, C).

        Returns:
            Row and column in tokens (N, groups, rows, columns, 2); token (i, j) lies at (i, j).
        """
        n, height, width, _ = q.shape
        offsets = self.offsets(self._by_group(q)).permute(0, 2, 3, 1)
        rows, columns = offsets.shape[1:3]
        spacing = _pair(height / rows, width / columns, offsets)
        row = (torch.arange(rows, device=q.device, dtype=offsets.dtype) + 0.5) * (height / rows) - 0.5
        column = (torch.arange(columns, device=q.device, dtype=offsets.dtype) + 0.5) * (width / columns) - 0.5
        start = torch.stack(torch.meshgrid(row, column, indexing="ij"), dim=-1)
        points: Tensor = start + offsets.tanh() * self.deform_range * spacing
        return points.view(n, self.deform_groups, rows, columns, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C); see :meth:`Attention.attend`."""
        n, height, width, channels = q.shape
        points = self.points(q)
        size = _pair(height, width, points)
        place = ((points + 0.5) * 2 / size - 1).flip(-1).flatten(0, 1)  # (x, y), -1 and 1 at the borders

        def read(x: Tensor) -> Tensor:
            found = F.grid_sample(self._by_group(x), place.to(x.dtype), padding_mode="border", align_corners=False)
            return found.view(n, 1, channels, points.shape[2] * points.shape[3]).transpose(2, 3)

        query = q.reshape(n, 1, height * width, channels)
        return attend_groups(query, read(k), read(v), heads=self.heads).view(n, height, width, channels)

    def _by_group(self, x: Tensor) -> Tensor:
        """Map (N, H, W, C) as the maps (N * groups, C / groups, H, W) of the groups of heads."""
        n, height, width, channels = x.shape
        x = x.permute(0, 3, 1, 2)
        return x.reshape(n * self.deform_groups, channels // self.deform_groups, height, width)

    def cost(self, height: int, width: int) -> AttentionCost:
        """See :meth:`Attention.cost`."""
        points = -(-height // self.deform_stride) * -(-width // self.deform_stride)
        predicting = points * self.dim * (self.kernel**2 + 2)
        reading = points * 4 * 2 * self.dim
        attention = 2 * height * width * points * self.dim
        return AttentionCost(predicting + reading, attention, points * 4 * 2 * self.dim)

    def extra_repr(self) -> str:
        """The settings that the parameters do not show."""
        return (
            f"deform_stride={self.deform_stride}, deform_groups={self.deform_groups}, "
            f"deform_range={self.deform_range}, heads={self.heads}"
        )


def _pair(row: float, column: float, like: Tensor) -> Tensor:
    """Two numbers as a tensor; not by ``new_tensor``, for which the compiler of torch 2.11 makes them constants."""
    return torch.stack((like.new_full((), row), like.new_full((), column)))
