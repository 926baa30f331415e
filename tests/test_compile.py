"""Compilation: whole graphs, as few of them as promised, and the same numbers under everything else."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from biformer_lit import Backbone

BASE = Backbone(depths=[1, 1], dims=[32, 64], head_dim=16, attention="bra", topk=2, regions=[3, 4])
KINDS = {
    "auto": {},
    "reference": {"backend": "reference"},
    "gather_sdpa": {"backend": "gather_sdpa"},
    "gather_matmul": {"backend": "gather_matmul"},
    "masked_sdpa": {"backend": "masked_sdpa"},
    "random": {"routing": "random", "routing_heads": "per_head"},
    "random_fixed": {"routing": "random_fixed", "routing_gradient": True},
    "local": {"routing": "local", "routing_pool": "max"},
    "per_head": {"routing_heads": "per_head", "routing_gradient": True},
    "auto_regions": {"regions": "auto"},
    "all": {"topk": "all", "routing_gradient": True},
    "released": {"padding": "released"},
    "released_nchw": {"padding": "released_nchw"},
    "full": {"attention": "full"},
    "window": {"attention": "window", "window": 3},
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


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_is_eager(kind):
    """Whole graphs, with the backward, on a map that nothing divides."""
    torch.manual_seed(0)
    net = replace(BASE, **KINDS[kind]).build(3).train()
    x = torch.randn(2, 3, 53, 70)
    check_equal(net, torch.compile(net, fullgraph=True, backend="aot_eager"), x)


def check_equal(net, compiled_net, x):
    """The output and all gradients."""
    results = []
    for function in (net.forward, compiled_net):
        torch.manual_seed(5)
        net.zero_grad()
        out = function(x)
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad.clone() for p in net.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


# maps of 14 x 22, 16 x 26 and 20 x 28 tokens, which 3 does not divide along either side, and of 12 x 24 and 18 x 30
OVERHANGING = [(2, 56, 88), (3, 64, 104), (4, 80, 112)]
DIVIDED = [(2, 48, 96), (5, 72, 120)]


CORE = ("gather_sdpa", "masked_sdpa", "window")
REST = [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind not in (*CORE, "auto_regions")]


@pytest.mark.parametrize("kind", [*CORE, *REST])
def test_image_sizes_can_be_dynamic(kind):
    """One graph for the maps that regions overhang and one for those that they divide, whatever the size."""
    torch.manual_seed(0)
    net = replace(BASE, depths=[1], dims=[32], regions=3, **KINDS[kind]).build(3).train()
    counter = CompileCounterWithBackend("eager")
    net.compile(fullgraph=True, dynamic=True, backend=counter)
    for sizes in (OVERHANGING, DIVIDED):
        before = counter.frame_count
        for size in sizes:
            check_equal(net, net, torch.randn(size[0], 3, *size[1:]))
        assert counter.frame_count <= before + 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", CORE)
def test_the_backward_is_as_dynamic(kind):
    """The compiler of the backward adds guards of its own, here on two blocks of two stages."""
    torch.manual_seed(0)
    net = replace(BASE, regions=3, **KINDS[kind]).build(3).train()
    counter = CompileCounterWithBackend("aot_eager")
    net.compile(fullgraph=True, dynamic=True, backend=counter)
    counts = []
    for size in OVERHANGING:
        check_equal(net, net, torch.randn(size[0], 3, *size[1:]))
        counts.append(counter.frame_count)
    assert counts[0] == counts[-1]


@pytest.mark.slow
def test_regions_chosen_by_size_are_compiled_by_size():
    net, counter = compiled(KINDS["auto_regions"], dynamic=True)
    for count, (height, width) in enumerate(((48, 70), (64, 96)), 1):
        check_equal(net, net, torch.randn(2, 3, height, width))
        assert counter.frame_count == count


def test_names_in_checkpoints_stay():
    net, _ = compiled({})
    assert set(net.state_dict()) == set(replace(BASE, depths=[2, 1]).build(3).state_dict())


@pytest.mark.parametrize("kind", CORE)
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
