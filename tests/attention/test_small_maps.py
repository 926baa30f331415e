"""Maps with fewer tokens along a side than regions: sizes vary in dense tasks, and a short side is no error."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from biformer_lit import Backbone
from biformer_lit.attention import BiLevelRoutingAttention, FullAttention, record_routing
from biformer_lit.ops import BACKENDS
from biformer_lit.profiling import count_costs, total_cost
from biformer_lit.routing import routing_statistics

HERE = [name for name in BACKENDS if name != "triton"]  # which takes a GPU
SIZES = [(6, 8), (1, 1), (2, 30), (30, 2), (7, 3), (6, 6)]
BASE = Backbone(depths=[1], dims=[16], head_dim=8, stem_stride=1, attention="bra", topk=4, regions=7)


def bra(**settings):
    torch.manual_seed(0)
    return BiLevelRoutingAttention(16, 2, **{"topk": 4, "scale": "head", **settings}).eval()


def dense_like(module):
    dense = FullAttention(16, 2).eval()
    dense.load_state_dict(module.state_dict())
    return dense


@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_reading_all_regions_is_dense_attention(backend, size):
    module = bra(topk="all", backend=backend)
    x = torch.randn(2, *size, 16)
    torch.testing.assert_close(module(x), dense_like(module)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", ["masked", "released", "released_nchw"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_backends_agree_and_topk_takes_what_there_is(padding, size):
    x = torch.randn(2, *size, 16)
    module = bra(padding=padding, topk=16)
    module.backend = "reference"
    with record_routing(module) as records:
        expected = module(x)
    (record,) = records.values()
    assert record.index.shape[-1] == min(16, record.grid.count)
    for backend in HERE:
        module.backend = backend
        torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_released_padding_pads_to_the_regions(size):
    module = bra(padding="released")
    grid = module.grid(*module.padded_map(*size))
    assert (grid.rows, grid.columns) == (7, 7)
    x = torch.randn(1, *size, 16)
    padded = F.pad(x, (0, 0, 0, -size[1] % 7, 0, -size[0] % 7))
    torch.testing.assert_close(module(x), bra(padding="released")(padded)[:, : size[0], : size[1]])


@pytest.mark.parametrize("routing", ["topk", "random", "random_fixed", "local"])
@pytest.mark.parametrize("heads", ["shared", "per_head"])
def test_every_routing_and_its_statistics(routing, heads):
    module = bra(routing=routing, routing_heads=heads, routing_gradient=True)
    for size in SIZES:
        with record_routing(module) as records:
            assert module(torch.randn(2, *size, 16)).shape == (2, *size, 16)
        (record,) = records.values()
        found = routing_statistics(record.index, record.grid, record.index)
        assert (record.grid.count < 2) == (found == {})
        assert all(0 <= value <= 1 + 1e-6 for value in found.values())
        assert record.token_attention(0, 0, 0).sum((1, 2)).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


@pytest.mark.parametrize("size", [(6, 8), (2, 30)], ids=str)
def test_multiply_adds_are_those_that_are_computed(size):
    """The counter sees the reference compute; the formula knows the grid. Both leave out regions that do not exist."""
    module = BASE.build(0).stages[0].blocks[0].attn
    grid = module.grid(*size)
    cost = module.cost(*size)
    read = min(4, grid.count)
    assert cost.routing == grid.count**2 * 16
    assert cost.attention == 2 * grid.count * read * grid.tokens**2 * 16
    counted = total_cost(count_costs(replace(BASE, lce=0), 3, size))
    without = total_cost(count_costs(replace(BASE, lce=0, attention="bra", topk=1), 3, size))
    assert counted.attention - without.attention == counted.macs - without.macs > 0


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_networks_take_small_maps(dynamic):
    torch.compiler.reset()
    net = BASE.build(3).eval()
    compiled = torch.compile(net, dynamic=dynamic, backend="aot_eager")
    for size in ((14, 14), (9, 8), (3, 12), (6, 6), (2, 2)):
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(compiled(x), net(x), rtol=1e-4, atol=1e-5)
