"""What the dense backends have in common: all keys for every query, and a mask made of the routing."""

from dataclasses import dataclass

import torch
from torch import Tensor

from biformer_lit.ops.memory import require_memory
from biformer_lit.ops.regions import RegionGrid, pad


@dataclass(frozen=True)
class Dense:
    """Queries, keys and values of whole maps.

    Attributes:
        query: Queries (N, heads, H * W, C / heads).
        key: Keys, in the same shape.
        value: Values, in the same shape.
        mask: What is added to the scores, see :func:`region_mask`; None where every query sees every key as it is.
        height: Rows of tokens, padding that takes part included.
        width: Columns of tokens, likewise.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    height: int
    width: int


def region_mask(index: Tensor, grid: RegionGrid, bias: Tensor) -> Tensor:
    """Which token sees which, from the routing index.

    Args:
        index: Region numbers (N, R, k).
        grid: How the map is cut.
        bias: What is to be added to the scores of each routed region's tokens (N, R, k), such as zeros.

    Returns:
        Mask (N, 1, H * W, H * W): the bias where the key's region is routed to the query's region, minus infinity
        elsewhere. It is added to the scores: fused attention would turn a boolean mask into such a one each time.
    """
    n, regions, _ = index.shape
    if not torch.compiler.is_compiling():
        remedy = "take model.init_args.backbone.backend auto or gather_sdpa"
        tokens = grid.height * grid.width
        require_memory(n * tokens**2 * bias.itemsize, bias.device, f"which of {tokens:,} tokens sees which; {remedy}")
    table = bias.new_full((n, regions, regions), float("-inf")).scatter(2, index, bias)
    # each entry for all tokens of its two regions, in one copy; indexing by token twice took several times as long
    rows, columns, height, width = grid.rows, grid.columns, grid.region_height, grid.region_width
    table = table.view(n, rows, 1, columns, 1, rows, 1, columns, 1)
    table = table.expand(n, rows, height, columns, width, rows, height, columns, width)
    table = table.reshape(n, rows * height, columns * width, rows * height, columns * width)
    table = table[:, : grid.height, : grid.width, : grid.height, : grid.width]
    return table.reshape(n, 1, grid.height * grid.width, grid.height * grid.width)


def lay_out(q: Tensor, k: Tensor, v: Tensor, index: Tensor, grid: RegionGrid, heads: int, bias: Tensor | None) -> Dense:
    """Queries, keys, values and mask; the arguments are those of :func:`biformer_lit.ops.attend`."""
    if not grid.divisible and not grid.masked:  # the overhang takes part, so it has to exist
        q, k, v = (pad(x, grid) for x in (q, k, v))
        grid = grid.padded()
    n, height, width, _ = q.shape
    query, key, value = (x.reshape(n, height * width, heads, -1).transpose(1, 2) for x in (q, k, v))
    mask = None
    if bias is not None or index.shape[2] < grid.count:
        mask = region_mask(index, grid, torch.zeros_like(index, dtype=q.dtype) if bias is None else bias.to(q.dtype))
    return Dense(query, key, value, mask, height, width)


def put_back(out: Tensor, x: Dense, grid: RegionGrid) -> Tensor:
    """Attended tokens (N, heads, H * W, C / heads) as a map (N, H, W, C), without padding."""
    out = out.transpose(1, 2).reshape(out.shape[0], x.height, x.width, -1)
    return out[:, : grid.height, : grid.width]
