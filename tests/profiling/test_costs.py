"""Parameters and multiply-adds: against the published figures, by hand, and against a counter of operations."""

import pytest
import torch
from helpers.cells import FACTORS, SIZES, cell
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from biformer_lit import Backbone
from biformer_lit.attention import (
    BiLevelRoutingAttention,
    DeformableAttention,
    DilatedAttention,
    FullAttention,
    StripesAttention,
    WindowAttention,
)
from biformer_lit.errors import ConfigError
from biformer_lit.profiling import count_costs, total_cost
from biformer_lit.profiling.costs import by_part
from biformer_lit.profiling.layers import closed_form_macs

PUBLISHED = {"biformer_tiny": 2.2, "biformer_small": 4.5, "biformer_base": 9.8, "biformer_stl": 4.6}
DIM, HEADS = 24, 3
MAPS = [(12, 12), (12, 20), (7, 11), (13, 9)]


def bra(**settings):
    return BiLevelRoutingAttention(DIM, HEADS, **{"topk": 3, "regions": (4, 3), "backend": "reference", **settings})


ROUTED = {
    "topk": bra(),
    "all": bra(topk="all"),
    "auto": bra(regions="auto", topk=2),
    "per_head": bra(routing_heads="per_head"),
    "max": bra(routing_pool="max"),
    "gradient": bra(routing_gradient=True),
    "released": bra(padding="released"),
    "released_nchw": bra(padding="released_nchw"),
    "random": bra(routing="random"),
    "random_fixed": bra(routing="random_fixed", routing_heads="per_head"),
    "local": bra(routing="local"),
    "local, gradient": bra(routing="local", routing_gradient=True),
    "local, gradient, released": bra(routing="local", routing_gradient=True, padding="released"),
}
GROUPED = {
    "full": FullAttention(DIM, HEADS),
    "window": WindowAttention(DIM, HEADS, window=5),
    "shifted": WindowAttention(DIM, HEADS, window=5, shifted=True),
    "stripes": StripesAttention(DIM, HEADS, stripe_width=2),
    "dilated": DilatedAttention(DIM, HEADS, dilation=3),
}


def ceil(a, b):
    return -(-a // b)


def counted(module, height, width):
    """Multiply-adds of what lies between the projections, as torch's counter of operations sees them."""
    q, k, v = torch.randn(3, 1, height, width, DIM)
    # as two matrix products: older counters do not know the fused attention of CPUs
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        module.attend(q, k, v)
    return counter.get_total_flops() // 2


def pooled(module, height, width):
    """The same of the affinities alone."""
    q, k, _ = torch.randn(3, 1, height, width, DIM)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module._route(q, k)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("size", MAPS)
@pytest.mark.parametrize("name", ROUTED)
def test_what_routing_says_it_costs_is_what_the_operations_take(name, size):
    module = ROUTED[name]
    inside = module.padded_map(*size)  # where the input is padded, attention sees the larger map
    cost = module.cost(*size)
    assert cost.routing == pooled(module, *inside)
    assert cost.routing + cost.attention == counted(module, *inside)
    assert (cost.routing == 0) == (name in ("random", "random_fixed", "local"))


@pytest.mark.parametrize("size", MAPS)
@pytest.mark.parametrize("name", GROUPED)
def test_what_a_pattern_says_it_costs_is_what_the_operations_take(name, size):
    cost = GROUPED[name].cost(*size)
    assert (cost.routing, cost.gathered) == (0, 0)
    assert cost.attention == counted(GROUPED[name], *size)


@pytest.mark.parametrize("size", MAPS)
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 3), (3, 1)])
def test_deformable_adds_the_reading_that_no_counter_sees(stride, groups, size):
    module = DeformableAttention(DIM, HEADS, deform_stride=stride, deform_groups=groups)
    points = ceil(size[0], stride) * ceil(size[1], stride)
    reading = points * 4 * 2 * DIM  # keys and values, each from four tokens
    cost = module.cost(*size)
    assert cost.routing + cost.attention == counted(module, *size) + reading
    assert cost.attention == 2 * size[0] * size[1] * points * DIM
    assert cost.gathered == reading


def test_costs_by_formula():
    height, width = 13, 9  # regions of 4 x 3 tokens, the last row of them overhanging
    cost = bra().cost(height, width)
    assert (cost.routing, cost.attention) == (12**2 * DIM, 2 * 12 * 12 * 3 * 12 * DIM)
    assert cost.gathered == 2 * 12 * 3 * 12 * DIM
    assert bra(padding="released").cost(8, 7) == bra().cost(8, 9)
    assert bra(padding="released_nchw").cost(13, 9).routing == (5 * 3) ** 2 * DIM
    assert GROUPED["window"].cost(12, 20).attention == 2 * (3 * 4) * 25**2 * DIM
    across, down = 7 * (2 * 9) ** 2 * 1, 5 * (2 * 13) ** 2 * 2  # one head along the rows, two along the columns
    assert GROUPED["stripes"].cost(13, 9).attention == 2 * (across + down) * 8
    assert GROUPED["dilated"].cost(13, 9).attention == 2 * 9 * (5 * 3) ** 2 * DIM
    assert GROUPED["full"].cost(13, 9).attention == 2 * (13 * 9) ** 2 * DIM


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FACTORS)
def test_the_closed_form_is_what_a_forward_counts(name, size):
    with torch.device("meta"):
        net = cell(name).build(10)
    assert by_part(net, size, closed_form_macs(net, size)) == count_costs(cell(name), 10, size)


def test_the_closed_form_refuses_what_a_forward_refuses():
    with torch.device("meta"):
        net = Backbone(stem="patch").build(10)
    with pytest.raises(ConfigError, match="stage 4 of a 16x96 image: nothing is left"):
        closed_form_macs(net, (16, 96))


def test_the_closed_form_counts_maps_smaller_than_their_regions_as_a_forward_does():
    with torch.device("meta"):
        net = Backbone().build(10)
    counted = count_costs(Backbone(), 10, (96, 40))
    assert sum(closed_form_macs(net, (96, 40))) == total_cost(counted).macs


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_multiply_adds(name):
    total = total_cost(count_costs(Backbone(name)))
    assert round(total.macs / 1e9, 1) == PUBLISHED[name]


def test_one_stage_by_hand():
    (stem, stage, head) = count_costs(
        Backbone(depths=[1], dims=[32], attention="bra", topk=4, regions=7, lce=5, cpe=3), 10, (56, 56)
    )
    tokens, c, regions, size = 14 * 14, 32, 49, 4
    projections = 4 * tokens * c * c
    mlp = 2 * tokens * c * 3 * c
    convolutions = tokens * c * (9 + 25)
    routing = regions**2 * c
    attention = 2 * tokens * 4 * size * c
    assert (stage.routing, stage.attention) == (routing, attention)
    assert stage.gathered == regions * 4 * size * 2 * c
    assert stage.macs == projections + mlp + convolutions + routing + attention
    assert stem.macs == 28 * 28 * 16 * 27 + 14 * 14 * 32 * 16 * 9
    assert head.macs == 32 * 10


def test_a_stage_of_deformable_attention_by_hand():
    settings = {"depths": [1], "dims": [32], "attention": "deformable", "deform_stride": 2, "lce": 0, "cpe": 0}
    (_, stage, _) = count_costs(Backbone(**settings), 10, (56, 56))
    tokens, c, points = 14 * 14, 32, 7 * 7
    offsets, reading = points * (c * 9 + 2 * c), points * 4 * 2 * c
    assert stage.routing == offsets + reading
    assert stage.macs == tokens * c * c * (4 + 6) + 2 * tokens * points * c + stage.routing


@pytest.mark.parametrize("backend", ["auto", "masked_sdpa"])
def test_the_backend_does_not_change_the_count(backend):
    settings = {"depths": [1], "dims": [32], "attention": "bra", "topk": 2, "regions": 4}
    counts = [count_costs(Backbone(**settings, backend=name), 10, (64, 64)) for name in ("reference", backend)]
    assert counts[0] == counts[1]


def test_full_attention_is_counted_as_another_counter_does():
    backbone = Backbone(depths=[1], dims=[32], attention="full", topk="all")
    net = backbone.build(10).eval()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.randn(1, 3, 56, 56))
    assert total_cost(count_costs(backbone, 10, (56, 56))).macs == counter.get_total_flops() // 2


def test_counting_needs_no_memory_and_no_square():
    costs = count_costs(Backbone("biformer_base"), size=(1344, 800))
    assert total_cost(costs).parameters == 56_804_968
    assert total_cost(costs).macs > 9.8e9 * 20


def test_no_classifier_costs_nothing():
    *_, head = count_costs(Backbone(depths=[1], dims=[32], attention="window"), 0, (56, 56))
    assert (head.macs, head.parameters) == (0, 2 * 32)


def test_an_image_too_small_is_refused():
    with pytest.raises(ConfigError, match="stage 4 of a 16x16 image: nothing is left"):
        count_costs(Backbone(stem="patch"), size=(16, 16))
