"""Routing as data: what each routing module decided in a forward pass, handed out while it happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from biformer_lit.ops import RegionGrid, partition


@dataclass(frozen=True)
class RoutingRecord:
    """Decisions of one bi-level routing attention for one batch.

    G is 1 where the heads share their routing and the number of heads where each routes for itself.

    Attributes:
        index: Regions that each region reads (N, G, R, k), int64.
        affinity: Affinity of each region's pooled query to each region's pooled key (N, G, R, R), float32 at least.
        grid: How the map is cut. With the released padding it is that of the padded map.
        query: Queries (N, H, W, C).
        key: Keys (N, H, W, C).
        heads: Number of attention heads.
        scale: Factor on the dot products of queries and keys.
        bias: What is added to the dot products of a routed region's tokens (N, G, R, k), or None.
    """

    index: Tensor
    affinity: Tensor
    grid: RegionGrid
    query: Tensor
    key: Tensor
    heads: int
    scale: float
    bias: Tensor | None = None

    def region_at(self, row: int, column: int) -> int:
        """Number of the region that the token in this row and column of the map lies in."""
        return int(self.grid.region_of_token(self.key.device)[row * self.grid.width + column])

    def token_attention(self, image: int, row: int, column: int) -> Tensor:
        """Attention weights of one token, zero where its region does not look.

        Args:
            image: Which image of the batch.
            row: Row of the token in the map.
            column: Column of the token in the map.

        Returns:
            Weights (heads, H, W), each head's summing to one; with ``padding: released_nchw`` zero keys beyond the map
            take a share that is missing here.
        """
        grid = self.grid
        region = self.region_at(row, column)
        query = self.query[image, row, column].view(self.heads, -1).float()
        key = partition(self.key[image : image + 1], grid)[0].float()
        key = key.view(grid.count, grid.tokens, self.heads, -1)
        scores = torch.einsum("hd,rthd->hrt", query, key) * self.scale
        routed = self.index[image, :, region].expand(self.heads, -1)  # (h, k)
        added = torch.full((self.heads, grid.count), float("-inf"), device=scores.device)
        bias = torch.zeros(routed.shape, device=scores.device)
        if self.bias is not None:
            bias = self.bias[image, :, region].float().expand(self.heads, -1)
        scores = scores + added.scatter(1, routed, bias)[:, :, None]
        valid = grid.valid_tokens(scores.device)
        if valid is not None:
            scores = scores.masked_fill(~valid, float("-inf"))
        weights = scores.flatten(1).softmax(-1).view_as(scores)
        tokens = weights.view(self.heads, grid.rows, grid.columns, grid.region_height, grid.region_width)
        whole = tokens.transpose(2, 3).reshape(
            self.heads, grid.rows * grid.region_height, grid.columns * grid.region_width
        )
        return whole[:, : grid.height, : grid.width]


Recorder: TypeAlias = Callable[[RoutingRecord], None]


@contextmanager
def record_routing(model: nn.Module) -> Iterator[dict[str, RoutingRecord]]:
    """Collect the routing of every routing module during the forward passes inside the block.

    The pictures and statistics of this package are made from it. Each forward pass replaces the records of the one
    before it. Compiled models are recompiled for it; call ``model.forward`` instead of ``model`` to avoid that.

    Args:
        model: Any module that contains :class:`biformer_lit.BiLevelRoutingAttention`.

    Yields:
        Records by the module's name, such as ``stages.0.blocks.1.attn``, filled in by each forward pass.

    Example:
        >>> with torch.no_grad(), record_routing(model) as records:
        ...     model(images)
        >>> records["stages.2.blocks.0.attn"].index.shape  # images, routing heads, regions, topk
        torch.Size([8, 1, 49, 16])
    """
    records: dict[str, RoutingRecord] = {}
    modules = {name: module for name, module in model.named_modules() if hasattr(module, "recorder")}
    before = {name: module.recorder for name, module in modules.items()}

    def keep(name: str) -> Recorder:
        return lambda record: records.__setitem__(name, record)

    for name, module in modules.items():
        module.recorder = keep(name)
    try:
        yield records
    finally:
        for name, module in modules.items():
            module.recorder = before[name]
