import numpy as np
import pytest
import torch
from PIL import Image

from biformer_lit.classification.image_augmentation import Augmentation, eval_transform, train_transform
from biformer_lit.common.seeding import local_seed
from biformer_lit.errors import ConfigError

PLAIN = Augmentation(crop="none", hflip=0, rand_augment=None, color_jitter=0, erasing=0)
ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def noise(height=32, width=32):
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def test_nothing_on_is_the_image_itself():
    torch.testing.assert_close(train_transform(PLAIN, 32, ZERO, ONE)(noise()), tensor(noise()))


def test_normalisation():
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    image = Image.new("RGB", (8, 8), (255, 0, 51))
    expected = torch.tensor([(1 - 0.1) / 0.5, -0.2 / 0.25, (0.2 - 0.3) / 2])
    for transform in (train_transform(PLAIN, 8, mean, std), eval_transform(8, 1.0, mean, std)):
        torch.testing.assert_close(transform(image)[:, 3, 3], expected)


def test_evaluation_resizes_the_shorter_side_and_cuts_the_centre():
    image = Image.new("RGB", (400, 200), (255, 255, 255))
    image.paste((0, 0, 0), (150, 50, 250, 150))  # a square in the centre, half the height
    result = eval_transform(224, 0.875, ZERO, ONE)(image)
    assert result.shape == (3, 224, 224)
    dark = (result[0, 112] < 0.5).sum().item()
    assert abs(dark - 128) <= 2  # half of the 256 pixels the side is resized to


def test_padded_crop_shifts_by_at_most_an_eighth():
    transform = train_transform(
        Augmentation("padded", hflip=0, rand_augment=None, color_jitter=0, erasing=0),
        32,
        ZERO,
        ONE,
    )
    original, shifts = tensor(noise()), set()
    for seed in range(40):
        with local_seed(seed):
            result = transform(noise())
        padded = torch.nn.functional.pad(original, (4, 4, 4, 4))
        found = [(y, x) for y in range(9) for x in range(9) if torch.equal(padded[:, y : y + 32, x : x + 32], result)]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 20


def test_flip_probability():
    transform = train_transform(
        Augmentation("none", hflip=1.0, rand_augment=None, color_jitter=0, erasing=0), 32, ZERO, ONE
    )
    torch.testing.assert_close(transform(noise()), tensor(noise()).flip(-1))


@pytest.mark.parametrize(
    "change",
    [
        {"rand_augment": "rand-m9-mstd0.5-inc1"},
        {"color_jitter": 0.4},
        {"erasing": 1.0},
        {"crop": "random_resized"},
    ],
)
def test_each_part_acts_and_depends_on_the_seed(change):
    augmentation = Augmentation(**{**PLAIN.__dict__, **change})
    transform, results = train_transform(augmentation, 32, ZERO, ONE), []
    for seed in (0, 0, 1):
        with local_seed(seed):
            results.append(transform(noise()))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_color_jitter_is_off_with_rand_augment():
    # stated in the documentation of color_jitter
    results = []
    for strength in (0.0, 0.9):
        augmentation = Augmentation("none", hflip=0, color_jitter=strength, erasing=0)
        with local_seed(3):
            results.append(train_transform(augmentation, 32, ZERO, ONE)(noise()))
    assert torch.equal(*results)


def test_strongest_posterize_is_black():
    augmentation = Augmentation("none", hflip=0, rand_augment="rand-m10-inc1", erasing=0)
    (policy,) = [step for step in train_transform(augmentation, 8, ZERO, ONE).transforms if hasattr(step, "ops")]
    (operation,) = [op for op in policy.ops if op.name == "PosterizeIncreasing"]
    operation.prob = 1.0
    assert np.asarray(operation(noise())).max() == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop", "centre"),
        ("scale", (0.0, 1.0)),
        ("scale", (0.5, 1.5)),
        ("ratio", (2.0, 1.0)),
        ("hflip", 1.5),
        ("erasing", -0.1),
        ("color_jitter", -1.0),
        ("repeats", 0),
        ("interpolation", "nearest"),
        ("rand_augment", "autoaugment"),
        ("rand_augment", "rand-m9-bogus3"),
    ],
)
def test_bad_fields_are_named(field, value):
    with pytest.raises(ConfigError, match=rf"^data\.init_args\.augmentation\.{field}: ") as caught:
        Augmentation(**{field: value})
    assert repr(value) in str(caught.value)


def test_text_none_means_no_policy():
    assert Augmentation(rand_augment="None").rand_augment is None
