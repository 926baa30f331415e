"""Division of a feature map into regions, and tensor moves between map and regions."""

import math
import operator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class RegionGrid:
    """A cut of an ``height x width`` map into equal regions, the last row and column possibly overhanging.

    Attributes:
        height: Rows of tokens of the map.
        width: Columns of tokens of the map.
        region_height: Rows of tokens of one region.
        region_width: Columns of tokens of one region.
        masked: Whether overhanging (padded) tokens are masked out of every softmax. The released code leaves
            them in; our default takes them out.
        most: No more (rows, columns) of regions than these exist, where that is known. It changes no number: a
            compiler whose map has any size takes the counts for plain numbers then, and only the regions' size varies.
    """

    height: int
    width: int
    region_height: int
    region_width: int
    masked: bool = True
    most: tuple[int | None, int | None] = field(default=(None, None), compare=False, repr=False)

    @classmethod
    def from_regions(
        cls, height: int, width: int, regions: tuple[int, int], *, floor: bool = False, masked: bool = True
    ) -> "RegionGrid":
        """The grid with at most ``regions`` (rows, columns) of regions.

        A region has ``ceil(size / regions)`` tokens per side, so that no more than ``regions`` of them cover
        the map; an 8x8 map cut by 7 has 4x4 regions of 2x2 tokens, none of them empty. A side with fewer tokens than
        regions has a region for each token.

        Args:
            height: Rows of tokens of the map.
            width: Columns of tokens of the map.
            regions: S, the number of regions per side, as (rows, columns).
            floor: Use ``size // regions`` tokens per side instead, at least one, which makes *more* regions than asked
                for where the map does not divide. Only the released channels-first code does so.
            masked: See the class.
        """
        sides = (_side(height, regions[0], floor), _side(width, regions[1], floor))
        most = (2 * regions[0] - 1, 2 * regions[1] - 1) if floor else regions
        return cls(height, width, *sides, masked, most)

    @property
    def rows(self) -> int:
        """Regions along the height."""
        return _count(self.height, self.region_height, self.most[0])

    @property
    def columns(self) -> int:
        """Regions along the width."""
        return _count(self.width, self.region_width, self.most[1])

    @property
    def count(self) -> int:
        """Number of regions, R."""
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        """Tokens of one region, t, padding included."""
        return self.region_height * self.region_width

    @property
    def padding(self) -> tuple[int, int]:
        """Tokens by which the last region overhangs: (bottom, right)."""
        return (
            self.rows * self.region_height - self.height,
            self.columns * self.region_width - self.width,
        )

    @property
    def divisible(self) -> bool:
        """True if the regions cover the map without overhang."""
        return self.padding == (0, 0)

    def padded(self) -> "RegionGrid":
        """The grid of the map after :func:`pad`, which divides."""
        bottom, right = self.padding
        height, width = self.height + bottom, self.width + right
        return RegionGrid(height, width, self.region_height, self.region_width, self.masked, self.most)

    def region_of_token(self, device: torch.device) -> Tensor:
        """Number of the region of every token of the map in raster order, shape (height * width,)."""
        row = torch.arange(self.height, device=device) // self.region_height
        column = torch.arange(self.width, device=device) // self.region_width
        return (row[:, None] * self.columns + column[None, :]).flatten()

    def valid_tokens(self, device: torch.device) -> Tensor | None:
        """Return a mask (R, t) of the tokens inside the map, or None if all are."""
        if self.divisible or not self.masked:
            return None
        real = torch.ones(1, self.height, self.width, 1, dtype=torch.bool, device=device)
        return partition(real, self)[0, :, :, 0]


def _side(size: int, regions: int, floor: bool) -> int:
    """Tokens of a region along a side of this many tokens."""
    if floor:
        return size // regions if size >= regions else 1
    return (size + regions - 1) // regions


def _count(size: int, side: int, most: int | None) -> int:
    """Regions of this side along a size; see :class:`RegionGrid` for ``most``."""
    if most is None:
        return (size + side - 1) // side
    while (most - 1) * side >= size:
        most -= 1
    return most


def at_most(side: int, size: int) -> int:
    """The smaller one; by a branch, so that a side stays a plain number where a compiler's map has any size."""
    return side if side < size else size  # noqa: FURB136


def pad(x: Tensor, grid: RegionGrid) -> Tensor:
    """Zero-pad a map (N, H, W, C) at the bottom and the right to whole regions."""
    if grid.divisible:
        return x
    bottom, right = grid.padding
    return F.pad(x, (0, 0, 0, right, 0, bottom))


def partition(x: Tensor, grid: RegionGrid) -> Tensor:
    """Map (N, H, W, C) to regions (N, R, t, C); what overhangs is zero."""
    x = pad(x, grid)
    n, _, _, c = x.shape
    x = x.view(n, grid.rows, grid.region_height, grid.columns, grid.region_width, c)
    return x.transpose(2, 3).reshape(n, grid.count, grid.tokens, c)


def merge(x: Tensor, grid: RegionGrid) -> Tensor:
    """Regions (N, R, t, C) back to the map (N, H, W, C); the inverse of :func:`partition`."""
    n, _, _, c = x.shape
    x = x.view(n, grid.rows, grid.columns, grid.region_height, grid.region_width, c).transpose(2, 3)
    x = x.reshape(n, grid.rows * grid.region_height, grid.columns * grid.region_width, c)
    return x[:, : grid.height, : grid.width]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Channels (..., C) by head (..., heads, C / heads), as a view."""
    return x.view(*x.shape[:-1], heads, x.shape[-1] // heads)  # no -1: of no images it could be any number


def optimal_regions(height: int, width: int, topk: int) -> tuple[int, int]:
    """The S at which routing and routed attention together take the fewest multiply-adds.

    They take ``2 S^4 C + 2 k (HW)^2 C / S^2`` (paper, section 3.3), which is least at
    ``S = (k (HW)^2 / 2)^(1/6)`` and is then O((HW)^(4/3)). Regions have whole tokens, though, and what overhangs is
    computed too: so of the square regions around that optimum the one is taken that really takes the fewest.

    Args:
        height: Rows of tokens of the map.
        width: Columns of tokens of the map.
        topk: Regions that a region reads.

    Returns:
        Regions per side, (rows, columns), at least 1 and at most one per token.
    """
    # a search over whole numbers: a compiler whose map has any size has to take this one for a constant
    height, width = operator.index(height), operator.index(width)
    tokens = height * width
    side = math.sqrt(tokens) / (topk / 2 * tokens**2) ** (1 / 6)  # of a region, in tokens
    most = min(height, width, math.ceil(2 * side))
    cuts = [(-(-height // n), -(-width // n)) for n in range(max(1, min(math.floor(side / 2), most)), most + 1)]

    def cost(regions: tuple[int, int]) -> int:
        grid = RegionGrid.from_regions(height, width, regions)
        return 2 * grid.count**2 + 2 * min(topk, grid.count) * grid.count * grid.tokens**2

    return min(cuts, key=cost)
