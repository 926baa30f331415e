"""The statistics of routing, by hand."""

import math

import pytest
import torch

from biformer_lit.ops import RegionGrid
from biformer_lit.routing import (
    chosen,
    in_degree,
    indegree_entropy,
    neighbour_overlap,
    never_chosen,
    overlap,
    routing_statistics,
)

GRID = RegionGrid(4, 6, 2, 2)  # 2 x 3 regions


def one_image(*rows):
    """Routed regions (1, 1, R, k)."""
    return torch.tensor(rows)[None, None]


EACH_ITSELF = one_image([0], [1], [2], [3], [4], [5])
HUB = one_image([2], [2], [2], [2], [2], [2])
# 0 1 2
# 3 4 5
MIXED = one_image([0, 1], [1, 0], [1, 2], [0, 3], [4, 5], [1, 2])


def test_chosen_is_a_mask():
    mask = chosen(MIXED)
    assert mask.shape == (1, 1, 6, 6)
    assert mask.sum(-1).eq(2).all()
    assert mask[0, 0, 2].nonzero().flatten().tolist() == [1, 2]


def test_in_degree():
    assert in_degree(HUB).tolist() == [[0, 0, 1, 0, 0, 0]]
    torch.testing.assert_close(in_degree(EACH_ITSELF), torch.full((1, 6), 1 / 6))
    torch.testing.assert_close(in_degree(MIXED) * 6, torch.tensor([[3.0, 4, 2, 1, 1, 1]]))
    assert float(in_degree(MIXED).mean()) == pytest.approx(2 / 6)


def test_in_degree_counts_the_heads():
    both = torch.cat([HUB, EACH_ITSELF], dim=1)
    torch.testing.assert_close(in_degree(both) * 12, torch.tensor([[1.0, 1, 7, 1, 1, 1]]))
    assert float(never_chosen(both)) == 0


def test_entropy_of_a_uniform_routing_a_hub_and_two_halves():
    assert float(indegree_entropy(EACH_ITSELF)) == pytest.approx(1)
    assert float(indegree_entropy(HUB)) == 0
    halves = one_image([0], [0], [1], [1])
    assert float(indegree_entropy(halves)) == pytest.approx(math.log(2) / math.log(4))
    everything = torch.arange(6).expand(2, 1, 6, 6)
    assert float(indegree_entropy(everything)) == pytest.approx(1)
    assert float(indegree_entropy(torch.cat([EACH_ITSELF, HUB]))) == pytest.approx(0.5)


def test_never_chosen_is_a_mean_over_images():
    assert float(never_chosen(HUB)) == pytest.approx(5 / 6)
    assert float(never_chosen(EACH_ITSELF)) == 0
    assert float(never_chosen(torch.cat([HUB, EACH_ITSELF]))) == pytest.approx(5 / 12)


def test_overlap_does_not_look_at_the_order():
    other = one_image([1, 0], [0, 1], [2, 0], [4, 5], [4, 5], [2, 1])
    assert float(overlap(MIXED, other)) == pytest.approx((1 + 1 + 0.5 + 0 + 1 + 1) / 6)
    assert float(overlap(MIXED, MIXED.flip(-1))) == 1
    assert float(overlap(EACH_ITSELF, EACH_ITSELF.roll(1, 2))) == 0


def test_overlap_of_neighbours():
    assert float(neighbour_overlap(HUB, GRID)) == 1
    assert float(neighbour_overlap(EACH_ITSELF, GRID)) == 0
    beside = [2, 1, 0, 0]  # common regions of 0-1, 1-2, 3-4, 4-5
    below = [1, 0, 2]  # of 0-3, 1-4, 2-5
    assert float(neighbour_overlap(MIXED, GRID)) == pytest.approx(sum(beside + below) / 7 / 2)


def test_neighbours_in_a_single_row():
    assert float(neighbour_overlap(one_image([0], [0], [1]), RegionGrid(2, 6, 2, 2))) == pytest.approx(0.5)


def test_all_of_them_by_name():
    first = routing_statistics(MIXED, GRID)
    assert list(first) == ["indegree_entropy", "never_chosen", "neighbour_overlap"]
    again = routing_statistics(MIXED, GRID, HUB.expand(-1, -1, -1, 2) * torch.tensor([1, 0]))
    assert again["epoch_overlap"] == pytest.approx((0.5 + 0.5 + 0.5 + 0.5 + 0 + 0.5) / 6)
    assert all(type(value) is float for value in again.values())


def test_a_single_region_has_nothing_to_say():
    assert routing_statistics(one_image([0]), RegionGrid(2, 2, 2, 2)) == {}
