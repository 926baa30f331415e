"""Dilated attention (the paper's figure 1 d): a grid with gaps over the whole map, as in MaxViT's grid attention."""

from torch import Tensor

from biformer_lit.attention.base import Attention, AttentionCost, check_least
from biformer_lit.errors import ConfigError
from biformer_lit.ops import RegionGrid, attend_groups, merge, partition


class DilatedAttention(Attention):
    """Each token sees the tokens that are a multiple of ``dilation`` rows and columns away.

    MaxViT (https://arxiv.org/abs/2204.01697) chooses it so that every grid has 7 x 7 tokens; here it is given.

    Args:
        dim: Channels C.
        heads: Number of heads; divides ``dim``.
        dilation: Distance between neighbouring keys in tokens; 1 is full attention.
        lce: See :class:`Attention`.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(self, dim: int, heads: int, *, dilation: int = 1, lce: int = 5) -> None:
        super().__init__(dim, heads, lce=lce)
        check_least("dilation", dilation)
        self.dilation = dilation

    def check_map(self, height: int, width: int) -> None:
        """See :meth:`Attention.check_map`."""
        if self.dilation > min(height, width):
            raise ConfigError(
                f"dilation={self.dilation} is more than a side of its {height}x{width} map; set it to at most "
                f"{min(height, width)} for this stage, or enlarge the input image"
            )

    def grid(self, height: int, width: int) -> RegionGrid:
        """The cells of ``dilation x dilation`` tokens, one of each grid, of a map of this size."""
        self.check_map(height, width)
        return RegionGrid(height, width, self.dilation, self.dilation)

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
