"""Region-to-region routing: which k regions each region reads."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from biformer_lit.ops.regions import RegionGrid


def pool_regions(x: Tensor, grid: RegionGrid) -> Tensor:
    """Mean of the real tokens of every region.

    Args:
        x: Map (N, H, W, C).
        grid: How the map is cut; an overhang is never counted.

    Returns:
        Region descriptors (N, R, C).
    """
    # an NHWC map seen as NCHW is channels-last, for which the pooling kernel needs no copy
    pooled = F.avg_pool2d(
        x.permute(0, 3, 1, 2),
        kernel_size=(grid.region_height, grid.region_width),
        ceil_mode=True,
        count_include_pad=False,
    )
    return pooled.permute(0, 2, 3, 1).flatten(1, 2)


@torch.no_grad()
def route(q: Tensor, k: Tensor, grid: RegionGrid, topk: int) -> Tensor:
    """The ``topk`` regions with the highest affinity for each region (paper, eq. 3 and 4).

    The affinity is the dot product of the mean query and the mean key over all channels: one graph, shared by
    the heads. As in the released code no gradient flows through the choice. Affinities are computed in
    float32 at least, also under autocast: in bfloat16 near ties flip and 2 to 9 % of the output with them.

    Args:
        q: Queries (N, H, W, C).
        k: Keys (N, H, W, C).
        grid: How the map is cut.
        topk: Regions to choose; at most ``grid.count`` are chosen.

    Returns:
        Region numbers (N, R, min(topk, R)), int64, most affine first.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    # a meta tensor (profiling) knows no autocast
    with nullcontext() if q.is_meta else torch.autocast(q.device.type, enabled=False):
        query = pool_regions(q.to(dtype), grid)
        key = pool_regions(k.to(dtype), grid)
        affinity = query @ key.transpose(-2, -1)
    return affinity.topk(min(topk, grid.count), dim=-1).indices
