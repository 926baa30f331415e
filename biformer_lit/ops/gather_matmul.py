"""Routed attention as a row gather and batched matrix products, the scores written out.

The fused attention of CPUs is slow in bfloat16, its backward most of all; matrix products are what their bfloat16 units
are for. Scores are held in memory, so this is for short rows of keys.
"""

from torch import Tensor

from biformer_lit.ops.gather import gather, put_back
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
    scores = (x.query * scale) @ x.key.transpose(-2, -1)
    if x.mask is not None:
        scores = scores.masked_fill(~x.mask, float("-inf")) if bias is None else scores + x.mask
    return put_back(scores.softmax(-1).to(x.value.dtype) @ x.value, len(q), grid)
