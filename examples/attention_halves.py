"""Attention of two halves: half of the heads read BiFormer's routed regions, the other half their own window.

What is far is chosen by content and what is near is always seen, at about half the cost of each. All settings of
BiFormer's routing apply to the first half of the heads, those of the windows (which are not shifted) to the second.
"""

from typing import Any

import torch
from torch import Tensor

import biformer_lit
from biformer_lit.attention import AttentionCost, BiLevelRoutingAttention
from biformer_lit.ops import RegionGrid, attend_within


@biformer_lit.register_attention("halves")
class HalvesAttention(BiLevelRoutingAttention):
    """Routed regions for the first half of the heads, windows for the others.

    Args:
        dim: Channels C.
        heads: Number of heads, at least 2; of an odd number the windows get one more.
        window: Tokens per side of a window.
        **routing: See :class:`biformer_lit.BiLevelRoutingAttention`.
    """

    def __init__(self, dim: int, heads: int, *, window: int = 7, **routing: Any) -> None:
        if heads < 2:
            raise biformer_lit.ConfigError(f"halves take two heads, but {dim} channels make one; lower head_dim")
        super().__init__(dim, heads, **routing)
        self.window = window

    def routed_heads(self) -> int:
        """Heads that read routed regions; the base class sees their maps alone."""
        return self.heads // 2

    def windows(self, height: int, width: int) -> RegionGrid:
        """The windows of a map of this size."""
        return RegionGrid(height, width, min(self.window, height), min(self.window, width))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C) of queries, keys and values of that shape."""
        channels = self.routed_heads() * self.head_dim
        far = super().attend(q[..., :channels], k[..., :channels], v[..., :channels])
        q, k, v = (x[..., channels:] for x in (q, k, v))
        near = attend_within(q, k, v, self.windows(*q.shape[1:3]), heads=self.heads - self.routed_heads())
        return torch.cat((far, near), dim=-1)

    def cost(self, height: int, width: int) -> AttentionCost:
        """What :meth:`attend` costs for one map of this size in tokens."""
        far, grid = super().cost(height, width), self.windows(*self.padded_map(height, width))
        products = 2 * grid.count * grid.tokens**2 * (self.dim - self.routed_heads() * self.head_dim)
        return AttentionCost(far.routing, far.attention + products, far.gathered)
