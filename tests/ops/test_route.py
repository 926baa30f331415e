"""Which regions are chosen, and what must not change the choice."""

import pytest
import torch

from biformer_lit.ops import (
    RegionGrid,
    affinities,
    optimal_regions,
    partition,
    route,
    route_by_seed,
    route_locally,
    route_randomly,
)
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


@pytest.mark.parametrize(
    ("size", "floor", "rows", "columns", "region"),
    [
        ((6, 9), False, 6, 5, (1, 2)),
        ((6, 9), True, 6, 9, (1, 1)),
        ((1, 1), False, 1, 1, (1, 1)),
        ((2, 70), False, 2, 7, (1, 10)),
        ((3, 100), True, 3, 8, (1, 14)),
    ],
)
def test_a_side_with_fewer_tokens_than_regions_has_a_region_for_each(size, floor, rows, columns, region):
    grid = RegionGrid.from_regions(*size, (7, 7), floor=floor)
    assert (grid.rows, grid.columns, grid.region_height, grid.region_width) == (rows, columns, *region)
    assert grid.count == rows * columns


def test_padding_does_not_count_in_the_maximum():
    grid = RegionGrid.from_regions(5, 5, (2, 2))
    x = torch.full((1, 5, 5, 1), -4.0)
    assert torch.equal(pool_regions(x, grid, "max"), torch.full((1, 4, 1), -4.0))


def test_maximum_is_taken_by_channel():
    grid = RegionGrid.from_regions(8, 8, (4, 4))
    x = torch.randn(2, 8, 8, 6)
    assert torch.equal(pool_regions(x, grid, "max"), partition(x, grid).amax(2))


def test_each_head_chooses_from_its_own_channels():
    grid = RegionGrid.from_regions(8, 8, (4, 4))
    q, k = torch.randn(2, 2, 8, 8, 6, dtype=torch.float64)
    found = route(q, k, grid, 3, heads=2)
    assert found.shape == (2, 2, 16, 3)
    for head, channels in enumerate((slice(0, 3), slice(3, 6))):
        assert torch.equal(found[:, head], route(q[..., channels], k[..., channels], grid, 3))
    torch.testing.assert_close(affinities(q, k, grid, heads=2).sum(1), affinities(q, k, grid))


def distinct(index):
    return all(len(set(row)) == len(row) for row in index.flatten(0, -2).tolist())


def test_random_regions_are_different_ones_and_uniform():
    grid = RegionGrid.from_regions(8, 8, (4, 4))
    torch.manual_seed(0)
    index = route_randomly((400, 2), grid, 4, torch.device("cpu"))
    assert index.shape == (400, 2, 16, 4)
    assert distinct(index)
    share = index.flatten().bincount(minlength=16) / index.numel()
    assert (share - 1 / 16).abs().max() < 0.005
    assert not torch.equal(index, route_randomly((400, 2), grid, 4, torch.device("cpu")))


def test_seeded_regions_are_different_ones_uniform_and_repeatable():
    grid = RegionGrid.from_regions(14, 14, (7, 7))
    chosen = [route_by_seed(torch.tensor(seed), 4, grid, 8) for seed in range(60)]
    assert all(index.shape == (4, 49, 8) and distinct(index) for index in chosen)
    assert torch.equal(chosen[3], route_by_seed(torch.tensor(3), 4, grid, 8))
    everything = torch.stack(chosen)
    share = everything.flatten().bincount(minlength=49) / everything.numel()
    assert (share - 1 / 49).abs().max() < 0.002
    # neither heads, nor regions, nor neighbouring seeds choose alike: 8 of 49 have 8 / 49 in common by chance
    for a, b in (
        (everything[:, 0], everything[:, 1]),
        (everything[:, :, 0], everything[:, :, 1]),
        (everything[:-1], everything[1:]),
    ):
        common = (a[..., :, None] == b[..., None, :]).any(-1).float().mean()
        assert abs(common - 8 / 49) < 0.02


def test_the_nearest_regions():
    grid = RegionGrid.from_regions(8, 12, (4, 3))  # regions of 2 x 4 tokens: rows are nearer than columns
    index = route_locally(grid, 3, torch.device("cpu"))
    assert index[4].tolist() == [4, 1, 7]  # itself, above, below
    assert index[0].tolist() == [0, 3, 1]  # at the corner: itself, below, then right (4 tokens, as two rows below)
    assert route_locally(grid, 12, torch.device("cpu")).sort().values[5].tolist() == list(range(12))


@pytest.mark.parametrize(
    ("height", "width", "topk", "equation", "wanted"),
    # 13.0, 10.3 and 8.2 are the equation's on the maps of a 224 image, 41.4003 on the image itself. Regions of
    # 4 x 4 tokens divide 56, those of 2 x 2 tokens 14, and 45 of 5 tokens fit 224 with one to spare.
    [(56, 56, 1, 13.04, 14), (28, 28, 4, 10.35, 10), (14, 14, 16, 8.21, 7), (224, 224, 4, 41.4003, 45)],
)
def test_the_optimal_number_of_regions(height, width, topk, equation, wanted):
    assert (topk / 2 * (height * width) ** 2) ** (1 / 6) == pytest.approx(equation, abs=0.01)
    assert optimal_regions(height, width, topk) == (wanted, wanted)


@pytest.mark.parametrize(("side", "topk"), [(720, 4), (97, 2), (64, 16), (33, 1), (7, 4)])
def test_no_square_regions_take_fewer_multiply_adds(side, topk):
    def cost(regions):
        grid = RegionGrid.from_regions(side, side, regions)
        return 2 * grid.count**2 + 2 * min(topk, grid.count) * grid.count * grid.tokens**2

    found = optimal_regions(side, side, topk)
    assert cost(found) == min(cost((n, n)) for n in range(1, side + 1))


def test_regions_of_a_long_map_are_square():
    rows, columns = optimal_regions(20, 180, 4)
    assert (rows, columns) == (5, 45)
    assert optimal_regions(1, 400, 1) == (1, 400)
