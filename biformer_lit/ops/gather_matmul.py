"""Routed attention as a row gather and matrix products: best in bfloat16 on CPUs where the routed share is small."""

from torch import Tensor

from biformer_lit.ops.gather import gather, put_back
from biformer_lit.ops.matmul import matmul_attention
from biformer_lit.ops.regions import RegionGrid


def attend_gather_matmul(
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
    return put_back(matmul_attention(x.query, x.key, x.value, x.mask, scale), q.shape[0], grid)
