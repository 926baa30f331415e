"""Vanilla attention: every token sees every token (the paper's figure 1 a)."""

from typing import Annotated, Any, Literal

from torch import Tensor

from biformer_lit.attention.base import Attention, AttentionCost
from biformer_lit.attention.settings import ONE_FOR_ALL, Place
from biformer_lit.ops import attend_groups


class FullAttention(Attention):
    """Attention over the whole map, scaled by the size of a head."""

    @classmethod
    def build(
        cls,
        place: Place,
        *,
        full_heads: Annotated[int, ONE_FOR_ALL] = 8,
        full_qkv_bias: Annotated[bool, ONE_FOR_ALL] = False,
        full_lce_input: Annotated[Literal["input", "value"], ONE_FOR_ALL] = "input",
        **settings: Any,
    ) -> Attention:
        """Make the module of one block; in the last stage as released, where it is not like the other patterns.

        With 0, True and ``value`` it is like them there too.

        Args:
            place: Where in the network it stands.
            full_heads: Heads of full attention in the last stage: 8 whatever the width, as released, or 0 for
                ``dim / head_dim``, as the paper's uniform head size implies.
            full_qkv_bias: Whether the projection of full attention in the last stage has a bias: no, as released.
            full_lce_input: What the LCE of full attention in the last stage convolves: the module's ``input``, as
                released, or the ``value``, as the paper says and the released channels-first code does.
            **settings: Those of a subclass.
        """
        if not place.last:
            return super().build(place, **settings)
        heads = full_heads or place.heads
        return cls(place.dim, heads, lce=place.lce, qkv_bias=full_qkv_bias, lce_input=full_lce_input, **settings)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C); see :meth:`Attention.attend`."""
        n, height, width, channels = q.shape
        q, k, v = (x.reshape(n, 1, height * width, channels) for x in (q, k, v))
        return attend_groups(q, k, v, heads=self.heads).view(n, height, width, channels)

    def cost(self, height: int, width: int) -> AttentionCost:
        """See :meth:`Attention.cost`."""
        return AttentionCost(attention=2 * (height * width) ** 2 * self.dim)
