"""What the backends that gather have in common: each region beside copies of the keys and values it reads."""

from dataclasses import dataclass

import torch
from torch import Tensor

from biformer_lit.ops.regions import RegionGrid, merge, partition


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


def gather(
    q: Tensor, k: Tensor, v: Tensor, index: Tensor, grid: RegionGrid, heads: int, bias: Tensor | None
) -> Gathered:
    """Gather what each region reads; the arguments are those of :func:`biformer_lit.ops.attend`."""
    n, (regions, topk) = q.shape[0], index.shape[1:]
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
    return Gathered(query, select(k), select(v), mask)


def put_back(out: Tensor, n: int, grid: RegionGrid) -> Tensor:
    """Attended regions (N * R, heads, t, C / heads) as a map (N, H, W, C) of ``n`` images."""
    return merge(out.transpose(1, 2).reshape(n, grid.count, grid.tokens, -1), grid)
