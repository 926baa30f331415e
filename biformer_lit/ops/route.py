"""Region-to-region routing: which k regions each region reads."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from biformer_lit.ops.regions import RegionGrid, partition, split_heads

RoutingPool: TypeAlias = Literal["mean", "max"]


def pool_regions(x: Tensor, grid: RegionGrid, pool: RoutingPool = "mean") -> Tensor:
    """Mean or maximum of the real tokens of every region, channel by channel.

    Args:
        x: Map (N, H, W, C).
        grid: How the map is cut; an overhang is never counted.
        pool: ``mean``, as released, or ``max``.

    Returns:
        Region descriptors (N, R, C).
    """
    if torch.compiler.is_compiling():
        return _pool_tokens(x, grid, pool)
    # an NHWC map seen as NCHW is channels-last, for which the pooling kernel needs no copy
    x, size = x.permute(0, 3, 1, 2), (grid.region_height, grid.region_width)
    if pool == "mean":
        pooled = F.avg_pool2d(x, kernel_size=size, ceil_mode=True, count_include_pad=False)
    else:
        pooled = F.max_pool2d(x, kernel_size=size, ceil_mode=True)
    return pooled.permute(0, 2, 3, 1).flatten(1, 2)


def _pool_tokens(x: Tensor, grid: RegionGrid, pool: RoutingPool) -> Tensor:
    """The same for compilers, which fuse the cut into the sum; to pooling layers the size has to be a constant."""
    valid = replace(grid, masked=True).valid_tokens(x.device)
    tokens = partition(x, grid)
    if pool == "max":
        return (tokens if valid is None else tokens.masked_fill(~valid.unsqueeze(-1), float("-inf"))).max(2).values
    return tokens.mean(2) if valid is None else tokens.sum(2) / valid.sum(1, keepdim=True)


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off for routing: in bfloat16 near ties flip, and 2 to 9 % of the output with them.

    Args:
        x: A tensor on the device in question; a meta tensor (counting costs) knows no autocast.
    """
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def describe_regions(
    q: Tensor, k: Tensor, grid: RegionGrid, *, pool: RoutingPool = "mean", heads: int | None = None
) -> tuple[Tensor, Tensor]:
    """Pooled queries and keys of the regions, in float32 at least, also under autocast.

    Args:
        q: Queries (N, H, W, C).
        k: Keys (N, H, W, C).
        grid: How the map is cut.
        pool: How a region is described.
        heads: Number of heads that are described each; None takes all channels together, as released.

    Returns:
        Queries and keys, each (N, R, C), or (N, heads, R, C / heads).
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    with full_precision(q):
        query, key = pool_regions(q.to(dtype), grid, pool), pool_regions(k.to(dtype), grid, pool)
    if heads is None:
        return query, key
    return split_heads(query, heads).transpose(1, 2), split_heads(key, heads).transpose(1, 2)


def affinities(
    q: Tensor, k: Tensor, grid: RegionGrid, *, pool: RoutingPool = "mean", heads: int | None = None
) -> Tensor:
    """Dot products of each region's pooled query and each region's pooled key (paper, eq. 3).

    Args:
        q: Queries (N, H, W, C).
        k: Keys (N, H, W, C).
        grid: How the map is cut.
        pool: How a region is described.
        heads: Number of heads that have an affinity each; None sums over all channels, as released.

    Returns:
        Dot products (N, R, R), or (N, heads, R, R).
    """
    query, key = describe_regions(q, k, grid, pool=pool, heads=heads)
    with full_precision(q):
        return query @ key.transpose(-2, -1)


@torch.no_grad()
def route(
    q: Tensor, k: Tensor, grid: RegionGrid, topk: int, *, pool: RoutingPool = "mean", heads: int | None = None
) -> Tensor:
    """The ``topk`` regions with the highest affinity for each region (paper, eq. 3 and 4).

    As in the released code no gradient flows through the choice.

    Args:
        q: Queries (N, H, W, C).
        k: Keys (N, H, W, C).
        grid: How the map is cut.
        topk: Regions to choose; at most ``grid.count`` are chosen.
        pool: How a region is described.
        heads: Number of heads that choose for themselves; None lets all share one choice, as released.

    Returns:
        Region numbers (N, R, min(topk, R)), or (N, heads, R, min(topk, R)), int64, most affine first.
    """
    return best(affinities(q, k, grid, pool=pool, heads=heads), topk)


def best(scores: Tensor, topk: int) -> Tensor:
    """Numbers of the ``topk`` highest scores (..., R, R) of each row, highest first: (..., R, min(topk, R))."""
    return scores.topk(min(topk, scores.shape[-1]), dim=-1).indices


def route_randomly(shape: tuple[int, ...], grid: RegionGrid, topk: int, device: torch.device) -> Tensor:
    """``topk`` different regions for each region, newly drawn at each call.

    Args:
        shape: Leading dimensions that draw for themselves, such as (N,) or (N, heads).
        grid: How the map is cut.
        topk: Regions to choose; at most ``grid.count`` are chosen.
        device: Where the generator and the result live.

    Returns:
        Region numbers (*shape, R, min(topk, R)), int64.
    """
    return best(torch.rand(*shape, grid.count, grid.count, device=device), topk)


def route_by_seed(seed: Tensor, heads: int, grid: RegionGrid, topk: int) -> Tensor:
    """``topk`` different regions for each region, at random but the same whenever the seed and the grid are.

    The choice is a function of the seed and not a table, so that it exists for maps of every size and one number
    in a checkpoint keeps it.

    Args:
        seed: A number, int64, shape ().
        heads: Number of heads that choose for themselves.
        grid: How the map is cut.
        topk: Regions to choose; at most ``grid.count`` are chosen.

    Returns:
        Region numbers (heads, R, min(topk, R)), int64.
    """
    count = grid.count
    region = torch.arange(count, device=seed.device)
    head = torch.arange(heads, device=seed.device)
    # one mixing for each coordinate: a linear combination of them would repeat itself along diagonals
    score = _mix(_mix(_mix(_mix(seed) + head[:, None, None]) + region[:, None]) + region)
    return best(score, topk)


def route_locally(grid: RegionGrid, topk: int, device: torch.device) -> Tensor:
    """The ``topk`` regions nearest to each region, itself first; the upper left one among equals.

    Args:
        grid: How the map is cut.
        topk: Regions to choose; at most ``grid.count`` are chosen.
        device: Where the result lives.

    Returns:
        Region numbers (R, min(topk, R)), int64, by distance between the regions' centres in tokens.
    """
    row = torch.arange(grid.rows, device=device).repeat_interleave(grid.columns) * grid.region_height
    column = torch.arange(grid.columns, device=device).repeat(grid.rows) * grid.region_width
    distance = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    return distance.sort(dim=-1, stable=True).indices[:, :topk]


def _mix(x: Tensor) -> Tensor:
    """Scramble whole numbers into 0 to 2^32 - 1, one to one (multiply and shift, Wellons' lowbias32)."""
    low = 0xFFFFFFFF
    x = x & low
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & low
    x = ((x ^ (x >> 15)) * 0x846CA68B) & low
    return x ^ (x >> 16)
