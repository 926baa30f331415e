"""Backends that gather copies of the keys and values that each region reads; best for small routed shares.

The fused attention is the faster one except in bfloat16 on CPUs; see :mod:`biformer_lit.ops.matmul`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from biformer_lit.ops.matmul import matmul_attention
from biformer_lit.ops.regions import RegionGrid, merge, partition, split_heads
from biformer_lit.ops.routed import Routed


@dataclass(frozen=True)
class Gathered:
    """Queries, keys and values of every region of every image.

    Attributes:
        query: Queries (N * R, heads, t, C / heads).
        key: Keys of the routed regions (N * R, heads, k * t, C / heads).
        value: Values of the routed regions, in the same shape.
        mask: What each key is masked by (N * R, 1, 1, k * t): boolean, or a number to be added where there is a bias;
            None where nothing is.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None


def attend_gather_sdpa(x: Routed) -> Tensor:
    """Gather, then one fused attention call; see :func:`biformer_lit.ops.attend`."""
    y = gather(x)
    out = F.scaled_dot_product_attention(y.query, y.key, y.value, attn_mask=y.mask, scale=x.scale)
    return put_back(out, x.q.shape[0], x.grid)


def attend_gather_matmul(x: Routed) -> Tensor:
    """Gather, then matrix products; see :func:`biformer_lit.ops.attend`."""
    y = gather(x)
    return put_back(matmul_attention(y.query, y.key, y.value, y.mask, x.scale), x.q.shape[0], x.grid)


def gather(x: Routed) -> Gathered:
    """Gather what each region reads."""
    grid, n, (regions, topk) = x.grid, x.q.shape[0], x.index.shape[1:]
    # Regions of all images as rows of one matrix: the backward of index_select adds into a tensor of the
    # keys' own size, whereas that of an expanded gather fills one copy of all keys per query region.
    rows = (x.index + regions * torch.arange(n, device=x.index.device)[:, None, None]).flatten()

    def select(tokens: Tensor) -> Tensor:
        chosen = partition(tokens, grid).flatten(0, 1).flatten(1).index_select(0, rows)
        return split_heads(chosen.view(n * regions, topk * grid.tokens, tokens.shape[-1]), x.heads).transpose(1, 2)

    query = split_heads(partition(x.q, grid).flatten(0, 1), x.heads).transpose(1, 2)
    valid = grid.valid_tokens(x.index.device)
    mask = None if valid is None else valid[x.index]
    if x.bias is not None:
        added = x.bias.to(x.q.dtype).unsqueeze(-1).expand(-1, -1, -1, grid.tokens)
        mask = added if mask is None else added.masked_fill(~mask, float("-inf"))
    mask = None if mask is None else mask.reshape(n * regions, 1, 1, topk * grid.tokens)
    return Gathered(query, select(x.k), select(x.v), mask)


def put_back(out: Tensor, n: int, grid: RegionGrid) -> Tensor:
    """Attended regions (N * R, heads, t, C / heads) as a map (N, H, W, C) of ``n`` images."""
    _, heads, _, size = out.shape
    return merge(out.transpose(1, 2).reshape(n, grid.count, grid.tokens, heads * size), grid)
