"""Argument of all backends of routed attention."""

from dataclasses import dataclass

from torch import Tensor

from biformer_lit.ops.regions import RegionGrid


@dataclass(frozen=True)
class Routed:
    """Maps, the regions that each region reads, and how their tokens are multiplied.

    Attributes:
        q: Queries (N, H, W, C).
        k: Keys (N, H, W, C).
        v: Values (N, H, W, C).
        index: Routed regions (N, R, k), int64, no region twice in a row.
        grid: How the map is cut; says also whether overhanging tokens are masked.
        heads: Number of heads; divides C.
        scale: Factor on the dot products.
        bias: Added to the dot products of a routed region's tokens, in the shape of ``index``; None adds nothing.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    index: Tensor
    grid: RegionGrid
    heads: int
    scale: float
    bias: Tensor | None = None
