"""Bi-level routing attention (the paper's figure 1 f and section 3.2)."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from biformer_lit.attention.base import Attention, AttentionCost, check_choice
from biformer_lit.attention.record import Recorder, RoutingRecord
from biformer_lit.attention.rules import ROUTINGS, RegionView, Router, rule_settings
from biformer_lit.attention.settings import ONE_FOR_ALL, Declared, Place, Setting
from biformer_lit.errors import ConfigError
from biformer_lit.ops import (
    BACKENDS,
    Backend,
    RegionGrid,
    RoutingPool,
    attend,
    optimal_regions,
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
        routing: How the regions are chosen. ``topk``: the most affine. Controls without content: ``random``: drawn anew
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
        backend: How routed attention is computed; all give the same numbers. ``reference`` (slow, the truth),
            ``gather_sdpa``, ``gather_matmul``, ``masked_sdpa``, ``masked_matmul``, ``triton`` (a fused kernel for
            GPUs), or ``auto``: chosen by device, type and the share of the map that is routed, never ``triton``.
        **rule: The rule's own settings, where it is a plug-in's.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        topk: Annotated[TopK, Setting(default=(1, 4, 16, "all"), where_full="all")] = 4,
        regions: Regions = 7,
        routing: Annotated[str, ROUTINGS] = "topk",
        routing_pool: RoutingPool = "mean",
        routing_heads: RoutingHeads = "shared",
        routing_gradient: bool = False,
        scale: Annotated[Literal["released", "head"], ONE_FOR_ALL] = "released",
        padding: Annotated[Padding, ONE_FOR_ALL] = "masked",
        lce: int = 5,
        backend: Annotated[Backend, ONE_FOR_ALL] = "auto",
        **rule: Any,
    ) -> None:
        super().__init__(dim, heads, lce=lce)
        check_choice("routing", routing, tuple(ROUTINGS))
        check_choice("routing_pool", routing_pool, get_args(RoutingPool))
        check_choice("routing_heads", routing_heads, get_args(RoutingHeads))
        check_choice("scale", scale, ("released", "head"))
        check_choice("padding", padding, get_args(Padding))
        check_choice("backend", backend, BACKENDS)
        self.regions = _check_regions(regions, topk, padding)
        self.topk = topk
        self.routing = routing
        self.routing_pool: RoutingPool = routing_pool
        self.per_head = routing_heads == "per_head"
        self.routing_gradient = routing_gradient
        self.scale = (dim if scale == "released" else dim // heads) ** -0.5
        self.padding = padding
        self.backend: Backend = backend
        self.recorder: Recorder | None = None  # see record_routing
        routed = self.routed_heads()
        self.router: Router = ROUTINGS[routing].make(routed * self.head_dim, routed if self.per_head else None, **rule)
        rows, columns = (4, 4) if self.regions == "auto" else self.regions
        grid = RegionGrid(rows, columns, 1, 1)
        self.router.rehearse(grid, self._topk(grid))
        self.routing_seed: Tensor | None
        seed = torch.zeros((), dtype=torch.int64) if ROUTINGS[routing].seeded else None
        self.register_buffer("routing_seed", seed)
        self.draw_buffers()

    @classmethod
    def declared_settings(cls) -> Iterator[Declared]:
        """See :meth:`Attention.declared_settings`; those of all routing rules are among them."""
        yield from super().declared_settings()
        yield from rule_settings()

    @classmethod
    def build(cls, place: Place, **settings: Any) -> Attention:
        """See :meth:`Attention.build`."""
        own = {setting.name for setting in ROUTINGS[settings["routing"]].settings}
        others = {setting.name for setting in rule_settings()} - own
        return super().build(place, **{name: value for name, value in settings.items() if name not in others})

    def routed_heads(self) -> int:
        """Number of heads that read routed regions, whose maps alone :meth:`attend` is given.

        All of them, unless a subclass has other keys for some.
        """
        return self.heads

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
        regions, index, bias = self._route(q, k)
        heads = q.shape[-1] // self.head_dim
        if self.recorder is not None:
            self._record(self.recorder, q, k, regions, index, bias)
        return attend(q, k, v, index, regions.grid, heads=heads, scale=self.scale, bias=bias, backend=self.backend)

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
        """See :meth:`Attention.cost`."""
        grid, dim = self.grid(*self.padded_map(height, width)), self.routed_heads() * self.head_dim
        topk = self._topk(grid)
        gathered = 2 * grid.count * topk * grid.tokens * dim
        routing = self.router.cost(grid, topk, dim, learns=self.routing_gradient)
        return AttentionCost(routing, grid.tokens * gathered, gathered)

    def extra_repr(self) -> str:
        """The settings that the parameters do not show."""
        return (
            f"topk={self.topk}, regions={self.regions}, routing={self.routing}, routing_pool={self.routing_pool}, "
            f"routing_heads={'per_head' if self.per_head else 'shared'}, "
            f"routing_gradient={self.routing_gradient}, padding={self.padding}, heads={self.heads}"
        )

    def _topk(self, grid: RegionGrid) -> int:
        return grid.count if self.topk == "all" else min(int(self.topk), grid.count)

    def _route(self, q: Tensor, k: Tensor) -> tuple[RegionView, Tensor, Tensor | None]:
        """The regions, which of them each reads, and what that adds to the products of queries and keys."""
        regions = RegionView(
            q,
            k,
            self.grid(q.shape[1], q.shape[2]),
            pool=self.routing_pool,
            heads=q.shape[-1] // self.head_dim if self.per_head else None,
            learns=self.routing_gradient,
            seed=self.routing_seed,
        )
        index, score = self.router(regions, self._topk(regions.grid))
        if not self.routing_gradient:
            return regions, index, None
        if score is None:
            channels = self.head_dim if self.per_head else q.shape[-1]
            score = regions.affinity().gather(-1, index) * channels**-0.5
        return regions, index, score

    def _record(
        self, recorder: Recorder, q: Tensor, k: Tensor, regions: RegionView, index: Tensor, bias: Tensor | None
    ) -> None:
        def by_head(x: Tensor) -> Tensor:
            return (x if self.per_head else x.unsqueeze(1)).detach()

        recorder(
            RoutingRecord(
                by_head(index),
                by_head(regions.affinity()),
                regions.grid,
                q.detach(),
                k.detach(),
                q.shape[-1] // self.head_dim,
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
