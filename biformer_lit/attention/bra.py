"""Bi-level routing attention (the paper's figure 1 f and section 3.2)."""

from typing import Literal, TypeAlias, get_args

import torch.nn.functional as F
from torch import Tensor

from biformer_lit.attention.base import Attention
from biformer_lit.errors import ConfigError
from biformer_lit.ops import BACKENDS, Backend, RegionGrid, attend, route

TopK: TypeAlias = int | Literal["all"]
Regions: TypeAlias = int | tuple[int, int]
Padding: TypeAlias = Literal["masked", "released", "released_nchw"]


class BiLevelRoutingAttention(Attention):
    """Each region reads the ``topk`` regions whose pooled keys its pooled query likes best.

    Args:
        dim: Channels C.
        heads: Number of heads; divides ``dim``.
        topk: Regions that each region reads, 1 to ``regions ** 2``, or ``all``. On a map that its regions
            overhang, fewer regions may exist (an 8x8 map cut by 7 has 16); then at most those are read.
        regions: S, regions per side, or a pair (rows, columns).
        scale: Factor on the dot products: ``released`` is ``dim ** -0.5``, which the released weights were
            trained with; ``head`` is ``head_dim ** -0.5``, as attention is usually defined.
        padding: What happens where S does not divide the map. ``masked``: padded tokens are in no mean, no
            softmax and no LCE border. ``released``: the input is padded before the projection, and padded
            tokens (which then carry the bias) take part in everything. ``released_nchw``: as the released
            channels-first code does, regions have ``size // S`` tokens per side, so that there are more than
            S of them, and zero keys and values take part in the softmax.
        lce: See :class:`Attention`.
        backend: See :func:`biformer_lit.ops.attend`.

    Raises:
        ConfigError: On a value out of its range; a map smaller than ``regions`` is refused at the forward.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        topk: TopK = 4,
        regions: Regions = 7,
        scale: Literal["released", "head"] = "released",
        padding: Padding = "masked",
        lce: int = 5,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(dim, heads, lce=lce)
        rows, columns = (regions, regions) if isinstance(regions, int) else regions
        if min(rows, columns) < 1:
            raise ConfigError(f"regions={regions} must be at least 1 per side")
        if topk != "all" and not (isinstance(topk, int) and 1 <= topk <= rows * columns):
            raise ConfigError(
                f"topk={topk} is outside 1..{rows * columns}, the number of regions of a {rows}x{columns} "
                "grid; choose a number in that range or 'all'"
            )
        _check_choice("scale", scale, ("released", "head"))
        _check_choice("padding", padding, get_args(Padding))
        _check_choice("backend", backend, BACKENDS)
        self.topk = topk
        self.regions = (rows, columns)
        self.scale = (dim if scale == "released" else dim // heads) ** -0.5
        self.padding = padding
        self.backend: Backend = backend

    def grid(self, height: int, width: int) -> RegionGrid:
        """How a map of this size is cut.

        Raises:
            ConfigError: If the map has fewer rows or columns than regions.
        """
        return RegionGrid.from_regions(
            height,
            width,
            self.regions,
            floor=self.padding == "released_nchw",
            masked=self.padding == "masked",
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C); see :meth:`Attention.attend`."""
        grid = self.grid(q.shape[1], q.shape[2])
        index = route(q, k, grid, grid.count if self.topk == "all" else self.topk)
        return attend(q, k, v, index, grid, heads=self.heads, scale=self.scale, backend=self.backend)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, C) of any height and width to a map of the same shape."""
        if self.padding != "released":
            return super().forward(x)
        height, width = x.shape[1:3]
        self.grid(height, width)  # refuses a map smaller than the grid, as the other paddings do
        bottom, right = (-height) % self.regions[0], (-width) % self.regions[1]
        return super().forward(F.pad(x, (0, 0, 0, right, 0, bottom)))[:, :height, :width]

    def extra_repr(self) -> str:
        """The settings that the parameters do not show."""
        return f"topk={self.topk}, regions={self.regions}, padding={self.padding}, heads={self.heads}"


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}")
