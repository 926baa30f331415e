"""Routing by hashing: a region reads the regions whose pooled keys lie on its query's side of the most random planes.

Locality-sensitive hashing, as in Reformer (https://arxiv.org/abs/2001.04451); directions count, lengths do not.
"""

import torch
from torch import Tensor, nn

from biformer_lit import register_routing
from biformer_lit.ops import RegionGrid


@register_routing("hashing")
class Hashing(nn.Module):
    """Choose the regions with the most bits in common, the first among equals.

    Args:
        hash_bits: Random planes of the rule ``hashing``, a bit each; they are kept in the checkpoint.
    """

    def __init__(self, dim: int, heads: int | None, *, hash_bits: int = 16) -> None:
        super().__init__()
        self.register_buffer("planes", torch.randn(dim // (heads or 1), hash_bits))

    def forward(self, query: Tensor, key: Tensor, grid: RegionGrid, topk: int) -> Tensor:
        """Region numbers (..., R, min(topk, R)) from pooled queries and keys (..., R, C)."""
        planes = self.planes.to(query)
        in_common = (query @ planes).sign() @ (key @ planes).sign().transpose(-2, -1)
        return in_common.sort(dim=-1, descending=True, stable=True).indices[..., :topk]
