"""Attention as batched matrix products, the scores written out.

The fused attention of CPUs is slow in bfloat16, its backward most of all; matrix products are what their bfloat16 units
are for. Scores are held in memory, so this is for short rows of keys.
"""

import torch
from torch import Tensor


def matmul_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Compute the same as ``F.scaled_dot_product_attention``.

    Args:
        query: Queries (..., t, C).
        key: Keys (..., s, C).
        value: Values (..., s, C).
        mask: Broadcast to (..., t, s): boolean, False where a key is not seen, or a number to be added to the scores.
        scale: Factor on the dot products.

    Returns:
        Attended values (..., t, C).
    """
    scores = (query * scale) @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1).to(value.dtype) @ value
