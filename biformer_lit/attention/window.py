"""Window attention (the paper's figure 1 b), plain and shifted as in Swin (https://arxiv.org/abs/2103.14030)."""

from typing import Annotated, Any

import torch
from torch import Tensor

from biformer_lit.attention.base import Attention, AttentionCost, check_least
from biformer_lit.attention.settings import BY_PLACE, ONE_FOR_ALL, Place
from biformer_lit.ops import RegionGrid, attend_groups, merge, partition
from biformer_lit.ops.regions import at_most, pad


class WindowAttention(Attention):
    """Each token sees its own window.

    Windows are cut from the upper left corner, or, shifted, from half a window before it, so that the first and the
    last window of a row may be narrower; a side of the map that is no longer than the window is not cut, nor shifted.
    There is no relative position bias: position comes from LCE and the convolutional position encoding, as for every
    pattern.

    Args:
        dim: Channels C.
        heads: Number of heads; divides ``dim``.
        window: Tokens per side of a window, for ``window``.
        shifted: Shift the windows by half a window; Swin does so in every second block.
        lce: See :class:`Attention`.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(
        self, dim: int, heads: int, *, window: int = 7, shifted: Annotated[bool, BY_PLACE] = False, lce: int = 5
    ) -> None:
        super().__init__(dim, heads, lce=lce)
        check_least("window", window)
        self.window = window
        self.shifted = shifted

    @classmethod
    def build(cls, place: Place, *, shift: Annotated[bool, ONE_FOR_ALL] = True, **settings: Any) -> Attention:
        """Make the module of one block.

        Args:
            place: Where in the network it stands.
            shift: Whether the windows of every second block of a stage are shifted by half.
            **settings: The settings of its stage.
        """
        return super().build(place, shifted=shift and place.block % 2 == 1, **settings)

    def grid(self, height: int, width: int) -> RegionGrid:
        """The windows of a map of this size before they are shifted."""
        return RegionGrid(height, width, at_most(self.window, height), at_most(self.window, width))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C); see :meth:`Attention.attend`."""
        grid = self.grid(q.shape[1], q.shape[2])
        down, right = self._shift(grid)
        whole = grid.padded()
        mask = self._mask(grid, down, right, q.device)
        # rolling brings the shifted windows into place; what comes around is masked
        q, k, v = (partition(pad(x, grid).roll((-down, -right), (1, 2)), whole) for x in (q, k, v))
        out = merge(attend_groups(q, k, v, heads=self.heads, mask=mask), whole).roll((down, right), (1, 2))
        return out[:, : grid.height, : grid.width]

    def cost(self, height: int, width: int) -> AttentionCost:
        """See :meth:`Attention.cost`."""
        grid = self.grid(height, width)
        return AttentionCost(attention=2 * grid.count * grid.tokens**2 * self.dim)

    def extra_repr(self) -> str:
        """The settings that the parameters do not show."""
        return f"window={self.window}, shifted={self.shifted}, heads={self.heads}"

    def _shift(self, grid: RegionGrid) -> tuple[int, int]:
        if not self.shifted:
            return 0, 0
        return (
            grid.region_height // 2 if grid.rows > 1 else 0,
            grid.region_width // 2 if grid.columns > 1 else 0,
        )

    def _mask(self, grid: RegionGrid, down: int, right: int, device: torch.device) -> Tensor | None:
        """Return a mask (G, t, t) of the keys that each query of a window sees, None if all see all."""
        if grid.divisible and not down and not right:
            return None
        whole = grid.padded()
        row, column = torch.arange(whole.height, device=device), torch.arange(whole.width, device=device)
        real = (row < grid.height)[:, None] & (column < grid.width)
        band = (row + grid.region_height - down) // grid.region_height
        bar = (column + grid.region_width - right) // grid.region_width
        number = band[:, None] * (whole.columns + 1) + bar
        number, real = (x.roll((-down, -right), (0, 1)) for x in (number, real))
        number, real = (partition(x[None, :, :, None], whole)[0, :, :, 0] for x in (number, real))
        seen = (number[:, :, None] == number[:, None, :]) & real[:, None, :]
        return seen | ~real[:, :, None]  # padded queries see anything: a softmax over nothing is not a number
