"""The detectors against torchvision's own, put together as torchvision does."""

import copy
import logging

import pytest
import torch
from shapes import SMALL
from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet

from biformer_lit import Backbone
from biformer_lit.errors import CheckpointError, ConfigError
from biformer_lit.heads import DetectorSettings, SegmenterSettings, build_detector, build_segmenter, load_dense_weights
from biformer_lit.profiling.costs import parameters
from biformer_lit.tasks import Optimization

HEADS = ["retinanet", "faster_rcnn", "mask_rcnn"]
SIZES = [(96, 100), (96, 128)]


def small(head="retinanet", classes=3, backbone=SMALL, timm_backbone=None, **options):
    settings = DetectorSettings(head, **{"channels": 16, "norm": "group", **options})
    torch.manual_seed(0)
    return build_detector(backbone, classes, settings, timm_backbone)


def images():
    return torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))


def targets():
    masks = torch.zeros(2, 96, 100, dtype=torch.uint8)
    masks[0, 12:50, 12:40], masks[1, 40:70, 30:80] = 1, 1
    boxes = torch.tensor([[12.0, 12, 40, 50], [30, 40, 80, 70]])
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    return [
        {"boxes": boxes, "labels": torch.tensor([0, 2]), "masks": masks},
        {**nothing, "masks": torch.zeros(0, 96, 128, dtype=torch.uint8)},
    ]


@pytest.mark.parametrize(
    ("backbone", "head", "millions"),
    [("resnet50", "retinanet", 37.7), ("resnet50", "mask_rcnn", 44.2),
     ("swin_tiny_patch4_window7_224", "retinanet", 38.5), ("swin_tiny_patch4_window7_224", "mask_rcnn", 47.8)],
)  # fmt: skip
def test_parameters_as_published_for_coco(backbone, head, millions):
    """Tables of PVT (https://arxiv.org/abs/2102.12122) and UniFormer (https://arxiv.org/abs/2201.09450)."""
    with torch.device("meta"):
        counted = parameters(build_detector(Backbone(), 80, DetectorSettings(head), backbone))
    frozen = 225_344 if backbone == "resnet50" else 0  # stem and first stage, which are not trained and not counted
    assert (counted - frozen) / 1e6 == pytest.approx(millions, abs=0.06)


class Pyramid(nn.Module):
    """A detector's backbone, norms and pyramid, as torchvision wants a backbone."""

    def __init__(self, net):
        super().__init__()
        self.inner, self.out_channels = [net], 16

    def forward(self, x):
        return self.inner[0].levels(x)


def torchvision_s(net, head):
    """The same detector, assembled by torchvision, with its transform set to change nothing."""
    transform = {"min_size": 96, "max_size": 1000, "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    if head == "retinanet":
        model = RetinaNet(
            Pyramid(net), 3, anchor_generator=net.head.anchor_generator, detections_per_img=100, **transform
        )
        model.head = net.head.head
        return model
    rpn = net.head.rpn
    options = {"rpn_anchor_generator": rpn.anchor_generator, "rpn_head": rpn.head, "rpn_post_nms_top_n_train": 1000}
    for part in ("box_roi_pool", "box_head", "box_predictor"):
        options[part] = getattr(net.head.roi_heads, part)
    if head == "mask_rcnn":
        for part in ("mask_roi_pool", "mask_head", "mask_predictor"):
            options[part] = getattr(net.head.roi_heads, part)
    kind = MaskRCNN if head == "mask_rcnn" else FasterRCNN
    return kind(Pyramid(net), **options, **transform)


@pytest.mark.parametrize("head", HEADS)
def test_losses_are_torchvision_s(head):
    net = small(head)
    reference = torchvision_s(net, head).train()
    shift = int(head != "retinanet")
    theirs = [{**target, "labels": target["labels"] + shift} for target in targets()]
    net.train()
    torch.manual_seed(1)
    wanted = reference([x[:, :h, :w] for x, (h, w) in zip(images(), SIZES, strict=True)], theirs)
    # what is beyond an image is zero for torchvision, and noise in our batch: make them alike
    clean = images()
    clean[0, :, :, 100:] = 0
    torch.manual_seed(1)
    for _ in SIZES:  # its transform draws a size for each image, of which there is one
        torch.empty(1).uniform_()
    ours = net(clean, SIZES, targets())
    assert sorted(x.item() for x in ours.values()) == pytest.approx(sorted(x.item() for x in wanted.values()), rel=1e-5)
    assert sum(ours.values()) > 0.1


@pytest.mark.parametrize("head", HEADS)
def test_objects_are_torchvision_s(head):
    net = small(head, score_threshold=0.05).eval()
    if head == "retinanet":  # or nothing is found: its first scores are 0.01
        nn.init.normal_(net.head.head.classification_head.cls_logits.weight, std=0.5)
    reference = torchvision_s(net, head).eval()
    clean = images()
    clean[0, :, :, 100:] = 0
    with torch.no_grad():
        ours = net(clean, SIZES)
        wanted = reference([x[:, :h, :w] for x, (h, w) in zip(clean, SIZES, strict=True)])
    shift = int(head != "retinanet")
    for found, other, size in zip(ours, wanted, SIZES, strict=True):
        assert len(found["boxes"]) > 5
        assert torch.allclose(found["boxes"], other["boxes"], atol=1e-4)
        assert torch.equal(found["labels"] + shift, other["labels"])
        assert found["labels"].min() >= 0
        assert found["labels"].max() < 3
        assert torch.allclose(found["scores"], other["scores"])
        assert (found["scores"].diff() <= 0).all()
        assert (found["boxes"].max(0).values <= torch.tensor([size[1], size[0]] * 2)).all()
        assert ("masks" in found) == (head == "mask_rcnn")


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_learns_also_without_objects(head):
    net = small(head).train()
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    alone = [{**empty, "masks": torch.zeros(0, *size, dtype=torch.uint8)} for size in SIZES]
    for truth in (targets(), alone):
        net.zero_grad()
        losses = net(images(), SIZES, truth)
        assert all(torch.isfinite(x) for x in losses.values())
        sum(losses.values()).backward()
        assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("head", HEADS)
def test_half_precision_gives_nearly_the_same_losses_in_float32(head):
    net = small(head).train()
    results = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses = net(images(), SIZES, targets())
        assert {x.dtype for x in losses.values()} == {torch.float32}
        results.append(float(sum(losses.values()).detach()))
    assert results[0] == pytest.approx(results[1], rel=0.02)


def test_levels_and_anchors_of_retinanet_as_published():
    net = build_detector(Backbone(), 80, DetectorSettings(), "resnet18")
    with torch.no_grad():
        levels = net.levels(torch.zeros(1, 3, 128, 160))
    assert [tuple(x.shape[1:]) for x in levels.values()] == [
        (256, 16, 20), (256, 8, 10), (256, 4, 5), (256, 2, 3), (256, 1, 2),
    ]  # fmt: skip
    assert [round(sizes[0]) for sizes in net.head.anchor_generator.sizes] == [32, 64, 128, 256, 512]
    assert net.head.anchor_generator.num_anchors_per_location() == [9] * 5
    assert not net.pyramid.extra_blocks.use_P5


def test_levels_and_anchors_of_mask_rcnn_as_published():
    net = build_detector(Backbone(), 80, DetectorSettings("mask_rcnn"), "resnet18")
    with torch.no_grad():
        levels = net.levels(torch.zeros(1, 3, 128, 160))
    assert [x.shape[-1] for x in levels.values()] == [40, 20, 10, 5, 3]
    assert [sizes[0] for sizes in net.head.rpn.anchor_generator.sizes] == [32, 64, 128, 256, 512]
    heads = net.head.roi_heads
    assert (heads.box_head.fc7.out_features, heads.detections_per_img, heads.score_thresh) == (1024, 100, 0.05)


def test_scale_of_the_anchors():
    net = small(anchor_scale=6)
    assert [round(sizes[0]) for sizes in net.head.anchor_generator.sizes] == [24, 48, 96, 192, 384]


def test_images_of_any_size_are_padded_by_the_network():
    net = small("faster_rcnn").eval()
    odd = torch.randn(1, 3, 75, 90)
    padded = torch.zeros(1, 3, 80, 96)
    padded[:, :, :75, :90] = odd
    with torch.no_grad():
        found, wanted = net(odd, [(75, 90)])[0], net(padded, [(75, 90)])[0]
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_frozen_norms_stay_as_they_are_and_others_do_not():
    for frozen in (True, False):
        net = small(frozen_batch_norm=frozen).train()
        norms = [m for m in net.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
        before = [m.running_mean.clone() for m in norms]
        net(images(), SIZES, targets())
        assert norms
        assert all(torch.equal(m.running_mean, x) == frozen for m, x in zip(norms, before, strict=True))
        assert all(m.weight.requires_grad for m in norms)


def test_heads_do_not_depend_on_the_backbone_s_draws():
    plain = small()
    deeper = small(backbone=Backbone(**{**vars(SMALL), "depths": [1, 1, 2, 1]}))
    for name, value in plain.head.state_dict().items():
        assert torch.equal(value, deeper.head.state_dict()[name])


def test_compiling_changes_nothing_and_copies_are_not_compiled():
    net = small("retinanet").eval()
    with torch.no_grad():
        wanted = net.levels(images())
        net.compile(backend="eager", fullgraph=True)
        found = net._compiled(images())
        assert all(torch.allclose(found[key], wanted[key], atol=1e-6) for key in wanted)
        assert copy.deepcopy(net)._compiled is None


def test_weights_of_a_classifier(tmp_path, caplog):
    classifier = SMALL.build(10)
    torch.save({"model": classifier.state_dict()}, tmp_path / "a.pth")
    net = small()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        report = load_dense_weights(net, tmp_path / "a.pth")
    assert set(report.unused) == {"head.weight", "head.bias", "norm.weight", "norm.bias"} or all(
        key.startswith(("backbone.head", "backbone.norm")) for key in report.unused
    )
    for key, value in net.state_dict().items():
        same = classifier.state_dict() if key.startswith("backbone.") else before
        assert torch.equal(value, same[key.removeprefix("backbone.")] if same is not before else before[key])
    assert "head, norms, pyramid: fresh there" in caplog.text


@pytest.mark.parametrize("head", HEADS)
def test_weights_of_a_detector_for_other_classes_keep_all_but_the_last_layers(head, tmp_path):
    source, target = small(head), small(head, classes=7)
    torch.save({"state_dict": {f"net.{k}": v + 1 for k, v in source.state_dict().items()}}, tmp_path / "a.ckpt")
    report = load_dense_weights(target, tmp_path / "a.ckpt")
    last = tuple(name for names in target.head_parts.values() for name in names)
    assert report.fresh
    assert all(key.startswith(last) for key in report.fresh)
    for key, value in target.state_dict().items():
        if key not in report.fresh:
            assert torch.equal(value, source.state_dict()[key] + 1)


def test_weights_of_another_head_leave_it_fresh(tmp_path):
    source, target = small("faster_rcnn"), small("mask_rcnn")
    torch.save({"state_dict": {f"net.{k}": v for k, v in source.state_dict().items()}}, tmp_path / "a.ckpt")
    report = load_dense_weights(target, tmp_path / "a.ckpt")
    assert all(key.startswith("head.roi_heads.") for key in report.fresh)
    assert torch.equal(target.head.rpn.head.cls_logits.weight, source.head.rpn.head.cls_logits.weight)


def test_a_segmentation_network_gives_its_backbone_and_norms(tmp_path):
    source = build_segmenter(SMALL, 5, SegmenterSettings(channels=16))
    target = small("mask_rcnn")
    torch.save({"state_dict": {f"net.{k}": v + 1 for k, v in source.state_dict().items()}}, tmp_path / "a.ckpt")
    load_dense_weights(target, tmp_path / "a.ckpt")
    assert torch.equal(target.norms["0"].weight, source.norms["0"].weight + 1)
    with pytest.raises(CheckpointError, match="use the settings of the model that they are from"):
        load_dense_weights(small(backbone=Backbone(**{**vars(SMALL), "dims": [16, 16, 32, 48]})), tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"head": "yolo"}, r"head='yolo' is unknown; use 'retinanet', 'faster_rcnn' or 'mask_rcnn'"),
        ({"norm": "batch"}, r"head_norm='batch' is unknown; use 'none' or 'group'"),
        ({"channels": 1}, r"head_channels=1 must be at least 2"),
        ({"anchor_scale": 0.0}, r"anchor_scale=0.0 must be above 0, or null"),
        ({"score_threshold": 1.0}, r"score_threshold=1.0 must be at least 0 and below 1"),
        ({"nms_threshold": 0.0}, r"nms_threshold=0.0 must be above 0 and at most 1"),
        ({"detections_per_image": 0}, r"detections_per_image=0 must be at least 1"),
    ],
)
def test_settings_that_cannot_work(options, words):
    with pytest.raises(ConfigError, match=words):
        DetectorSettings(**options)


def test_a_backbone_of_one_stage_is_refused():
    backbone = Backbone(depths=[1], dims=[16], head_dim=16, attention=["full"], topk=["all"], full_heads=2)
    with pytest.raises(ConfigError, match="needs two or more stages whose strides double, but they are 4"):
        build_detector(backbone, 3)


def test_timm_s_contract():
    net = small("mask_rcnn")
    exempt = net.no_weight_decay()
    assert {name for name, p in net.named_parameters() if p.ndim <= 1} <= exempt
    assert "head.roi_heads.box_predictor.bbox_pred.weight" not in exempt
    last = {id(p) for p in net.get_classifier().parameters()}
    assert id(net.head.roi_heads.box_predictor.cls_score.weight) in last
    assert id(net.head.roi_heads.mask_predictor.mask_fcn_logits.weight) in last
    assert id(net.head.roi_heads.box_head.fc6.weight) not in last
    net.set_grad_checkpointing()


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "window", "window": 4},
        {"attention": "stripes", "stripe_width": 2, "head_dim": 8},
        {"attention": "dilated", "dilation": 2},
        {"attention": "deformable", "deform_stride": 2, "full_heads": None},
        {"attention": "full"},
        {"regions": "auto"},
        {"routing": "random"},
        {"padding": "released"},
        {"lce": 0},
    ],
)
def test_factors_and_rival_patterns_on_maps_of_any_size(options):
    backbone = Backbone(**{**vars(SMALL), **options})
    net = small(backbone=backbone).train()
    losses = net(torch.randn(1, 3, 75, 90), [(75, 90)], [{**targets()[0], "boxes": targets()[0]["boxes"] / 2}])
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_layer_wise_decay_slows_the_backbone_and_not_the_heads():
    net = small("mask_rcnn")
    optimizer = Optimization(lr=1.0, lr_batch=0, layer_decay=0.5).build(net, 1.0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in net.named_parameters()}
    assert {rate for name, rate in named.items() if not name.startswith("backbone.")} == {1.0}
    blocks = [named[f"backbone.stages.{i}.blocks.0.mlp.fc1.weight"] for i in range(4)]
    assert blocks == sorted(blocks)
    assert named["backbone.stem.conv1.weight"] < blocks[0] < 0.2
