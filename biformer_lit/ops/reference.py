"""Token-to-token attention inside the routed regions, written as the paper writes it (eq. 5 and 6).

Slow and large on purpose: this is what every other backend is tested against.
"""

import torch
from torch import Tensor

from biformer_lit.ops.regions import merge, partition, split_heads
from biformer_lit.ops.routed import Routed


def attend_reference(x: Routed) -> Tensor:
    """Gather, multiply, softmax, multiply; see :func:`biformer_lit.ops.attend`."""
    grid, index = x.grid, x.index
    q, k, v = (split_heads(partition(tokens, grid), x.heads) for tokens in (x.q, x.k, x.v))
    batch = torch.arange(q.shape[0], device=index.device)[:, None, None]
    k, v = k[batch, index], v[batch, index]  # (N, R, k, t, heads, d)
    scores = torch.einsum("nrthd,nrkshd->nrhtks", q, k) * x.scale
    if x.bias is not None:
        scores = scores + x.bias.to(scores.dtype)[:, :, None, None, :, None]
    valid = grid.valid_tokens(index.device)
    if valid is not None:
        scores = scores.masked_fill(~valid[index][:, :, None, None], float("-inf"))
    weights = scores.flatten(-2).softmax(-1).view(scores.shape)
    out = torch.einsum("nrhtks,nrkshd->nrthd", weights, v)
    return merge(out.flatten(-2), grid)
