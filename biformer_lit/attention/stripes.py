"""Cross-shaped stripes (the paper's figure 1 c), as in CSWin (https://arxiv.org/abs/2107.00652)."""

from typing import Annotated

import torch
from torch import Tensor

from biformer_lit.attention.base import Attention, AttentionCost, check_least
from biformer_lit.attention.settings import Setting
from biformer_lit.errors import ConfigError
from biformer_lit.ops import RegionGrid, attend_within
from biformer_lit.ops.regions import at_most


class StripesAttention(Attention):
    """Each token sees the horizontal stripe that it lies in with half of the heads, the vertical one with the others.

    Args:
        dim: Channels C.
        heads: Number of heads, at least 2; divides ``dim``. Of an odd number the horizontal stripes get one less.
        stripe_width: Tokens across a stripe, for ``stripes``; a network's default is CSWin's.
        lce: See :class:`Attention`.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        stripe_width: Annotated[int, Setting(default=(1, 2, 7, 7))] = 1,
        lce: int = 5,
    ) -> None:
        super().__init__(dim, heads, lce=lce)
        check_least("stripe_width", stripe_width)
        if heads < 2:
            raise ConfigError(
                f"stripes take two heads, one for each direction, but {dim} channels make one; lower head_dim"
            )
        self.stripe_width = stripe_width

    def halves(self, height: int, width: int) -> tuple[tuple[int, RegionGrid], tuple[int, RegionGrid]]:
        """Heads and stripes of the two directions, horizontal first, on a map of this size."""
        across = self.heads // 2
        return (
            (across, RegionGrid(height, width, at_most(self.stripe_width, height), width, most=(None, 1))),
            (self.heads - across, RegionGrid(height, width, height, at_most(self.stripe_width, width), most=(1, None))),
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C); see :meth:`Attention.attend`."""
        start, parts = 0, []
        for heads, grid in self.halves(q.shape[1], q.shape[2]):
            channels = heads * (self.dim // self.heads)
            query, key, value = (x[..., start : start + channels] for x in (q, k, v))
            parts.append(attend_within(query, key, value, grid, heads=heads))
            start += channels
        return torch.cat(parts, dim=-1)

    def cost(self, height: int, width: int) -> AttentionCost:
        """See :meth:`Attention.cost`."""
        halves = self.halves(height, width)
        products = sum(2 * grid.count * grid.tokens**2 * heads for heads, grid in halves)
        return AttentionCost(attention=products * (self.dim // self.heads))

    def extra_repr(self) -> str:
        """The settings that the parameters do not show."""
        return f"stripe_width={self.stripe_width}, heads={self.heads}"
