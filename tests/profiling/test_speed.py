"""Speed as measured here."""

import torch

from biformer_lit import Backbone
from biformer_lit.profiling import measure_speed


def test_speed_is_measured():
    net = Backbone(depths=[1], dims=[32], attention="full", topk="all").build(10)
    speed = measure_speed(net, torch.randn(2, 3, 32, 32), repetitions=3, seconds=0.01)
    assert 0 < speed.slowest <= speed.images_per_second <= speed.fastest
    train = measure_speed(net, torch.randn(2, 3, 32, 32), train=True, repetitions=1, seconds=0.01)
    assert train.images_per_second > 0
    assert all(p.grad is None for p in net.parameters())
