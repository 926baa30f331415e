"""Token-to-token attention inside the routed regions, written as the paper writes it (eq. 5 and 6).

Slow and large on purpose: this is what every other backend is tested against.
"""

import torch
from torch import Tensor

from biformer_lit.ops.regions import RegionGrid, merge, partition


def attend_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    index: Tensor,
    grid: RegionGrid,
    heads: int,
    scale: float,
    bias: Tensor | None = None,
) -> Tensor:
    """Gather, multiply, softmax, multiply. Arguments and result as in :func:`biformer_lit.ops.attend`."""
    n, _, _, channels = q.shape
    regions, topk = index.shape[1:]
    q, k, v = (partition(x, grid).unflatten(-1, (heads, channels // heads)) for x in (q, k, v))
    batch = torch.arange(n, device=index.device)[:, None, None]
    k, v = k[batch, index], v[batch, index]  # (N, R, k, t, heads, d)
    scores = torch.einsum("nrthd,nrkshd->nrhtks", q, k) * scale
    if bias is not None:
        scores = scores + bias.to(scores.dtype)[:, :, None, None, :, None]
    valid = grid.valid_tokens(index.device)
    if valid is not None:
        scores = scores.masked_fill(~valid[index][:, :, None, None], float("-inf"))
    weights = scores.flatten(-2).softmax(-1).view(n, regions, heads, grid.tokens, topk, grid.tokens)
    out = torch.einsum("nrhtks,nrkshd->nrthd", weights, v)
    return merge(out.flatten(-2), grid)
