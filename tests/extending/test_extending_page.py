"""The examples of docs/extending.md do what the page says."""

import re

import pytest
import torch
from shapes import SMALL
from torchvision import tv_tensors

from biformer_lit.data import ClassificationDataModule
from biformer_lit.data.own_transforms import TRANSFORMS, OwnTransforms
from biformer_lit.heads import SegmenterSettings, build_segmenter

pytestmark = pytest.mark.usefixtures("unplugged")


@pytest.fixture
def blocks(root):
    return re.findall(r"^```python\n(.*?)^```$", (root / "docs/extending.md").read_text(), re.MULTILINE | re.DOTALL)


def test_the_transforms_of_the_page(blocks):
    (block,) = [one for one in blocks if "def darken" in one]
    exec(block, {"__name__": "page"})  # noqa: S102
    assert {"blur", "darken"} <= set(TRANSFORMS)
    image = tv_tensors.Image(torch.full((3, 8, 8), 200, dtype=torch.uint8))
    result = OwnTransforms(["blur", "darken"])({"image": image})["image"]
    assert 100 <= int(result.min()) <= int(result.max()) <= 200


def test_the_head_of_the_page(blocks):
    (block,) = [one for one in blocks if "class CoarseMap" in one]
    exec(block, {"__name__": "page"})  # noqa: S102
    net = build_segmenter(SMALL, 3, SegmenterSettings("coarse_map")).eval()
    assert net.head.body.out_channels == 24
    assert net(torch.rand(1, 3, 40, 56)).shape == (1, 3, 40, 56)


def test_the_data_set_of_the_page(blocks):
    (block,) = [one for one in blocks if "def plain_colours" in one]
    exec(block, {"__name__": "page"})  # noqa: S102
    data = ClassificationDataModule(dataset="plain_colours", image_size=16, batch_size=6, num_workers=0)
    data.setup("validate")
    assert data.class_names == ["blue", "green", "red"]
    (batch,) = data.val_dataloader()
    assert batch["label"].tolist() == [2, 1, 0, 2, 1, 0]


def test_the_names_of_the_page_are_there(root):
    import biformer_lit  # noqa: PLC0415

    named = set(re.findall(r"`(register_\w+|load_plugin)`", (root / "docs/extending.md").read_text()))
    assert len(named) >= 5
    assert not {name for name in named if not hasattr(biformer_lit, name)}
