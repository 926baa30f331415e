"""Exported programs: networks of every pattern, backend and task whose batch may have any size."""

from dataclasses import replace

import pytest
import torch
from shapes import SMALL
from test_compile import KINDS
from torch.export import Dim, export

from biformer_lit import Backbone
from biformer_lit.common.seeding import local_seed
from biformer_lit.heads import DetectorSettings, SegmenterSettings, build_detector, build_segmenter
from biformer_lit.ops import BACKENDS

BASE = Backbone(depths=[1], dims=[32], head_dim=16, attention="bra", topk=2, regions=3)
EVERY = {**KINDS, **{name: {"backend": name} for name in BACKENDS if name != "triton"}}  # which takes a GPU
QUICK = ("gather_sdpa", "masked_matmul", "per_head", "deformable")


class Maps(torch.nn.Module):
    """The part of a dense network that takes images of any number: what follows depends on the objects."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return list(self.net.levels(images).values())


def require_any_batch(net, *size, strict=False):
    """The exported program gives what the network gives, whatever the batch."""
    inputs = torch.randn(5, *size)
    program = export(net, (inputs[:2],), dynamic_shapes=({0: Dim("batch")},), strict=strict).module()
    for batch in (1, 2, 5):
        with local_seed(0, "draws"), torch.no_grad():
            expected = net(inputs[:batch])
        with local_seed(0, "draws"), torch.no_grad():
            found = program(inputs[:batch])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in EVERY]
)
def test_attention_of_every_pattern_and_backend(kind):
    torch.manual_seed(0)
    net = replace(BASE, **EVERY[kind]).build(3).eval()
    require_any_batch(net.get_submodule("stages.0.blocks.0.attn"), 8, 11, 32)


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_networks_of_every_pattern_and_backend(kind, strict):
    torch.manual_seed(0)
    require_any_batch(
        replace(BASE, depths=[1, 1], dims=[32, 64], **EVERY[kind]).build(3).eval(), 3, 48, 70, strict=strict
    )


@pytest.mark.slow
@pytest.mark.parametrize("head", ["semantic_fpn", "upernet"])
def test_segmentation(head):
    torch.manual_seed(0)
    require_any_batch(build_segmenter(SMALL, 3, SegmenterSettings(head, 16)).eval(), 3, 48, 70)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn"])
def test_what_detection_computes_before_it_looks_for_objects(head):
    torch.manual_seed(0)
    require_any_batch(Maps(build_detector(SMALL, 3, DetectorSettings(head, 16))).eval(), 3, 64, 96)
