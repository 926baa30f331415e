"""Routed attention as dense attention under a region mask: best where the routed share is large."""

import torch
import torch.nn.functional as F
from torch import Tensor

from biformer_lit.ops.regions import RegionGrid, pad


def region_mask(index: Tensor, grid: RegionGrid, bias: Tensor | None = None) -> Tensor:
    """Which token sees which, from the routing index.

    Args:
        index: Region numbers (N, R, k).
        grid: How the map is cut.
        bias: What is to be added to the scores of each routed region's tokens (N, R, k).

    Returns:
        Mask (N, 1, H * W, H * W): True where the key's region is routed to the query's region; or, with a bias, that
        bias there and minus infinity elsewhere.
    """
    n, regions, _ = index.shape
    if bias is None:
        table = torch.zeros(n, regions, regions, dtype=torch.bool, device=index.device)
        table = table.scatter(2, index, torch.ones_like(index, dtype=torch.bool))
    else:
        table = bias.new_full((n, regions, regions), float("-inf")).scatter(2, index, bias)
    # each entry for all tokens of its two regions, in one copy; indexing by token twice took several times as long
    rows, columns, height, width = grid.rows, grid.columns, grid.region_height, grid.region_width
    table = table.view(n, rows, 1, columns, 1, rows, 1, columns, 1)
    table = table.expand(n, rows, height, columns, width, rows, height, columns, width)
    table = table.reshape(n, rows * height, columns * width, rows * height, columns * width)
    table = table[:, : grid.height, : grid.width, : grid.height, : grid.width]
    return table.reshape(n, 1, grid.height * grid.width, grid.height * grid.width)


def attend_masked_sdpa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    index: Tensor,
    grid: RegionGrid,
    heads: int,
    scale: float,
    bias: Tensor | None = None,
) -> Tensor:
    """Arguments and result as in :func:`biformer_lit.ops.attend`."""
    height, width = grid.height, grid.width
    if not grid.divisible and not grid.masked:  # the overhang takes part, so it has to exist
        q, k, v = (pad(x, grid) for x in (q, k, v))
        grid = grid.padded()
    n, h, w, channels = q.shape
    q, k, v = (x.reshape(n, h * w, heads, -1).transpose(1, 2) for x in (q, k, v))
    mask = None
    if bias is not None or index.shape[2] < grid.count:
        mask = region_mask(index, grid, None if bias is None else bias.to(q.dtype))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out.transpose(1, 2).reshape(n, h, w, channels)[:, :height, :width]
