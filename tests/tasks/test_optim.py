"""The optimiser's groups and the schedule."""

import math

import pytest
import timm
import torch

import biformer_lit  # noqa: F401 (registers the models)
from biformer_lit.errors import ConfigError
from biformer_lit.tasks.optim import Optimization, warmup_cosine, warmup_linear


@pytest.fixture
def net():
    return timm.create_model("biformer_tiny", depths=(1, 1, 1, 1), dims=(32, 64, 96, 128), num_classes=3)


def groups_by_name(net, optimizer):
    names = {parameter: name for name, parameter in net.named_parameters()}
    return {names[p]: group for group in optimizer.param_groups for p in group["params"]}


def test_norms_and_biases_do_not_decay(net):
    groups = groups_by_name(net, Optimization(weight_decay=0.05).build(net, 1e-3))
    assert set(groups) == {name for name, _ in net.named_parameters()}
    for name, group in groups.items():
        is_weight = dict(net.named_parameters())[name].ndim > 1
        assert group["weight_decay"] == (0.05 if is_weight else 0.0), name
        assert group["lr"] == 1e-3


def test_layer_decay_shrinks_the_rate_towards_the_input(net):
    groups = groups_by_name(net, Optimization(layer_decay=0.5).build(net, 1.0))
    order = [
        "head.weight",
        "stages.3.blocks.0.attn.qkv.weight",
        "stages.0.blocks.0.attn.qkv.weight",
        "stem.conv1.weight",
    ]
    rates = [groups[name]["lr"] for name in order]
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] / 8


def test_sgd_has_no_weight_decay_of_adamw_s():
    """The trap of class paths: another optimiser must not inherit what belongs to the first."""
    net = torch.nn.Linear(2, 2)
    net.no_weight_decay = set
    optimizer = Optimization(name="sgd", weight_decay=0.0).build(net, 0.1)
    assert isinstance(optimizer, torch.optim.SGD)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0}


def test_muon_takes_the_linear_layers_and_adamw_the_rest(net):
    optimizer = Optimization(name="muon", weight_decay=0.05, layer_decay=0.9).build(net, 1e-3)
    groups = groups_by_name(net, optimizer)
    matrices = {name for name, p in net.named_parameters() if p.ndim == 2 and not name.startswith("head.")}
    assert {name for name, group in groups.items() if not group["use_fallback"]} == matrices
    assert {groups[name]["weight_decay"] for name in matrices} == {0.05}
    assert groups["stages.0.blocks.0.attn.qkv.bias"]["weight_decay"] == 0.0
    assert groups["head.weight"]["lr"] == 1e-3 > groups["stages.0.blocks.0.attn.qkv.weight"]["lr"]


def test_a_step_of_muon_is_orthogonal():
    """The singular values of an update are of about one size, whatever those of the gradient."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 8, bias=False), torch.nn.Linear(8, 8))
    net.no_weight_decay, net.get_classifier = set, lambda: net[1]
    before = net[0].weight.detach().clone()
    optimizer = Optimization(name="muon", weight_decay=0.0).build(net, 0.1)
    net(torch.randn(64, 8)).square().sum().backward()
    optimizer.step()
    update, gradient = (torch.linalg.svdvals(x) for x in (net[0].weight.detach() - before, net[0].weight.grad))
    assert gradient[0] > 5 * gradient[5]
    assert update[0] < 2 * update[5]


def test_the_rate_scales_with_the_global_batch():
    assert Optimization().scaled_lr(1024) == 1e-3  # as published: 5e-4 * 1024 / 512
    assert Optimization(lr=2e-3, lr_batch=0).scaled_lr(1024) == 2e-3


def test_schedule_by_hand():
    factor = warmup_cosine(start=0.1, end=0.01, total_steps=100, warmup_steps=10)
    assert factor(0) == 0.1
    assert factor(5) == pytest.approx(0.55)
    assert factor(10) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi * 0.1)) / 2)
    assert factor(50) == pytest.approx(0.505)
    assert factor(100) == pytest.approx(0.01)
    assert factor(1000) == pytest.approx(0.01)
    assert warmup_cosine(0.1, 0.01, 100, 0)(0) == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", 0), ("lr", float("nan")), ("lr_batch", -1), ("weight_decay", -0.1), ("betas", (0.9, 1.0)),
        ("layer_decay", 0), ("layer_decay", 1.5), ("warmup_epochs", -1), ("warmup_lr", -1), ("min_lr", -1),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(field, value):
    with pytest.raises(ConfigError, match=rf"optim\.{field}=.* must be"):
        Optimization(**{field: value})


def test_unknown_name_is_refused():
    with pytest.raises(ConfigError, match=r"optim.name='adam' is unknown; use 'adamw', 'sgd' or 'muon'"):
        Optimization(name="adam")


def test_the_linear_schedule_by_hand():
    factor = warmup_linear(start=0.1, end=0.0, total_steps=100, warmup_steps=10)
    assert factor(0) == 0.1
    assert factor(5) == pytest.approx(0.55)
    assert factor(10) == pytest.approx(0.9)
    assert factor(75) == pytest.approx(0.25)
    assert factor(100) == factor(200) == 0.0


def test_unknown_schedule_is_refused():
    with pytest.raises(ConfigError, match=r"optim.schedule='poly' is unknown; use 'cosine', 'linear' or 'step'"):
        Optimization(schedule="poly")
    with pytest.raises(ConfigError, match=r"optim\.warmup_steps=-1 must be at least 0, or null"):
        Optimization(warmup_steps=-1)
