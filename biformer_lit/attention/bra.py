"""Bi-level routing attention (the paper's figure 1 f and section 3.2)."""

from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from biformer_lit.attention.base import Attention, AttentionCost, check_choice
from biformer_lit.attention.record import Recorder, RoutingRecord
from biformer_lit.errors import ConfigError
from biformer_lit.ops import (
    BACKENDS,
    Backend,
    RegionGrid,
    Routing,
    RoutingPool,
    affinities,
    attend,
    best,
    optimal_regions,
    route_by_seed,
    route_locally,
    route_randomly,
)

TopK: TypeAlias = int | Literal["all"]
Regions: TypeAlias = int | tuple[int, int] | Literal["auto"]
Padding: TypeAlias = Literal["masked", "released", "released_nchw"]
RoutingHeads: TypeAlias = Literal["shared", "per_head"]


class BiLevelRoutingAttention(Attention):
    """Each region reads the ``topk`` regions whose pooled keys its pooled query likes best.

    Args:
        dim: Channels C.
        heads: Number of heads; divides ``dim``.
        topk: Regions that each region reads, 1 to ``regions ** 2``, or ``all``. On a map that its regions
            overhang, fewer regions may exist (an 8x8 map cut by 7 has 16), and on one with fewer tokens than S along
            a side; then at most those are read.
        regions: S, regions per side, or a pair (rows, columns), or ``auto``: the S that takes the fewest
            multiply-adds on the map at hand, :func:`biformer_lit.ops.optimal_regions`.
        routing: How the regions are chosen. ``topk``: by affinity. Controls without content: ``random``: drawn anew
            for each image and pass, in evaluation too; ``random_fixed``: drawn once for each layer, and
            kept in the checkpoint as the number ``routing_seed``; ``local``: the nearest.
        routing_pool: How a region's tokens become its descriptor: ``mean``, as released, or ``max``.
        routing_heads: ``shared``: one choice for all heads, from all channels, as released; ``per_head``: each head
            chooses from its own channels.
        routing_gradient: Whether the chosen regions' affinities also weigh the attention, so that the router
            learns: they are added, divided by the square root of the channels they sum over, to the products
            of queries and keys. As the softmax is shared by all chosen regions, this does nothing where there is
            only one. No, as released.
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
        ConfigError: On a value out of its range.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        topk: TopK = 4,
        regions: Regions = 7,
        routing: Routing = "topk",
        routing_pool: RoutingPool = "mean",
        routing_heads: RoutingHeads = "shared",
        routing_gradient: bool = False,
        scale: Literal["released", "head"] = "released",
        padding: Padding = "masked",
        lce: int = 5,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(dim, heads, lce=lce)
        check_choice("routing", routing, get_args(Routing))
        check_choice("routing_pool", routing_pool, get_args(RoutingPool))
        check_choice("routing_heads", routing_heads, get_args(RoutingHeads))
        check_choice("scale", scale, ("released", "head"))
        check_choice("padding", padding, get_args(Padding))
        check_choice("backend", backend, BACKENDS)
        self.regions = _check_regions(regions, topk, padding)
        self.topk = topk
        self.routing = routing
        self.routing_pool: RoutingPool = routing_pool
        self.routing_heads = heads if routing_heads == "per_head" else None
        self.routing_gradient = routing_gradient
        self.scale = (dim if scale == "released" else dim // heads) ** -0.5
        self.padding = padding
        self.backend: Backend = backend
        self.recorder: Recorder | None = None  # see record_routing
        self.routing_seed: Tensor | None
        seed = torch.zeros((), dtype=torch.int64) if routing == "random_fixed" else None
        self.register_buffer("routing_seed", seed)
        self.draw_buffers()

    def draw_buffers(self, generator: torch.Generator | None = None) -> None:
        """Draw the seed of ``routing: random_fixed`` anew."""
        if self.routing_seed is not None and not self.routing_seed.is_meta:
            seed = torch.randint(2**31, (), generator=generator, device="cpu")
            self.routing_seed.copy_(seed)

    def grid(self, height: int, width: int) -> RegionGrid:
        """Return the regions of a map of this size; a side with fewer tokens than regions has one region per token."""
        if self.regions == "auto":
            regions = optimal_regions(height, width, int(self.topk))
        else:
            regions = self.regions
        return RegionGrid.from_regions(
            height,
            width,
            regions,
            floor=self.padding == "released_nchw",
            masked=self.padding == "masked",
        )

    def shortfall(self, height: int, width: int) -> str | None:
        """See :meth:`Attention.shortfall`."""
        if self.regions == "auto" or self.padding == "released":
            return None
        if height >= self.regions[0] and width >= self.regions[1]:
            return None
        grid = self.grid(height, width)
        return (
            f"its {height}x{width} map has fewer tokens along a side than regions={self.regions[0]}x{self.regions[1]}; "
            f"it is cut into {grid.rows}x{grid.columns} regions"
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C); see :meth:`Attention.attend`."""
        grid = self.grid(q.shape[1], q.shape[2])
        affinity = self._affinity(q, k, grid)
        index = self._choose(q, affinity, grid)
        bias = None
        if self.routing_gradient and affinity is not None:
            channels = self.dim if self.routing_heads is None else self.dim // self.heads
            bias = affinity.gather(-1, index) * channels**-0.5
        if self.recorder is not None and affinity is not None:
            self._record(self.recorder, q, k, grid, affinity, index, bias)
        return attend(q, k, v, index, grid, heads=self.heads, scale=self.scale, bias=bias, backend=self.backend)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, C) of any height and width to a map of the same shape."""
        height, width = x.shape[1:3]
        rows, columns = self.padded_map(height, width)
        if (rows, columns) == (height, width):
            return super().forward(x)
        return super().forward(F.pad(x, (0, 0, 0, columns - width, 0, rows - height)))[:, :height, :width]

    def padded_map(self, height: int, width: int) -> tuple[int, int]:
        """See :meth:`Attention.padded_map`; ``padding: released`` pads to multiples of the regions."""
        if self.padding != "released" or self.regions == "auto":  # the two do not go together
            return height, width
        return height + -height % self.regions[0], width + -width % self.regions[1]

    def cost(self, height: int, width: int) -> AttentionCost:
        """See :meth:`Attention.cost`. Affinities count as far as the chosen routing computes them."""
        grid = self.grid(*self.padded_map(height, width))
        topk = self._topk(grid)
        gathered = 2 * grid.count * topk * grid.tokens * self.dim
        needs_affinity = self.routing == "topk" or self.routing_gradient
        return AttentionCost(grid.count**2 * self.dim if needs_affinity else 0, grid.tokens * gathered, gathered)

    def extra_repr(self) -> str:
        """The settings that the parameters do not show."""
        return (
            f"topk={self.topk}, regions={self.regions}, routing={self.routing}, routing_pool={self.routing_pool}, "
            f"routing_heads={'shared' if self.routing_heads is None else 'per_head'}, "
            f"routing_gradient={self.routing_gradient}, padding={self.padding}, heads={self.heads}"
        )

    def _topk(self, grid: RegionGrid) -> int:
        return grid.count if self.topk == "all" else min(int(self.topk), grid.count)

    def _affinity(self, q: Tensor, k: Tensor, grid: RegionGrid) -> Tensor | None:
        """Affinities (N, R, R) or (N, heads, R, R), None where nothing asks for them."""
        if self.routing != "topk" and not self.routing_gradient and self.recorder is None:
            return None
        with torch.set_grad_enabled(self.routing_gradient and torch.is_grad_enabled()):
            return affinities(q, k, grid, pool=self.routing_pool, heads=self.routing_heads)

    def _choose(self, q: Tensor, affinity: Tensor | None, grid: RegionGrid) -> Tensor:
        """Routed regions (N, R, k) or (N, heads, R, k)."""
        topk = self._topk(grid)
        shape = (q.shape[0],) if self.routing_heads is None else (q.shape[0], self.routing_heads)
        if self.routing == "random":
            return route_randomly(shape, grid, topk, q.device)
        if self.routing == "local":
            return route_locally(grid, topk, q.device).expand(*shape, -1, -1)
        if self.routing_seed is not None:
            index = route_by_seed(self.routing_seed, self.routing_heads or 1, grid, topk)
            return (index[0] if self.routing_heads is None else index).expand(*shape, -1, -1)
        assert affinity is not None  # noqa: S101 (routing is topk)
        return best(affinity.detach(), topk)

    def _record(
        self,
        recorder: Recorder,
        q: Tensor,
        k: Tensor,
        grid: RegionGrid,
        affinity: Tensor,
        index: Tensor,
        bias: Tensor | None,
    ) -> None:
        def by_head(x: Tensor) -> Tensor:
            return (x.unsqueeze(1) if x.ndim == 3 else x).detach()

        recorder(
            RoutingRecord(
                by_head(index),
                by_head(affinity),
                grid,
                q.detach(),
                k.detach(),
                self.heads,
                self.scale,
                None if bias is None else by_head(bias),
            )
        )


def _check_regions(regions: Regions, topk: TopK, padding: Padding) -> tuple[int, int] | Literal["auto"]:
    """S as (rows, columns) or ``auto``, checked with what depends on it."""
    if regions == "auto":
        if topk == "all":
            raise ConfigError("regions=auto is the best S for a number of routed regions; give topk as a number")
        if padding != "masked":
            raise ConfigError(f"regions=auto does not go with padding={padding!r}; use padding='masked'")
        if not isinstance(topk, int) or topk < 1:
            raise ConfigError(f"topk={topk} must be at least 1")
        return "auto"
    if not isinstance(regions, int | tuple):
        raise ConfigError(f"regions={regions!r} is unknown; use a number, a pair (rows, columns) or 'auto'")
    rows, columns = (regions, regions) if isinstance(regions, int) else regions
    if min(rows, columns) < 1:
        raise ConfigError(f"regions={regions} must be at least 1 per side")
    if topk != "all" and not (isinstance(topk, int) and 1 <= topk <= rows * columns):
        raise ConfigError(
            f"topk={topk} is outside 1..{rows * columns}, the number of regions of a {rows}x{columns} "
            "grid; choose a number in that range or 'all'"
        )
    return rows, columns
