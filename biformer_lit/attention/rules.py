"""Routing rules: how each region chooses the regions that it reads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from biformer_lit.attention.settings import Declared
from biformer_lit.ops import (
    RegionGrid,
    RoutingPool,
    best,
    describe_regions,
    full_precision,
    route_by_seed,
    route_locally,
    route_randomly,
)
from biformer_lit.registry import Registry


class RegionView:
    """The regions of one batch, described only as far as a rule asks: pooling and affinities are computed once.

    Args:
        q: Queries (N, H, W, C).
        k: Keys (N, H, W, C).
        grid: How the map is cut.
        pool: How a region is described.
        heads: Number of heads that choose for themselves; None where all share one choice.
        learns: Whether gradients flow to the descriptions.
        seed: The layer's ``routing_seed``, for rules that have one.
    """

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        grid: RegionGrid,
        *,
        pool: RoutingPool,
        heads: int | None,
        learns: bool,
        seed: Tensor | None = None,
    ) -> None:
        self.grid = grid
        self.heads = heads
        self.learns = learns
        self.seed = seed
        self.shape = (q.shape[0],) if heads is None else (q.shape[0], heads)
        """Leading dimensions of the choice: (N,) or (N, heads)."""
        self._maps, self._pool = (q, k), pool
        self._pooled: tuple[Tensor, Tensor] | None = None
        self._affinity: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Device of the maps."""
        return self._maps[0].device

    def pooled(self) -> tuple[Tensor, Tensor]:
        """Queries and keys of the regions; see :func:`biformer_lit.ops.describe_regions`."""
        if self._pooled is None:
            with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
                self._pooled = describe_regions(*self._maps, self.grid, pool=self._pool, heads=self.heads)
        return self._pooled

    def affinity(self) -> Tensor:
        """Dot products of pooled queries and keys (N, R, R) or (N, heads, R, R), float32 at least (paper, eq. 3)."""
        if self._affinity is None:
            query, key = self.pooled()
            with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()), full_precision(query):
                self._affinity = query @ key.transpose(-2, -1)
        return self._affinity


class Router(Protocol):
    """A routing rule with its settings, as one attention module has it."""

    def __call__(self, regions: RegionView, topk: int) -> tuple[Tensor, Tensor | None]:
        """Choose.

        Returns:
            Region numbers (*shape, R, min(topk, R)), int64, and what ``routing_gradient`` adds to the products of
            queries and keys instead of the affinity, in the same shape, or None.
        """

    def rehearse(self, grid: RegionGrid, topk: int) -> None:
        """Make sure, before it is used, that the rule can choose ``topk`` regions of such a grid."""

    def cost(self, grid: RegionGrid, topk: int, dim: int, *, learns: bool) -> int:
        """Count the multiply-adds of the choice for one map of ``dim`` channels.

        Args:
            grid: How the map is cut.
            topk: Regions to choose.
            dim: Channels that the descriptions have, of all heads together.
            learns: Whether the chosen regions' scores weigh the attention.
        """


@dataclass(frozen=True)
class RoutingRule:
    """Entry of :data:`ROUTINGS`.

    Attributes:
        make: Makes a module's router from the channels it sees, its number of heads that choose for themselves (or
            None), and the rule's own settings.
        settings: The rule's own settings.
        seeded: Whether its choice is drawn from a number that the layer keeps in the checkpoint as ``routing_seed``.
    """

    make: Callable[..., Router]
    settings: tuple[Declared, ...] = ()
    seeded: bool = False


ROUTINGS: Registry[RoutingRule] = Registry("routing rule")
"""What ``routing`` can be."""


def rule_settings() -> Iterator[Declared]:
    """The settings of all rules, in the order of registration."""
    for rule in ROUTINGS.values():
        yield from rule.settings


@dataclass(frozen=True)
class _OwnRouter:
    """A rule of this package, which has no settings and asks for descriptions only where it needs them."""

    choose: Callable[[RegionView, int], Tensor]
    by_affinity: bool = False

    def __call__(self, regions: RegionView, topk: int) -> tuple[Tensor, Tensor | None]:
        return self.choose(regions, topk), None

    def rehearse(self, grid: RegionGrid, topk: int) -> None:
        """See :class:`Router`; these rules always can."""

    def cost(self, grid: RegionGrid, topk: int, dim: int, *, learns: bool) -> int:
        """See :class:`Router`. Affinities count as far as they are computed."""
        return grid.count**2 * dim if self.by_affinity or learns else 0


def _by_affinity(regions: RegionView, topk: int) -> Tensor:
    return best(regions.affinity().detach(), topk)


def _randomly(regions: RegionView, topk: int) -> Tensor:
    return route_randomly(regions.shape, regions.grid, topk, regions.device)


def _by_seed(regions: RegionView, topk: int) -> Tensor:
    assert regions.seed is not None  # noqa: S101 (the rule is registered as seeded)
    index = route_by_seed(regions.seed, regions.heads or 1, regions.grid, topk)
    return (index[0] if regions.heads is None else index).expand(*regions.shape, -1, -1)


def _locally(regions: RegionView, topk: int) -> Tensor:
    return route_locally(regions.grid, topk, regions.device).expand(*regions.shape, -1, -1)


def _register(
    name: str, choose: Callable[[RegionView, int], Tensor], *, by_affinity: bool = False, seeded: bool = False
) -> None:
    router = _OwnRouter(choose, by_affinity)

    def make(dim: int, heads: int | None) -> Router:  # noqa: ARG001 (it has no weights)
        return router

    ROUTINGS.register(name, RoutingRule(make, seeded=seeded))


_register("topk", _by_affinity, by_affinity=True)
_register("random", _randomly)
_register("random_fixed", _by_seed, seeded=True)
_register("local", _locally)
