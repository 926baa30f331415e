"""Vanilla attention: every token sees every token (the paper's figure 1 a)."""

import torch.nn.functional as F
from torch import Tensor

from biformer_lit.attention.base import Attention


class FullAttention(Attention):
    """Attention over the whole map, scaled by the size of a head."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C); see :meth:`Attention.attend`."""
        n, height, width, channels = q.shape
        q, k, v = (x.reshape(n, height * width, self.heads, -1).transpose(1, 2) for x in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).reshape(n, height, width, channels)
