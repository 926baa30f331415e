"""Routing in numbers, from the indices of the routed regions alone.

N images, G choices for each region (1, or one for each head), R regions, k routed regions.
"""

import math

import torch
from torch import Tensor

from biformer_lit.ops import RegionGrid


def chosen(index: Tensor) -> Tensor:
    """Return the regions that each region reads, as a mask.

    Args:
        index: Routed regions (..., R, k), int64, no region twice in a row.

    Returns:
        Mask (..., R, R), bool: reading region in the rows, read region in the columns.
    """
    regions = index.shape[-2]
    mask = torch.zeros(*index.shape[:-1], regions, dtype=torch.bool, device=index.device)
    return mask.scatter_(-1, index, True)


def in_degree(index: Tensor) -> Tensor:
    """Return how often each region is chosen.

    Args:
        index: Routed regions (N, G, R, k).

    Returns:
        Share of all (region, head) pairs that read each region (N, R), 0 to 1; its mean over the regions is k / R.
    """
    return chosen(index).float().mean((1, 2))


def indegree_entropy(index: Tensor) -> Tensor:
    """Return how evenly the regions are read: entropy of the in-degree distribution over log R.

    Args:
        index: Routed regions (N, G, R, k) of at least two regions.

    Returns:
        Mean over the images, shape (): 1 if every region is read equally often, 0 if all read the same one.
    """
    share = in_degree(index)
    share = share / share.sum(-1, keepdim=True)
    entropy: Tensor = torch.special.entr(share).sum(-1).mean()
    return entropy / math.log(share.shape[-1])


def never_chosen(index: Tensor) -> Tensor:
    """Share of the regions that no region reads, with any head.

    Args:
        index: Routed regions (N, G, R, k).

    Returns:
        Mean over the images, shape (), 0 to 1.
    """
    return (in_degree(index) == 0).float().mean()


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Share of choices in common.

    Args:
        first: Routed regions (..., R, k).
        second: Routed regions of the same shape.

    Returns:
        Mean of |A and B| / k over all pairs of rows, shape (): 1 if the same regions are read, in whatever order.
    """
    return (chosen(first) & chosen(second)).float().sum(-1).mean() / first.shape[-1]


def neighbour_overlap(index: Tensor, grid: RegionGrid) -> Tensor:
    """Share of choices in common between horizontally and vertically adjacent regions.

    Args:
        index: Routed regions (N, G, R, k) of at least two regions.
        grid: How the map is cut.

    Returns:
        Mean of |A and B| / k over all pairs of neighbours, images and heads, shape ().
    """
    mask = chosen(index)
    mask = mask.view(*mask.shape[:2], grid.rows, grid.columns, grid.count)
    beside = (mask[:, :, :, 1:] & mask[:, :, :, :-1]).sum(-1).flatten()
    below = (mask[:, :, 1:] & mask[:, :, :-1]).sum(-1).flatten()
    return torch.cat([beside, below]).float().mean() / index.shape[-1]


def routing_statistics(index: Tensor, grid: RegionGrid, previous: Tensor | None = None) -> dict[str, float]:
    """All statistics of one block by name, as the callback logs them.

    Args:
        index: Routed regions (N, G, R, k).
        grid: How the map is cut.
        previous: Routed regions of the same images at an earlier time, in the same shape; None leaves
            ``epoch_overlap`` out.

    Returns:
        ``indegree_entropy``, ``never_chosen``, ``neighbour_overlap`` and, with ``previous``, ``epoch_overlap``;
        nothing for a map of a single region, where there is nothing to choose.
    """
    if grid.count < 2:
        return {}
    found = {
        "indegree_entropy": indegree_entropy(index),
        "never_chosen": never_chosen(index),
        "neighbour_overlap": neighbour_overlap(index, grid),
    }
    if previous is not None:
        found["epoch_overlap"] = overlap(index, previous)
    return {name: float(value) for name, value in found.items()}
