"""Dense backends: every query meets all keys under a mask made of the routing, best for large routed shares.

The fused attention is the faster one except in bfloat16 on CPUs; see :mod:`biformer_lit.ops.matmul`.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from biformer_lit.ops.matmul import matmul_attention
from biformer_lit.ops.memory import require_memory
from biformer_lit.ops.regions import RegionGrid, pad, split_heads
from biformer_lit.ops.routed import Routed


@dataclass(frozen=True)
class Masked:
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


def attend_masked_sdpa(x: Routed) -> Tensor:
    """One fused attention call under a mask; see :func:`biformer_lit.ops.attend`."""
    y = lay_out(x)
    out = F.scaled_dot_product_attention(y.query, y.key, y.value, attn_mask=y.mask, scale=x.scale)
    return put_back(out, y, x.grid)


def attend_masked_matmul(x: Routed) -> Tensor:
    """Matrix products under a mask; see :func:`biformer_lit.ops.attend`."""
    y = lay_out(x)
    return put_back(matmul_attention(y.query, y.key, y.value, y.mask, x.scale), y, x.grid)


def region_mask(index: Tensor, grid: RegionGrid, bias: Tensor) -> Tensor:
    """Return a mask of the tokens that each token sees, from the routing index.

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


def lay_out(x: Routed) -> Masked:
    """Queries, keys, values and mask."""
    if not x.grid.divisible and not x.grid.masked:  # the overhang takes part, so it has to exist
        x = replace(x, q=pad(x.q, x.grid), k=pad(x.k, x.grid), v=pad(x.v, x.grid), grid=x.grid.padded())
    query, key, value = (split_heads(tokens.flatten(1, 2), x.heads).transpose(1, 2) for tokens in (x.q, x.k, x.v))
    mask = None
    if x.bias is not None or x.index.shape[2] < x.grid.count:
        bias = torch.zeros_like(x.index, dtype=x.q.dtype) if x.bias is None else x.bias.to(x.q.dtype)
        mask = region_mask(x.index, x.grid, bias)
    return Masked(query, key, value, mask, *x.q.shape[1:3])


def put_back(out: Tensor, x: Masked, grid: RegionGrid) -> Tensor:
    """Attended tokens (N, heads, H * W, C / heads) as a map (N, H, W, C), without padding."""
    n, heads, _, size = out.shape
    out = out.transpose(1, 2).reshape(n, x.height, x.width, heads * size)
    return out[:, : grid.height, : grid.width]
