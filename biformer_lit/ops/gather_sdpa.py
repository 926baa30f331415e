"""Routed attention as a row gather and one fused attention call: best where the routed share is small."""

import torch.nn.functional as F
from torch import Tensor

from biformer_lit.ops.gather import gather, put_back
from biformer_lit.ops.regions import RegionGrid


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
    x = gather(q, k, v, index, grid, heads, bias)
    out = F.scaled_dot_product_attention(x.query, x.key, x.value, attn_mask=x.mask, scale=scale)
    return put_back(out, q.shape[0], grid)
