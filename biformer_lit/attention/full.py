"""Vanilla attention: every token sees every token (the paper's figure 1 a)."""

from torch import Tensor

from biformer_lit.attention.base import Attention, AttentionCost
from biformer_lit.ops import attend_groups


class FullAttention(Attention):
    """Attention over the whole map, scaled by the size of a head."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C); see :meth:`Attention.attend`."""
        n, height, width, channels = q.shape
        q, k, v = (x.reshape(n, 1, height * width, channels) for x in (q, k, v))
        return attend_groups(q, k, v, heads=self.heads).view(n, height, width, channels)

    def cost(self, height: int, width: int) -> AttentionCost:
        """See :meth:`Attention.cost`."""
        return AttentionCost(attention=2 * (height * width) ** 2 * self.dim)
