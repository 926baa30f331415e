"""Compilation: whole graphs, as few of them as promised, and the same numbers under everything else."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from biformer_lit import Backbone

BASE = Backbone(depths=[1, 1], dims=[32, 64], head_dim=16, attention="bra", topk=2, regions=[3, 4])
KINDS = {
    "reference": {"backend": "reference"},
    "gather_sdpa": {"backend": "gather_sdpa"},
    "masked_sdpa": {"backend": "masked_sdpa"},
    "random": {"routing": "random"},
    "random_fixed": {"routing": "random_fixed"},
    "local": {"routing": "local", "routing_pool": "max"},
    "per_head": {"routing_heads": "per_head", "routing_gradient": True},
    "auto_regions": {"regions": "auto"},
    "released": {"padding": "released"},
    "full": {"attention": "full"},
    "window": {"attention": "window"},
    "stripes": {"attention": "stripes", "stripe_width": 3},
    "dilated": {"attention": "dilated", "dilation": 3},
    "deformable": {"attention": "deformable", "deform_stride": 3, "deform_groups": 2},
}


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(settings, **options):
    torch.manual_seed(0)
    net = replace(BASE, depths=[2, 1], **settings).build(3).train()
    counter = CompileCounterWithBackend("eager")
    net.compile(fullgraph=True, backend=counter, **options)
    return net, counter


def step(net, batch, height=48, width=70):
    net(torch.randn(batch, 3, height, width)).square().sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_shape_compiles_once_and_another_batch_once_more(kind):
    net, counter = compiled(KINDS[kind])
    counts = []
    for batch in (2, 2, 3, 5, 7):
        step(net, batch)
        counts.append(counter.frame_count)
    assert counts[:2] == [1, 1]
    assert counts[2:] == [2, 2, 2]


@pytest.mark.parametrize("kind", ["full", "dilated"])
def test_image_sizes_can_be_dynamic(kind):
    """An option: after the shapes met at first, further sizes need no compilation."""
    net, counter = compiled(KINDS[kind], dynamic=True)
    for height, width in ((48, 70), (64, 96), (56, 88)):
        step(net, 2, height, width)
    known = counter.frame_count
    for height, width in ((72, 104), (80, 112), (60, 100)):
        step(net, 2, height, width)
    assert counter.frame_count == known


def test_names_in_checkpoints_stay():
    net, _ = compiled({})
    assert set(net.state_dict()) == set(replace(BASE, depths=[2, 1]).build(3).state_dict())


@pytest.mark.parametrize("kind", ["gather_sdpa", "masked_sdpa", "window"])
def test_with_recomputation_and_mixed_precision(kind):
    """Gradient checkpointing and autocast, compiled and not, give the same loss and gradients."""
    results = []
    for compile_it in (False, True):
        torch.manual_seed(0)
        net = replace(BASE, **KINDS[kind]).build(3).train()
        net.set_grad_checkpointing()
        if compile_it:
            net.compile(fullgraph=True, backend="aot_eager")
        x = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = net(x).square().sum()
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in net.parameters())])
    for a, b in zip(*results, strict=True):
        assert (a - b).norm() <= 2e-2 * b.norm() + 1e-6
