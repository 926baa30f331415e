"""The heads against their published descriptions, and the network around them."""

import logging

import pytest
import torch
import torch.nn.functional as F
from shapes import SMALL

import biformer_lit
from biformer_lit import Backbone
from biformer_lit.errors import CheckpointError, ConfigError
from biformer_lit.heads import (
    FCN,
    SegmenterSettings,
    SemanticFPN,
    UPerNet,
    build_segmenter,
    load_dense_weights,
)
from biformer_lit.heads.head_layers import build_norm
from biformer_lit.profiling.costs import parameters
from biformer_lit.tasks import Optimization

HEADS = ["semantic_fpn", "upernet"]


def small(head="semantic_fpn", classes=5, backbone=SMALL, timm_backbone=None, **options):
    settings = SegmenterSettings(head, **{"channels": 16, "norm": "group", **options})
    return build_segmenter(backbone, classes, settings, timm_backbone)


def maps(*channels, side=16):
    return [torch.randn(2, c, side // 2**i, side // 2**i) for i, c in enumerate(channels)]


@pytest.mark.parametrize(
    ("name", "head", "millions"),
    [("resnet50", "semantic_fpn", 28.5), ("swin_tiny_patch4_window7_224", "semantic_fpn", 31.9),
     ("swin_tiny_patch4_window7_224", "upernet", 59.9)],
)  # fmt: skip
def test_parameters_as_published_for_ade20k(name, head, millions):
    """Tables of PVT (https://arxiv.org/abs/2102.12122) and UniFormer (https://arxiv.org/abs/2201.09450)."""
    with torch.device("meta"):
        counted = parameters(build_segmenter(Backbone(), 150, SegmenterSettings(head), name))
    assert counted / 1e6 == pytest.approx(millions, abs=0.06)


def test_semantic_fpn_by_hand():
    head = SemanticFPN((4, 6, 8), 3, channels=10, norm="group").eval()
    x = maps(4, 6, 8)
    with torch.no_grad():
        coarse = head.lateral[2](x[2])
        middle = head.lateral[1](x[1]) + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
        fine = head.lateral[0](x[0]) + middle.repeat_interleave(2, 2).repeat_interleave(2, 3)

        def up(x):
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

        total = head.branches[0][0](head.output[0](fine))
        total = total + up(head.branches[1][0](head.output[1](middle)))
        total = total + up(head.branches[2][1](up(head.branches[2][0](head.output[2](coarse)))))
        torch.testing.assert_close(head(x), head.classifier[1](total))
    assert [len(branch) for branch in head.branches] == [1, 1, 2]
    assert head.branches[2][0][0].out_channels == head.classifier[1].in_channels == 5


def test_upernet_by_hand():
    head = UPerNet((4, 6, 8, 10), 3, channels=8, norm="batch").eval()
    x = maps(4, 6, 8, 10, side=64)

    def to(x, like):
        return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)

    with torch.no_grad():
        pooled = [
            to(layer(F.adaptive_avg_pool2d(x[3], side)), x[3])
            for layer, side in zip(head.pooling.projections, (1, 2, 3, 6), strict=True)
        ]
        levels = [None, None, None, head.pooling.fuse(torch.cat([x[3], *pooled], 1))]
        for i in (2, 1, 0):
            levels[i] = head.lateral[i](x[i]) + to(levels[i + 1], x[i])
        smooth = [*(head.output[i](levels[i]) for i in range(3)), levels[3]]
        fused = head.fuse(torch.cat([to(level, x[0]) for level in smooth], 1))
        torch.testing.assert_close(head(x), head.classifier[1](fused))


def test_the_auxiliary_head_is_one_convolution_and_a_classifier():
    head = FCN(6, 3, channels=4).eval()
    assert [tuple(p.shape) for p in head.parameters() if p.ndim == 4] == [(4, 6, 3, 3), (3, 4, 1, 1)]
    net = small("upernet")
    assert net.auxiliary.body[0].in_channels == SMALL.dims[2]


@pytest.mark.parametrize("channels", [1, 2, 6, 30, 128, 512])
def test_groups_fit_the_channels(channels):
    norm = build_norm("group", channels)
    assert channels % norm.num_groups == 0
    assert norm.num_groups <= 32


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("timm_backbone", [None, "resnet18", "convnext_atto"])
def test_odd_sizes_and_gradients_everywhere(head, timm_backbone):
    """A parameter without a gradient would stop data-parallel training."""
    net = small(head, timm_backbone=timm_backbone).train()
    logits, auxiliary = net(torch.randn(2, 3, 49, 71), with_auxiliary=True)
    assert logits.shape == (2, 5, 49, 71)
    loss = logits.square().mean()
    if head == "upernet":
        assert auxiliary.shape == logits.shape
        loss = loss + auxiliary.square().mean()
    else:
        assert auxiliary is None
    loss.backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_what_lies_beyond_an_image_is_padded_with_zeros():
    net = small().eval()
    image = torch.randn(1, 3, 40, 52)
    with torch.no_grad():
        torch.testing.assert_close(net(image), net(F.pad(image, (0, 12, 0, 8)))[..., :40, :52])


def test_the_added_norms_are_over_the_channels_of_each_stage():
    net = small().eval()
    seen = {}
    net.head.register_forward_pre_hook(lambda _, args: seen.update(maps=args[0]))
    with torch.no_grad():
        net(torch.randn(2, 3, 64, 64))
        raw = net.backbone.forward_intermediates(torch.zeros(1, 3, 64, 64), intermediates_only=True)
    assert [x.shape[1:] for x in seen["maps"]] == [x.shape[1:] for x in raw]
    for x in seen["maps"]:
        torch.testing.assert_close(x.mean(1), torch.zeros_like(x[:, 0]), atol=1e-5, rtol=0)
    by_hand = F.layer_norm(raw[1].permute(0, 2, 3, 1), (16,), eps=1e-6).permute(0, 3, 1, 2)
    torch.testing.assert_close(net.norms["1"](raw[1]), by_hand)


def test_nothing_of_the_classifier_is_left():
    names = [name for name, _ in small().named_parameters()]
    assert not any(name.startswith(("backbone.head", "backbone.norm")) for name in names)


def test_the_seed_decides_the_weights():
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(small("upernet").state_dict())
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])
    for key in ("backbone.stem.conv1.weight", "head.classifier.1.weight", "auxiliary.body.0.weight"):
        assert not torch.equal(nets[0][key], nets[2][key])
    torch.manual_seed(1)
    other = small("upernet", timm_backbone="resnet18").state_dict()  # heads do not depend on the backbone's numbers
    assert torch.equal(other["head.classifier.1.weight"], nets[0]["head.classifier.1.weight"])


@pytest.mark.parametrize("timm_backbone", [None, "resnet18"])
def test_layer_decay_reaches_the_stem_and_leaves_the_heads(timm_backbone):
    net = small("upernet", timm_backbone=timm_backbone)
    rates = {}
    names = {p: name for name, p in net.named_parameters()}
    for group in Optimization(layer_decay=0.5).build(net, 1.0).param_groups:
        for p in group["params"]:
            rates[names[p]] = group["lr"]
            assert group["weight_decay"] == (0.05 if p.ndim > 1 else 0)
    assert set(rates) == set(names.values())
    assert {rate for name, rate in rates.items() if not name.startswith("backbone.")} == {1.0}
    inside = {name: rate for name, rate in rates.items() if name.startswith("backbone.")}
    first = "backbone.stem.conv1.weight" if timm_backbone is None else "backbone.conv1.weight"
    assert max(inside.values()) == 0.5
    assert inside[first] == min(inside.values()) < 0.05


def test_muon_leaves_the_classifiers_to_adamw():
    net = small("upernet")
    Optimization(name="muon", fused=False).build(net, 1e-3)
    assert len(net.get_classifier()) == 2


@pytest.mark.parametrize("timm_backbone", [None, "resnet18"])
def test_recomputed_activations_change_nothing(timm_backbone):
    torch.manual_seed(0)
    net = small(timm_backbone=timm_backbone)
    image = torch.randn(2, 3, 64, 64)
    gradients = []
    for again in (False, True):
        net.set_grad_checkpointing(again)
        net.zero_grad()
        torch.manual_seed(1)
        net.train()(image).square().mean().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


THREE = Backbone(depths=[1, 1, 1], dims=[16, 16, 32], head_dim=16, stem_stride=2, regions=2, topk=2, attention="bra")


def test_another_number_of_stages():
    assert small(backbone=THREE)(torch.randn(1, 3, 50, 66)).shape == (1, 5, 50, 66)
    with pytest.raises(ConfigError, match=r"head='upernet' needs four stages, but the backbone has 3; use 'semantic_"):
        small("upernet", backbone=THREE)


def test_backbones_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"timm_backbone='vit_tiny_patch16_224' has maps of strides 16, 16, 16; "):
        small(timm_backbone="vit_tiny_patch16_224")
    with pytest.raises(ConfigError, match=r"timm_backbone='nonsense' is unknown"):
        small(timm_backbone="nonsense")


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("head", "fcn", "head"),
        ("channels", 1, "head_channels"),
        ("norm", "layer", "head_norm"),
        ("dropout", 1, "head_dr"),
    ],
)
def test_settings_out_of_range(field, value, name):
    with pytest.raises(ConfigError, match=rf"^{name}.*={value!r}"):
        SegmenterSettings(**{field: value})


# -- weights ---------------------------------------------------------------------------------------------


def test_a_classifier_fills_the_backbone(tmp_path, caplog):
    classifier = SMALL.build(7)
    torch.save({"state_dict": classifier.state_dict()}, tmp_path / "a.pth")
    net = small("upernet")
    before = net.state_dict()["head.fuse.0.weight"].clone()
    with caplog.at_level(logging.WARNING):
        report = load_dense_weights(net, tmp_path / "a.pth")
    after = net.state_dict()
    for key, value in classifier.state_dict().items():
        if not key.startswith(("head.", "norm.")):
            assert torch.equal(after[f"backbone.{key}"], value)
    assert torch.equal(after["head.fuse.0.weight"], before)
    assert {"head.fuse.0.weight", "norms.0.weight", "auxiliary.body.0.weight"} <= set(report.fresh)
    assert set(report.unused) == {f"backbone.{k}" for k in classifier.state_dict() if k.startswith(("head.", "norm."))}
    assert "has no weights that fit auxiliary, head, norms: fresh there" in caplog.text


def test_a_whole_network_comes_back(tmp_path):
    torch.manual_seed(0)
    source, target = small("upernet"), small("upernet")
    torch.save({"state_dict": {f"net.{k}": v for k, v in source.state_dict().items()}}, tmp_path / "a.ckpt")
    report = load_dense_weights(target, tmp_path / "a.ckpt")
    assert (report.fresh, report.unused) == ((), ())
    assert all(torch.equal(v, target.state_dict()[k]) for k, v in source.state_dict().items())
    other = small("upernet", classes=3)
    report = load_dense_weights(other, tmp_path / "a.ckpt")
    assert {key.rpartition(".")[0] for key in report.fresh} == {"head.classifier.1", "auxiliary.classifier.1"}
    assert torch.equal(other.head.fuse[0].weight, source.head.fuse[0].weight)
    fpn = small()
    report = load_dense_weights(fpn, tmp_path / "a.ckpt")
    assert all(key.startswith("head.") for key in report.fresh)
    assert torch.equal(fpn.norms["2"].weight, source.norms["2"].weight)


def test_weights_of_another_backbone_are_refused(tmp_path):
    torch.save(THREE.build(7).state_dict(), tmp_path / "a.pth")
    net = small()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"a.pth: the weights do not fit this model, nothing was loaded"):
        load_dense_weights(net, tmp_path / "a.pth")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_classifier_of_timm_s(tmp_path):
    timm = pytest.importorskip("timm")
    classifier = timm.create_model("resnet18", num_classes=3)
    torch.save(classifier.state_dict(), tmp_path / "a.pth")
    net = small(timm_backbone="resnet18")
    report = load_dense_weights(net, tmp_path / "a.pth")
    assert report.unused == ("backbone.fc.weight", "backbone.fc.bias")
    assert torch.equal(net.backbone.conv1.weight, classifier.conv1.weight)


def test_released_dense_features_reach_the_norms(tmp_path):
    """The oracle of the released dense backbone, through the file and this network."""
    from helpers.released import FIGURES, made_up_input, made_up_weights  # noqa: PLC0415

    figures = next(iter(FIGURES["dense"].values()))
    weights = made_up_weights(FIGURES["manifests"]["biformer_tiny"], 2026)
    torch.save({"model": weights}, tmp_path / "released.pth")
    net = build_segmenter(Backbone(regions=figures["regions"], padding="released"), 4, SegmenterSettings(channels=8))
    load_dense_weights(net, tmp_path / "released.pth")
    with torch.no_grad():
        features = biformer_lit.heads.features.stage_maps(
            net.double().eval().backbone, made_up_input((1, 3, *figures["size"]), 2026)
        )
    for feature, stored in zip(features, figures["stages"], strict=True):
        flat = feature.flatten()
        picked = flat[:: max(1, len(flat) // figures["every"])][: len(stored)]
        wanted = torch.tensor(stored, dtype=torch.float64)
        assert (picked - wanted).norm() / wanted.norm() < 1e-6
