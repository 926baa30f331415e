"""One factor at a time: a cell of an ablation differs from its baseline in the named factor and in nothing else."""

import json
from dataclasses import fields, replace

import pytest
import torch
import yaml

from biformer_lit import Backbone, ClassificationTask, load_weights
from biformer_lit.cli import main
from biformer_lit.profiling import count_costs, total_cost

DIMS, DEPTHS = [32, 64, 96, 128], [2, 1, 1, 1]
BASE = Backbone(depths=DEPTHS, dims=DIMS, head_dim=16, regions=4, topk=[1, 2, 4, "all"])
SIZE = (128, 96)
LINEAR = ("proj.weight", "fc1.weight", "fc2.weight", "qkv.weight")


def blocks(values):
    """The sum over all blocks of a number for each stage."""
    return sum(depth * value for depth, value in zip(DEPTHS, values, strict=True))


FOUR = blocks([4 * c for c in DIMS])
LCE = [c * 25 + c for c in DIMS]
CPE = [c * 9 + c for c in DIMS]
# Full attention of the last stage has no bias in its projection, as released; the other patterns have one.
BIAS = 3 * DIMS[3]


def offsets(strides, groups=1):
    """Parameters of the offset networks of deformable attention."""
    widths = [(c // groups, stride + 1 - stride % 2) for c, stride in zip(DIMS, strides, strict=True)]
    return blocks([c * k * k + c + 2 * c + 2 * c for c, k in widths])


# field, value, change of the number of parameters, change of the multiply-adds (-1 fewer, 0 none, 1 more)
CELLS = [
    ("topk", 4, 0, 1),
    ("topk", [1, 1, 1, "all"], 0, -1),
    ("topk", "all", 0, 1),
    ("regions", 3, 0, 1),
    ("regions", [4, [2, 4], 4, 4], 0, 1),
    ("lce", 0, -sum(d * p for d, p in zip(DEPTHS, LCE, strict=True)), -1),
    ("lce", 3, -blocks([16 * c for c in DIMS]), -1),
    ("lce", [5, 5, 0, 5], -LCE[2], -1),
    ("routing", "random", 0, -1),
    ("routing", "random_fixed", 0, -1),
    ("routing", "local", 0, -1),
    ("routing_pool", "max", 0, 0),
    ("routing_heads", "per_head", 0, 0),
    ("routing_gradient", True, 0, 0),
    ("scale", "head", 0, 0),
    ("padding", "released", 0, 1),
    ("padding", "released_nchw", 0, None),
    ("attention", "full", 0, 1),
    ("attention", "window", BIAS, None),
    ("attention", "stripes", BIAS, None),
    ("attention", "dilated", BIAS, None),
    ("attention", "deformable", BIAS + offsets([8, 4, 2, 1]), None),
    ("attention", ["window", "bra", "dilated", "full"], 0, None),
    ("full_heads", 4, 0, 0),
    ("full_qkv_bias", True, BIAS, 0),
    ("full_lce_input", "value", 0, 0),
    ("backend", "reference", 0, 0),
    ("cpe", 0, -blocks([9 * c + c for c in DIMS]), -1),
    ("mlp_ratio", 4, blocks([2 * c * c + c for c in DIMS]), 1),
    ("head_dim", 32, 0, 0),
    ("stem_stride", 1, 0, 1),
    ("drop_rate", 0.1, 0, 0),
    ("drop_path_rate", 0.1, 0, 0),
    ("depths", [2, 2, 1, 1], None, 1),
    ("dims", [32, 64, 96, 160], None, 1),
    ("stem", "patch", None, None),
    ("in_chans", 1, -9 * 2 * DIMS[0] // 2, -1),
]
# settings of patterns that the baseline has not: what they do shows beside their pattern
OF_PATTERNS = [
    ("window", "window", 4, 0),
    ("window", "shift", False, 0),
    ("stripes", "stripe_width", 2, 0),
    ("dilated", "dilation", 2, 0),
    ("deformable", "deform_stride", 2, offsets([2, 2, 2, 2]) - offsets([8, 4, 2, 1])),
    ("deformable", "deform_groups", 2, offsets([8, 4, 2, 1], 2) - offsets([8, 4, 2, 1])),
    ("deformable", "deform_range", 2.0, 0),
]


def ids(cell):
    return f"{cell[0]}={cell[1]}".replace(" ", "")


def build(backbone):
    torch.manual_seed(0)
    return backbone.build(10).eval()


def macs(backbone):
    return total_cost(count_costs(backbone, 10, SIZE)).macs


def test_every_setting_is_a_cell_here():
    walked = {cell[0] for cell in CELLS} | {cell[1] for cell in OF_PATTERNS}
    assert walked == {field.name for field in fields(Backbone)} - {"name"}


@pytest.mark.parametrize("cell", CELLS, ids=ids)
def test_a_cell_costs_what_is_documented(cell):
    field, value, parameters, change = cell
    changed = replace(BASE, **{field: value})
    counted = sum(p.numel() for p in build(changed).parameters()) - sum(p.numel() for p in build(BASE).parameters())
    if parameters is not None:
        assert counted == parameters
    if change is not None:
        difference = macs(changed) - macs(BASE)
        assert (difference > 0) - (difference < 0) == change, difference


@pytest.mark.parametrize("cell", OF_PATTERNS, ids=lambda cell: f"{cell[0]}-{cell[1]}={cell[2]}")
def test_a_setting_of_a_pattern_costs_what_is_documented(cell):
    pattern, field, value, parameters = cell
    base = replace(BASE, attention=pattern)
    changed = replace(base, **{field: value})
    count = [sum(p.numel() for p in build(backbone).parameters()) for backbone in (changed, base)]
    assert count[0] - count[1] == parameters
    x = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    if (pattern, field) != ("window", "shift"):
        assert not torch.equal(build(changed)(x), build(base)(x))


@pytest.mark.parametrize("cell", CELLS, ids=ids)
def test_common_weights_start_the_same(cell):
    """Also where a factor adds parameters: it shifts nobody else's random numbers."""
    field, value = cell[:2]
    base, changed = (dict(build(backbone).named_parameters()) for backbone in (BASE, replace(BASE, **{field: value})))
    shapes = [{name: p.shape for name, p in weights.items()} for weights in (base, changed)]

    def same(name):  # the layer, not only this parameter of it: the bias of a wider convolution is drawn smaller
        layer = name.rpartition(".")[0] + ".weight"
        return all(shapes[0][key] == shapes[1].get(key) for key in (name, layer))

    common = [name for name in base if same(name)]
    assert len(common) > 40
    for name in common:
        assert torch.equal(base[name], changed[name]), name


@pytest.mark.parametrize("cell", CELLS, ids=ids)
def test_a_task_starts_from_the_same_weights(cell, monkeypatch):
    field, value = cell[:2]
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    weights = []
    for backbone in (BASE, replace(BASE, **{field: value})):
        torch.rand(len(weights) * 5)  # what was drawn before is of no concern
        task = ClassificationTask(backbone, num_classes=10)
        task.configure_model()
        weights.append(dict(task.net.named_parameters()))
    name = "stages.2.blocks.0.attn.proj.weight"
    assert torch.equal(weights[0][name], weights[1][name])


def test_weights_differ_where_they_should():
    """Neither do two layers share their numbers, nor two seeds."""
    net = build(BASE)
    firsts = [p.flatten()[:4] for name, p in net.named_parameters() if name.endswith(LINEAR)]
    assert len({tuple(first.tolist()) for first in firsts}) == len(firsts)
    torch.manual_seed(1)
    assert not torch.equal(BASE.build(10).head.weight, net.head.weight)


def test_the_distribution_is_the_released_one():
    """Linear layers: normal of 0.02 without bias; convolutions: torch's own default."""
    net = build(BASE).requires_grad_(False)
    weight = net.stages[3].blocks[0].mlp.fc1.weight
    assert weight.std() == pytest.approx(0.02, rel=0.02)
    assert not net.stages[3].blocks[0].mlp.fc1.bias.any()
    torch.manual_seed(0)
    for conv in (net.stages[3].downsample.conv, net.stages[3].blocks[0].cpe):
        like = torch.nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, groups=conv.groups)
        for ours, torchs in ((conv.weight, like.weight), (conv.bias, like.bias)):
            assert ours.abs().max() == pytest.approx(float(torchs.detach().abs().max()), rel=0.1)
            assert ours.std() == pytest.approx(float(torchs.detach().std()), rel=0.2)


def flat(settings, prefix=""):
    if not isinstance(settings, dict):
        return {prefix: settings}
    return {k: v for key, value in settings.items() for k, v in flat(value, f"{prefix}.{key}".strip(".")).items()}


def resolved(root, capsys, *more):
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", str(root / "tests/configs/tiny.yaml"), *more, "--print_config"])
    assert end.value.code == 0
    return flat(yaml.safe_load(capsys.readouterr().out))


@pytest.fixture(scope="module")
def shared():
    return {}


@pytest.mark.parametrize(
    "cell", [c[:2] for c in CELLS] + [c[1:3] for c in OF_PATTERNS], ids=lambda c: f"{c[0]}={c[1]}".replace(" ", "")
)
def test_the_config_of_a_cell_differs_in_the_named_key_only(cell, root, capsys, shared):
    field, value = cell
    base = shared.setdefault("base", None) or resolved(root, capsys)
    shared["base"] = base
    key = f"model.init_args.backbone.{field}"
    changed = resolved(
        root, capsys, f"--model.backbone.{field}", value if isinstance(value, str) else json.dumps(value)
    )
    assert base.keys() == changed.keys()
    assert {k for k in base if base[k] != changed[k]} == {key}
    assert changed[key] == value


# -- any combination works, forward and backward, compiled or not, or is refused with the reason -----------------

ROUTED = replace(BASE, depths=[1, 1], dims=[32, 64], attention="bra", topk=2, regions=[3, 4])


@pytest.mark.parametrize("padding", ["masked", "released", "released_nchw"])
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("heads", ["shared", "per_head"])
@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("routing", ["topk", "random", "random_fixed", "local"])
def test_all_combinations_of_routing_train(routing, pool, heads, gradient, padding):
    backbone = replace(
        ROUTED, routing=routing, routing_pool=pool, routing_heads=heads, routing_gradient=gradient, padding=padding
    )
    net = backbone.build(3).train()
    for size in ((64, 64), (53, 90)):
        net.zero_grad()
        net(torch.randn(2, 3, *size)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_the_router_learns_only_where_it_is_asked_to():
    """With two regions read, weighing them moves the gradient of the queries; with one there is nothing to weigh."""
    gradients = {}
    for topk in (1, 2):
        for on in (False, True):
            attention = build(replace(ROUTED, topk=topk, routing_gradient=on)).stages[0].blocks[0].attn.double()
            torch.nn.init.normal_(attention.qkv.weight, generator=torch.Generator().manual_seed(1))
            x = torch.randn(1, 12, 16, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
            attention(x).square().sum().backward()
            gradients[topk, on] = attention.qkv.weight.grad
    torch.testing.assert_close(gradients[1, False], gradients[1, True])
    assert not torch.allclose(gradients[2, False], gradients[2, True])


def test_fixed_random_routing_is_kept_in_the_checkpoint(tmp_path):
    backbone = replace(ROUTED, routing="random_fixed")
    x = torch.randn(1, 3, 48, 64)
    net = build(backbone)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    torch.manual_seed(9)
    other = backbone.build(10).eval()
    assert not torch.equal(other(x), net(x))
    assert load_weights(other, tmp_path / "w.pth").fresh == ()
    assert torch.equal(other(x), net(x))
    assert torch.equal(net(x), net(x))


def test_weights_go_from_one_routing_to_another():
    fixed, routed = build(replace(ROUTED, routing="random_fixed")), build(ROUTED)
    seeds = tuple(f"stages.{i}.blocks.0.attn.routing_seed" for i in range(2))
    assert load_weights(fixed, routed.state_dict()).fresh == seeds
    assert load_weights(routed, fixed.state_dict()).unused == seeds


def test_random_routing_is_drawn_anew():
    net = build(replace(ROUTED, routing="random"))
    x = torch.randn(1, 3, 48, 64)
    assert not torch.equal(net(x), net(x))
