"""Routed attention as dense attention under a region mask: best where the routed share is large."""

import torch.nn.functional as F
from torch import Tensor

from biformer_lit.ops.dense import lay_out, put_back
from biformer_lit.ops.regions import RegionGrid


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
    x = lay_out(q, k, v, index, grid, heads, bias)
    out = F.scaled_dot_product_attention(x.query, x.key, x.value, attn_mask=x.mask, scale=scale)
    return put_back(out, x, grid)
