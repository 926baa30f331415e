"""Routed attention as dense matrix products under a region mask, the scores written out.

What :mod:`biformer_lit.ops.gather_matmul` is to gathering, for large routed shares of small maps.
"""

from torch import Tensor

from biformer_lit.ops.dense import lay_out, put_back
from biformer_lit.ops.regions import RegionGrid


def attend_masked_matmul(
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
    scores = (x.query * scale) @ x.key.transpose(-2, -1)
    if x.mask is not None:
        scores = scores + x.mask
    return put_back(scores.softmax(-1).to(x.value.dtype) @ x.value, x, grid)
