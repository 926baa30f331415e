"""Dense inference by hand: windows, scales, flips, and batches of images of different sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from biformer_lit.errors import ConfigError
from biformer_lit.segmentation.inference import logits_by_size
from biformer_lit.tasks import Inference


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)


@pytest.fixture
def pointwise():
    """A network that sees one pixel: where the windows lie cannot matter to it."""
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 1).requires_grad_(False)


def test_whole_is_the_network_itself(net):
    images = torch.randn(2, 3, 17, 23)
    assert torch.equal(Inference().logits(net, images), net(images))


@pytest.mark.parametrize(("window", "stride"), [(8, 8), (8, 5), (16, 3), (64, 64), (20, 7)])
@pytest.mark.parametrize("size", [(17, 23), (8, 40), (16, 16)])
def test_windows_give_what_the_whole_gives_to_a_network_that_sees_one_pixel(pointwise, window, stride, size):
    images = torch.randn(2, 3, *size)
    found = Inference(mode="slide", window=window, stride=stride).logits(pointwise, images)
    torch.testing.assert_close(found, pointwise(images))


def test_overlapping_windows_are_averaged(net):
    images = torch.randn(1, 3, 8, 12)
    found = Inference(mode="slide", window=8, stride=4).logits(net, images)
    left, right = net(images[..., :8]), net(images[..., 4:])
    torch.testing.assert_close(found[..., :4], left[..., :4])
    torch.testing.assert_close(found[..., 4:8], (left[..., 4:] + right[..., :4]) / 2)
    torch.testing.assert_close(found[..., 8:], right[..., 4:])


@pytest.mark.parametrize(
    ("length", "stride", "starts"),
    [
        (10, 5, [0, 5]),
        (10, 4, [0, 4, 5]),
        (4, 5, [0]),
        (5, 5, [0]),
        (6, 3, [0, 1]),
        (14, 5, [0, 5, 9]),
        (9, 2, [0, 2, 4]),
    ],
)
def test_where_windows_begin(length, stride, starts):
    assert Inference(mode="slide", window=5, stride=stride).starts(length) == starts


def test_scales_and_flips_by_hand(net):
    images = torch.randn(2, 3, 12, 20)
    found = Inference(scales=(0.5, 1.0, 1.25), flip=True).logits(net, images)
    probabilities = []
    for size in ((6, 10), (12, 20), (15, 25)):
        scaled = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        probabilities += [
            F.interpolate(logits, size=(12, 20), mode="bilinear", align_corners=False).softmax(1)
            for logits in (net(scaled), net(scaled.flip(3)).flip(3))
        ]
    torch.testing.assert_close(found.exp(), sum(probabilities) / 6)
    torch.testing.assert_close(found.softmax(1), found.exp())


def test_a_flip_alone_makes_the_prediction_symmetric(net):
    images = torch.randn(1, 3, 9, 9)
    inference = Inference(flip=True)
    torch.testing.assert_close(inference.logits(net, images.flip(3)).flip(3), inference.logits(net, images))


def test_certain_probabilities_stay_finite():
    found = Inference(flip=True).logits(lambda x: x * 1e6, torch.tensor([[[[1.0]], [[-1.0]]]]))
    assert torch.isfinite(found).all()


def test_the_padding_of_a_batch_is_not_seen(net):
    """So that predictions do not depend on what else is in the batch."""
    sizes = [(10, 14), (16, 9), (10, 14)]
    images = [torch.randn(3, *size) for size in sizes]
    batch = torch.full((3, 3, 32, 32), 1e3)
    for i, image in enumerate(images):
        batch[i, :, : image.shape[1], : image.shape[2]] = image
    found = logits_by_size(Inference(), net, batch, torch.tensor(sizes))
    for image, logits in zip(images, found, strict=True):
        torch.testing.assert_close(logits, net(image[None])[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", "crop"), ("window", 0), ("stride", 0), ("stride", 600), ("scales", ()), ("scales", (1.0, 0.0)),
     ("scales", (float("inf"),))],
)  # fmt: skip
def test_settings_out_of_range(field, value):
    with pytest.raises(ConfigError, match=rf"^inference\.{field}=") as refused:
        Inference(**{field: value})
    assert "\n" not in str(refused.value)


def test_a_list_from_a_checkpoint_is_the_same_setting():
    assert Inference(scales=[0.5, 1.0]) == Inference(scales=(0.5, 1.0))


def test_a_large_image_is_announced_once(monkeypatch, caplog):
    monkeypatch.setattr("biformer_lit.segmentation.inference._told", set())
    Inference(mode="slide").tell_of_large(5000, 4000)
    Inference().tell_of_large(2048, 2048)
    assert not caplog.records
    for _ in range(2):
        Inference().tell_of_large(4000, 6000)
    (record,) = caplog.records
    assert "an image of 6000 x 4000 pixels is seen whole" in record.getMessage()
    assert "set model.init_args.inference.mode: slide" in record.getMessage()
