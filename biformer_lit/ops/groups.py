"""Attention inside groups of tokens that are fixed beforehand: windows, stripes, strided grids, the whole map."""

import torch.nn.functional as F
from torch import Tensor

from biformer_lit.ops.regions import RegionGrid, merge, partition, split_heads


def attend_groups(q: Tensor, k: Tensor, v: Tensor, *, heads: int, mask: Tensor | None = None) -> Tensor:
    """Attention of every token to the tokens of its own group, scaled by the size of a head.

    Args:
        q: Queries (N, G, t, C): G groups of t tokens.
        k: Keys (N, G, s, C).
        v: Values (N, G, s, C).
        heads: Number of heads; divides C.
        mask: Which queries see which keys, boolean (G, t or 1, s); None lets all see all.

    Returns:
        Attended values (N, G, t, C).
    """
    n, groups, tokens, channels = q.shape
    q, k, v = (split_heads(x.flatten(0, 1), heads).transpose(1, 2) for x in (q, k, v))
    if mask is not None:
        mask = mask.expand(n, *mask.shape).flatten(0, 1).unsqueeze(1)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out.transpose(1, 2).reshape(n, groups, tokens, channels)


def attend_within(q: Tensor, k: Tensor, v: Tensor, grid: RegionGrid, *, heads: int) -> Tensor:
    """Attention of every token to the real tokens of its own region, scaled by the size of a head.

    Args:
        q: Queries (N, H, W, C).
        k: Keys (N, H, W, C).
        v: Values (N, H, W, C).
        grid: How the map is cut, such as into windows or stripes.
        heads: Number of heads; divides C.

    Returns:
        Attended values (N, H, W, C).
    """
    valid = grid.valid_tokens(q.device)
    mask = None if valid is None else valid.unsqueeze(1)
    query, key, value = (partition(x, grid) for x in (q, k, v))
    return merge(attend_groups(query, key, value, heads=heads, mask=mask), grid)
