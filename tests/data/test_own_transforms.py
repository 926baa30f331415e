"""Transforms that users register: what they get, what is checked, and that their random numbers can be repeated."""

import copy
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from biformer_lit import (
    ClassificationDataModule,
    ConfigError,
    DataError,
    DetectionDataModule,
    SegmentationDataModule,
    register_transform,
)
from biformer_lit.classification.image_augmentation import Augmentation, train_transform
from biformer_lit.data.own_transforms import TRANSFORMS, OwnTransforms
from biformer_lit.detection.box_augmentation import DetectionAugmentation, ImageSize, TrainBoxes
from biformer_lit.segmentation.mask_augmentation import SegmentationAugmentation, TrainPair

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
STILL = Augmentation(crop="none", hflip=0, rand_augment=None, color_jitter=0, erasing=0)
IGNORED = 255


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(TRANSFORMS, "_entries", copy.copy(TRANSFORMS._entries))


def picture(width=40, height=30):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def objects(masks=True):
    boxes = torch.tensor([[2.0, 3, 12, 20], [20, 5, 38, 25]])
    found = {"boxes": boxes, "labels": torch.tensor([4, 7]), "crowd": torch.zeros(2, dtype=torch.bool)}
    if masks:
        found["masks"] = torch.zeros((2, 30, 40), dtype=torch.uint8)
        for mask, (left, top, right, bottom) in zip(found["masks"], boxes.int().tolist(), strict=True):
            mask[top:bottom, left:right] = 1
    return found


def sample(kind):
    """A sample as transforms get it."""
    image = tv_tensors.Image(TF.pil_to_tensor(picture()))
    if kind == "image":
        return {"image": image}
    if kind == "mask":
        return {"image": image, "mask": tv_tensors.Mask(torch.arange(1200).view(30, 40) // 400)}
    found = objects()
    boxes = tv_tensors.BoundingBoxes(found["boxes"], format="XYXY", canvas_size=(30, 40))
    return {"image": image, "boxes": boxes, "labels": found["labels"], "masks": tv_tensors.Mask(found["masks"])}


def apply(name, given):
    return OwnTransforms([name], IGNORED)(given)


# -- where they stand ------------------------------------------------------------------------------------


def test_without_any_nothing_changes():
    augmentation = Augmentation()
    results = []
    for own in (None, OwnTransforms([])):
        torch.manual_seed(0), random.seed(0), np.random.seed(0)  # noqa: NPY002
        results.append(train_transform(augmentation, 32, ZERO, ONE, own)(picture()))
    assert torch.equal(*results)


def test_of_classification_it_gets_the_crop_before_it_is_normalised():
    seen = []
    register_transform("seen", lambda given: seen.append(given) or given)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    result = train_transform(STILL, 16, mean, std, OwnTransforms(["seen"]))(picture())
    (got,) = seen
    assert got.keys() == {"image"}
    assert isinstance(got["image"], tv_tensors.Image)
    assert got["image"].dtype == torch.uint8
    assert got["image"].shape == (3, 16, 16)
    assert torch.equal(result, train_transform(STILL, 16, mean, std)(picture()))
    assert type(result) is torch.Tensor


def test_of_segmentation_it_gets_image_and_mask():
    register_transform("mirror", v2.RandomHorizontalFlip(1.0))
    still = SegmentationAugmentation(scale=(1, 1), flip=0, photometric=False, cat_max_ratio=1)
    labels = np.arange(30 * 40).reshape(30, 40) // 400
    plain = TrainPair(still, (30, 40), ZERO, ONE, IGNORED)(picture(), labels)
    moved = TrainPair(still, (30, 40), ZERO, ONE, IGNORED, OwnTransforms(["mirror"], IGNORED))(picture(), labels)
    for one, other in zip(plain, moved, strict=True):
        assert torch.equal(one.flip(-1), other)
        assert type(other) is torch.Tensor


@pytest.mark.parametrize("masks", [True, False])
def test_of_detection_it_gets_image_boxes_and_masks(masks):
    register_transform("mirror", v2.RandomHorizontalFlip(1.0))
    still = DetectionAugmentation(flip=0)
    size = ImageSize(30, 40)
    image, plain = TrainBoxes(still, size, ZERO, ONE)(picture(), objects(masks))
    mirrored, moved = TrainBoxes(still, size, ZERO, ONE, OwnTransforms(["mirror"]))(picture(), objects(masks))
    assert torch.equal(image.flip(-1), mirrored)
    left, top, right, bottom = plain["boxes"].unbind(1)
    assert torch.equal(moved["boxes"], torch.stack([40 - right, top, 40 - left, bottom], 1))
    assert moved.keys() == plain.keys()
    assert all(type(value) is torch.Tensor for value in moved.values())
    if masks:
        assert torch.equal(moved["masks"], plain["masks"].flip(-1))


def test_objects_that_it_leaves_too_small_are_left_out():
    def cut(given):
        return {**given, "image": given["image"][..., :12], "masks": given["masks"][..., :12], "boxes": torch.tensor(
            [[2.0, 3, 12, 20], [11.5, 5, 12, 25]]
        )}  # fmt: skip

    register_transform("cut", cut)
    still = DetectionAugmentation(flip=0)
    image, moved = TrainBoxes(still, ImageSize(30, 40), ZERO, ONE, OwnTransforms(["cut"]))(picture(), objects())
    assert image.shape == (3, 30, 12)
    assert moved["labels"].tolist() == [4]
    assert moved["boxes"].tolist() == [[2, 3, 12, 20]]
    assert moved["masks"].shape == (1, 30, 12)


def test_several_are_applied_in_order():
    register_transform("half", lambda given: {**given, "image": given["image"] // 2})
    register_transform("one_more", lambda given: {**given, "image": given["image"] + 1})
    image = sample("image")
    there, back = (OwnTransforms(names)(image)["image"] for names in (["half", "one_more"], ["one_more", "half"]))
    assert torch.equal(there, image["image"] // 2 + 1)
    assert torch.equal(back, (image["image"] + 1) // 2)
    assert isinstance(there, tv_tensors.Image)  # for the next one, whatever arithmetic made of it


def test_a_decorator_leaves_the_function_as_it_is():
    @register_transform("same")
    def same(given):
        return given

    assert same(3) == 3
    assert TRANSFORMS["same"] is same


# -- what they return is checked -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("image", lambda _: None, r"returns NoneType; it must return the sample, a dict of image"),
        ("mask", lambda s: {"image": s["image"]}, r"returns a dict of image; it must return .*a dict of image, mask"),
        ("image", lambda s: {"image": s["image"].float()}, r"an image that is float32 \(3, 30, 40\); it must be uint8"),
        ("image", lambda s: {"image": s["image"][:1]}, r"image that is uint8 \(1, 30, 40\); it must be uint8 \(3,"),
        ("image", lambda s: {"image": s["image"].numpy()}, r"an image that is a ndarray"),
        ("image", v2.Resize(20), r"an image of 20 x 26 pixels; it must keep the size, 30 x 40"),
        ("mask", lambda s: {**s, "mask": s["mask"].float()}, r"a mask that is float32 \(30, 40\); it must be int64"),
        (
            "mask",
            lambda s: {**s, "mask": s["mask"][:9]},
            r"that is int64 \(9, 40\); it must be int64 \(30, 40\)",
        ),
        ("mask", lambda s: {**s, "mask": s["mask"] * 3}, r"with the class 3, which it had not; take the nearest"),
        ("boxes", lambda s: {**s, "boxes": s["boxes"][:1]}, r"labels that are int64 \(2,\); they must be int64 \(1,\)"),
        ("boxes", lambda s: {**s, "boxes": s["boxes"].int()}, r"boxes that are int32 \(2, 4\); they must be float32"),
        ("boxes", lambda s: {**s, "boxes": s["boxes"] + 5}, r"boxes that leave the image of 30 x 40 pixels; clip them"),
        ("boxes", lambda s: {**s, "boxes": s["boxes"] * torch.nan}, r"boxes that leave the image"),
        ("boxes", lambda s: {**s, "boxes": s["boxes"].flip(1)}, r"boxes that leave the image"),
        ("boxes", lambda s: {**s, "image": s["image"][..., :39]}, r"boxes on an image of \(30, 40\), but the image is"),
        ("boxes", lambda s: {**s, "masks": s["masks"][:1]}, r"masks that are uint8 \(1, 30, 40\); they must be uint8"),
        ("boxes", lambda s: {**s, "masks": s["masks"] * 9}, r"masks with other numbers than 0 and 1"),
        ("image", lambda s: s["nothing"], r"KeyError: 'nothing' \(test_own_transforms.py, line \d+\)"),
    ],
)
def test_what_is_no_sample_is_refused(kind, change, message):
    register_transform("wrong", change)
    with pytest.raises(DataError, match=rf"^transform 'wrong': .*{message}"):
        apply("wrong", sample(kind))


def test_a_mask_may_gain_what_is_ignored():
    turn = v2.RandomRotation((20, 20), fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED})
    register_transform("turn", turn)
    assert IGNORED in apply("turn", sample("mask"))["mask"]


@pytest.mark.parametrize("form", ["XYWH", "CXCYWH"])
def test_boxes_in_another_format_are_understood(form):
    register_transform("other", v2.ConvertBoundingBoxFormat(form))
    boxes = apply("other", sample("boxes"))["boxes"]
    torch.testing.assert_close(boxes.as_subclass(torch.Tensor), objects()["boxes"])


@pytest.mark.parametrize("module", [ClassificationDataModule, SegmentationDataModule, DetectionDataModule])
def test_a_name_that_is_not_registered(module):
    register_transform("there", v2.Identity())
    with pytest.raises(ConfigError, match=r"data.init_args.transforms: 'absent' is not registered \(.*there.*--plugin"):
        module(transforms=("absent",))
    assert module(transforms=["there"]).transforms == ("there",)


# -- those of Albumentations -----------------------------------------------------------------------------


class Mirror:
    """What a Compose of Albumentations does, as far as it is called: keywords, NumPy, random numbers of its own."""

    def set_random_seed(self, seed):
        self.generator = np.random.default_rng(seed)

    def __call__(self, image, mask=None, bboxes=None, labels=None, masks=None):
        width = image.shape[1]
        result = {"image": image[:, ::-1].copy()}
        result["image"][0, 0] = self.generator.integers(0, 256, 3)
        if mask is not None:
            result["mask"] = mask[:, ::-1].copy()
        if bboxes is not None:
            result["bboxes"] = [(width - right, top, width - left, bottom) for left, top, right, bottom in bboxes]
            result["labels"] = labels
        if masks is not None:
            result["masks"] = [one[:, ::-1].copy() for one in masks]
        return result


@pytest.mark.parametrize("kind", ["image", "mask", "boxes"])
def test_one_that_is_called_by_keywords(kind):
    register_transform("by_keywords", Mirror(), keywords=True)
    register_transform("mirror", v2.RandomHorizontalFlip(1.0))
    results = [apply(name, sample(kind)) for name in ("by_keywords", "mirror")]
    for one, other in zip(*(result.values() for result in results), strict=True):
        assert type(one) is type(other)
        assert torch.equal(one[..., 1:, :] if one.ndim == 3 else one, other[..., 1:, :] if one.ndim == 3 else other)


def test_the_random_numbers_of_one_follow_torch_s():
    register_transform("by_keywords", Mirror(), keywords=True)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(apply("by_keywords", sample("image"))["image"][:, 0, 0].tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_one_without_objects_by_keywords():
    register_transform("by_keywords", Mirror(), keywords=True)
    given = sample("boxes")
    empty = {name: value[:0] for name, value in given.items() if name != "image"}
    empty["boxes"] = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(30, 40))
    result = apply("by_keywords", {"image": given["image"], **empty})
    assert result["boxes"].shape == (0, 4)
    assert result["masks"].shape == (0, 30, 40)


# -- repeatable ------------------------------------------------------------------------------------------


def noisy(given):
    noise = torch.randint(0, 256, given["image"].shape, dtype=torch.uint8)
    return {**given, "image": noise ^ int(np.random.randint(256)) ^ random.randrange(256)}  # noqa: NPY002


def batches(**options):
    data = ClassificationDataModule(image_size=8, batch_size=64, augmentation=STILL, transforms=["noisy"], **options)
    data.setup()
    return [batch["image"] for batch in data.train_dataloader()]


def test_each_sample_has_its_own_random_numbers_whoever_loads_it():
    register_transform("noisy", noisy)
    alone, shared = batches(num_workers=0), batches(num_workers=2)
    assert all(map(torch.equal, alone, shared))
    assert len({image.numpy().tobytes() for batch in alone for image in batch}) == sum(map(len, alone))


def test_evaluation_is_left_alone():
    register_transform("noisy", noisy)
    data = ClassificationDataModule(image_size=8, num_workers=0, transforms=["noisy"])
    plain = ClassificationDataModule(image_size=8, num_workers=0)
    for one in (data, plain):
        one.setup()
    images = [next(iter(one.val_dataloader()))["image"] for one in (data, plain)]
    assert torch.equal(*images)
