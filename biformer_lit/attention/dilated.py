"""Dilated attention (the paper's figure 1 d): a grid with gaps over the whole map, as in MaxViT's grid attention."""

from typing import Annotated

from torch import Tensor

from biformer_lit.attention.base import Attention, AttentionCost, check_least
from biformer_lit.attention.settings import Setting
from biformer_lit.ops import RegionGrid, attend_groups, merge, partition
from biformer_lit.ops.regions import at_most


class DilatedAttention(Attention):
    """Each token sees the tokens that are a multiple of ``dilation`` rows and columns away.

    MaxViT (https://arxiv.org/abs/2204.01697) chooses it so that every grid has 7 x 7 tokens; here it is given.

    Args:
        dim: Channels C.
        heads: Number of heads; divides ``dim``.
        dilation: Distance between neighbouring keys in tokens, for ``dilated``; 1 is full attention. A network's
            default leaves 7 x 7 keys at 224.
        lce: See :class:`Attention`.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(
        self, dim: int, heads: int, *, dilation: Annotated[int, Setting(default=(8, 4, 2, 1))] = 1, lce: int = 5
    ) -> None:
        super().__init__(dim, heads, lce=lce)
        check_least("dilation", dilation)
        self.dilation = dilation

    def grid(self, height: int, width: int) -> RegionGrid:
        """The cells of ``dilation x dilation`` tokens, one of each grid, of a map of this size.

        Along a side that is not longer than the dilation a token sees nothing but its own row or column.
        """
        return RegionGrid(height, width, at_most(self.dilation, height), at_most(self.dilation, width))

    def shortfall(self, height: int, width: int) -> str | None:
        """See :meth:`Attention.shortfall`."""
        if self.dilation <= min(height, width):
            return None
        return (
            f"dilation={self.dilation} is more than a side of its {height}x{width} map, along which tokens see no other"
        )

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C); see :meth:`Attention.attend`."""
        grid = self.grid(q.shape[1], q.shape[2])
        # tokens in the same place of their cell make a group
        q, k, v = (partition(x, grid).transpose(1, 2) for x in (q, k, v))
        valid = grid.valid_tokens(q.device)
        mask = None if valid is None else valid.T.unsqueeze(1)
        return merge(attend_groups(q, k, v, heads=self.heads, mask=mask).transpose(1, 2), grid)

    def cost(self, height: int, width: int) -> AttentionCost:
        """See :meth:`Attention.cost`."""
        grid = self.grid(height, width)
        return AttentionCost(attention=2 * grid.tokens * grid.count**2 * self.dim)

    def extra_repr(self) -> str:
        """The settings that the parameters do not show."""
        return f"dilation={self.dilation}, heads={self.heads}"
