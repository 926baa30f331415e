"""Which regions are chosen, and what must not change the choice."""

import pytest
import torch

from biformer_lit.errors import ConfigError
from biformer_lit.ops import RegionGrid, partition, route
from biformer_lit.ops.route import pool_regions


def test_the_most_affine_regions_are_chosen():
    grid = RegionGrid.from_regions(8, 8, (4, 4))
    q, k = torch.randn(2, 2, 8, 8, 6, dtype=torch.float64)
    affinity = torch.einsum("nrc,nsc->nrs", partition(q, grid).mean(2), partition(k, grid).mean(2))
    wanted = affinity.argsort(dim=-1, descending=True)[..., :3]
    assert torch.equal(route(q, k, grid, 3), wanted)


def test_padding_does_not_count_in_the_mean():
    grid = RegionGrid.from_regions(5, 5, (2, 2))
    x = torch.full((1, 5, 5, 1), 4.0)
    assert torch.equal(pool_regions(x, grid), torch.full((1, 4, 1), 4.0))


def test_no_gradient_flows_through_the_choice():
    q = torch.randn(1, 4, 4, 2, requires_grad=True)
    assert not route(q, q, RegionGrid.from_regions(4, 4, (2, 2)), 1).requires_grad


def test_autocast_does_not_change_the_choice():
    grid = RegionGrid.from_regions(28, 28, (7, 7))
    torch.manual_seed(0)
    q, k = torch.randn(2, 4, 28, 28, 32)
    plain = route(q, k, grid, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(route(q, k, grid, 4), plain)
        rough = route(q.bfloat16(), k.bfloat16(), grid, 4)
    # inputs that are themselves bfloat16 differ by their rounding, not by the routing's arithmetic
    assert torch.equal(rough, route(q.bfloat16().double(), k.bfloat16().double(), grid, 4))


def test_no_more_regions_than_there_are():
    grid = RegionGrid.from_regions(8, 8, (7, 7))
    q = torch.randn(1, 8, 8, 2)
    assert grid.count == 16
    assert route(q, q, grid, 49).shape == (1, 16, 16)


def test_more_regions_than_tokens_is_refused():
    with pytest.raises(
        ConfigError, match=r"regions=7 is more than the 6 rows of its 6x9 map; set regions to at most 6"
    ):
        RegionGrid.from_regions(6, 9, (7, 7))
