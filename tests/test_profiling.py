"""The costs that are printed: against the published figures, by hand, and against another counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from biformer_lit import Backbone
from biformer_lit.cli import main
from biformer_lit.errors import ConfigError
from biformer_lit.profiling import count_costs, measure_speed, total_cost

PUBLISHED = {"biformer_tiny": 2.2, "biformer_small": 4.5, "biformer_base": 9.8, "biformer_stl": 4.6}


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


def test_full_attention_is_counted_as_another_counter_does():
    backbone = Backbone(depths=[1], dims=[32], attention="full", topk="all")
    net = backbone.build(10).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.randn(1, 3, 56, 56))
    assert total_cost(count_costs(backbone, 10, (56, 56))).macs == counter.get_total_flops() // 2


def test_counting_needs_no_memory_and_no_square():
    costs = count_costs(Backbone("biformer_base"), size=(1344, 800))
    assert total_cost(costs).parameters == 56_804_968
    assert total_cost(costs).macs > 9.8e9 * 20


def test_speed_is_measured():
    net = Backbone(depths=[1], dims=[32], attention="full", topk="all").build(10)
    speed = measure_speed(net, torch.randn(2, 3, 32, 32), repetitions=3, seconds=0.01)
    assert 0 < speed.slowest <= speed.images_per_second <= speed.fastest
    train = measure_speed(net, torch.randn(2, 3, 32, 32), train=True, repetitions=1, seconds=0.01)
    assert train.images_per_second > 0
    assert all(p.grad is None for p in net.parameters())


def test_the_command_prints_a_table(capsys):
    factors = ["--backbone.regions=[4,4,4,1]", "--backbone.topk=[2,8,16,all]"]
    main(["profile", "--model", "biformer_tiny", *factors, "--size", "[64,96]", "--batch_size=1"])
    out = capsys.readouterr().out
    assert "13,142,760" in out
    assert "images/s (median" in out
    assert "64 x 96" in out


def test_an_image_too_small_is_refused():
    with pytest.raises(ConfigError, match="stage 3 of a 96x96 image"):
        count_costs(Backbone(), size=(96, 96))
