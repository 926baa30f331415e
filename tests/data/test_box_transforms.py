import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from biformer_lit.data import DetectionAugmentation
from biformer_lit.detection.box_augmentation import ImageSize

from .objects import PLAIN, alike, blocks, boxes_of, module, objects_of, samples, table, write_rows
from .test_classification import epoch_of, indices
from .test_segmentation import stored


@pytest.fixture
def folder(write):
    return write_rows(write)


AUGMENTATIONS = {
    "none": {},
    "flip": {"flip": 1.0},
    "flip_vertical": {"flip_vertical": 1.0},
    "both": {"flip": 0.5, "flip_vertical": 0.5},
    "scale": {"scale": (0.6, 2.0)},
    "short_sides": {"short_sides": (24, 40, 77)},
    "crop": {"crop": True},
    "all": {"crop": True, "flip": 0.5, "flip_vertical": 0.5, "scale": (0.8, 1.25), "short_sides": (48, 80)},
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_objects_stay_on_their_pixels(write, name):
    rows = [
        {**objects_of(row), "mask": [stored(Image.fromarray(m)) for m in blocks(boxes_of(row))]} for row in range(8)
    ]
    made = table(rows, pictures="mask")
    changes = {**PLAIN.__dict__, **AUGMENTATIONS[name]}
    data = module(write(train=made, validation=made), masks=True, augmentation=DetectionAugmentation(**changes))
    sizes, seen = set(), 0
    for _, image, objects in (sample for epoch in (0, 1) for sample in samples(epoch_of(data, epoch))):
        sizes.add(tuple(image.shape[1:]))
        seen += len(objects["labels"])
        assert objects["masks"].shape == (len(objects["labels"]), *image.shape[1:])
        for box, label, mask in zip(*(objects[key] for key in ("boxes", "labels", "masks")), strict=True):
            for pixels in (image[label] > 0.5, mask):
                ys, xs = np.nonzero(pixels.numpy())
                drawn = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                np.testing.assert_allclose(box, drawn, atol=0.51)
    assert 16 < seen < 48 if changes["crop"] else seen == 48
    least, most = {"scale": (12, 16), "short_sides": (3, 3), "crop": (8, 16), "all": (8, 16)}.get(name, (1, 1))
    assert least <= len(sizes) <= most


def test_photometric_changes_the_image_alone(folder):
    plain, vivid = (
        epoch_of(module(folder)),
        epoch_of(module(folder, augmentation=DetectionAugmentation((), 0, 0, True))),
    )
    pairs = list(zip(samples(plain), samples(vivid), strict=True))
    assert all(torch.equal(a[2]["boxes"], b[2]["boxes"]) for a, b in pairs)
    assert not all(torch.equal(a[1], b[1]) for a, b in pairs)


@pytest.mark.parametrize(
    ("size", "fed"), [((40, 57), (20, 28)), ((57, 40), (28, 20)), ((10, 100), (6, 60)), ((1, 900), (1, 60))]
)
def test_size_of_what_is_fed(size, fed):
    assert ImageSize(20, 60).fit(size, 20) == fed
    if min(size) > 1:  # torchvision would make nothing of a line
        assert v2.Resize(20, max_size=60)(torch.zeros((3, *size))).shape[1:] == fed


def test_workers_epochs_and_seed(folder, monkeypatch):
    augmentation = DetectionAugmentation((), 0.5, 0.5, True, True, (0.8, 1.25))
    first = epoch_of(module(folder, augmentation=augmentation))
    assert alike(first, epoch_of(data := module(folder, augmentation=augmentation, num_workers=2)))
    assert not alike(first, epoch_of(data, 1))
    assert indices(data.val_dataloader()) == [0, 1, 2, 3]
    monkeypatch.setenv("PL_GLOBAL_SEED", "8")
    assert not alike(first, epoch_of(module(folder, augmentation=augmentation)))
