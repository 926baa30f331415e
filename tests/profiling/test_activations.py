"""Activation memory counted without computing: against real forwards, and by hand."""

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from helpers.cells import FACTORS, SIZES, cell
from torch import nn

from biformer_lit import Backbone
from biformer_lit.profiling import activation_memory, saved_bytes

FLOAT = 4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FACTORS)
def test_it_is_what_a_real_forward_saves(name, size):
    backbone = cell(name)
    real = saved_bytes(backbone.build(10).train(), torch.randn(1, backbone.in_chans, *size))
    assert activation_memory(backbone, 10, size) == real


@pytest.mark.parametrize("backend", ["reference", "gather_sdpa", "masked_sdpa"])
def test_it_is_that_of_the_backend_that_runs(backend):
    backbone = replace(cell("released"), backend=backend)
    real = saved_bytes(backbone.build(10).train(), torch.randn(1, 3, 72, 100))
    assert activation_memory(backbone, 10, (72, 100)) == real
    assert real != activation_memory(cell("released"), 10, (72, 100))  # auto takes another one in each stage


class Chain(nn.Sequential):
    """Parts with the names that a BiFormer has."""

    def __init__(self, stem, stage, norm):
        super().__init__(OrderedDict(stem=stem, stages=nn.Sequential(stage), norm=norm))


def test_a_linear_layer_and_a_gelu_by_hand():
    net = Chain(nn.Linear(8, 16), nn.GELU(), nn.Identity())
    # the layer keeps its input for the gradient of its weights, the GELU its own; the weights themselves do not count
    assert saved_bytes(net, torch.randn(5, 8)) == {"stem": 5 * 8 * FLOAT, "stage 1": 5 * 16 * FLOAT, "head": 0}


def test_a_storage_is_counted_once_and_whole():
    class Halves(nn.Module):
        def forward(self, x):
            first, second = x.chunk(2, dim=-1)
            return first.sin() + second.sin() + x.cos()[:, :8]

    net = Chain(nn.Linear(8, 16), Halves(), nn.Tanh())
    # both halves and their whole are one storage; tanh keeps its output
    assert saved_bytes(net, torch.randn(5, 8)) == {
        "stem": 5 * 8 * FLOAT, "stage 1": 5 * 16 * FLOAT, "head": 5 * 8 * FLOAT
    }  # fmt: skip


def test_a_transformer_block_by_hand():
    settings = {"depths": [1], "dims": [32], "attention": "full", "full_heads": 2, "cpe": 0, "lce": 0}
    t, c, heads, hidden = 14 * 14, 32, 2, 3 * 32
    norms = 2 * (t * c + 2 * t)  # input, mean and standard deviation
    # input; queries, keys and values; output, which the projection keeps as well; the softmax's logarithmic sums
    attention = t * c + 3 * t * c + t * c + heads * t
    mlp = t * c + 2 * t * hidden  # input; before and after the GELU
    found = activation_memory(Backbone(**settings), 10, (56, 56))
    assert found["stage 1"] == FLOAT * (norms + attention + mlp)


def test_it_grows_with_the_batch_and_is_the_same_again():
    net = cell("window").build(10).train()
    one, three = (sum(saved_bytes(net, torch.randn(n, 3, 64, 64)).values()) for n in (1, 3))
    assert 2.9 < three / one <= 3
    assert sum(saved_bytes(net, torch.randn(1, 3, 64, 64)).values()) == one


def test_nothing_is_saved_without_gradients():
    with torch.no_grad():
        assert sum(saved_bytes(cell("released").build(10), torch.randn(1, 3, 64, 64)).values()) == 0


def test_large_images_take_no_memory():
    small, large = (sum(activation_memory(Backbone(attention="window"), 10, (s, s)).values()) for s in (224, 2016))
    assert large / small == pytest.approx(81, rel=0.01)
    assert large > 6e9


def test_it_can_be_asked_again_and_leaves_no_mode_behind():
    backbone = cell("random")
    assert activation_memory(backbone, 10, (64, 64)) == activation_memory(backbone, 10, (64, 64))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        activation_memory(backbone, 10, (8, 8))
    assert type(torch.ones(1)) is torch.Tensor
