"""Routed attention as a row gather and one fused attention call: best where the routed share is small."""

import torch
import torch.nn.functional as F
from torch import Tensor

from biformer_lit.ops.regions import RegionGrid, merge, partition


def attend_gather_sdpa(
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
    n, _, _, channels = q.shape
    regions, topk = index.shape[1:]
    # Regions of all images as rows of one matrix: the backward of index_select adds into a tensor of the
    # keys' own size, whereas that of an expanded gather fills one copy of all keys per query region.
    rows = (index + regions * torch.arange(n, device=index.device)[:, None, None]).flatten()

    def select(x: Tensor) -> Tensor:
        chosen = partition(x, grid).flatten(0, 1).flatten(1).index_select(0, rows)
        return chosen.view(n * regions, topk * grid.tokens, heads, -1).transpose(1, 2)

    query = partition(q, grid).view(n * regions, grid.tokens, heads, -1).transpose(1, 2)
    valid = grid.valid_tokens(index.device)
    mask = None if valid is None else valid[index]
    if bias is not None:
        added = bias.to(q.dtype).unsqueeze(-1).expand(-1, -1, -1, grid.tokens)
        mask = added if mask is None else added.masked_fill(~mask, float("-inf"))
    mask = None if mask is None else mask.reshape(n * regions, 1, 1, topk * grid.tokens)
    out = F.scaled_dot_product_attention(query, select(k), select(v), attn_mask=mask, scale=scale)
    return merge(out.transpose(1, 2).reshape(n, regions, grid.tokens, channels), grid)
