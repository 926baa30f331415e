"""What timm promises of a model holds for ours."""

import pytest
import timm
import torch

import biformer_lit  # noqa: F401 (registers the models)
from biformer_lit.errors import ConfigError

SMALL = {"depths": (1, 1, 2, 1), "dims": (32, 64, 96, 128), "num_classes": 5}
NAMES = ["biformer_tiny", "biformer_stl"]


def small(name="biformer_tiny", **settings):
    torch.manual_seed(0)
    return timm.create_model(name, **{**SMALL, **settings}).eval()


def test_registered():
    assert timm.list_models("biformer_*", module="variants") == sorted(timm.list_models("biformer_*"))
    assert "biformer_small" in timm.list_models()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_chans", [1, 3, 4])
@pytest.mark.parametrize("size", [(224, 224), (225, 225), (240, 336), (227, 301)])
def test_any_channels_and_any_size(name, in_chans, size):
    model = small(name, in_chans=in_chans)
    x = torch.randn(2, in_chans, *size)
    logits = model(x)
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("padding", ["masked", "released", "released_nchw"])
def test_feature_info_tells_the_truth(name, padding):
    model = small(name, features_only=True, padding=padding)
    height, width = 256, 320
    features = model(torch.randn(1, 3, height, width))
    assert model.feature_info.channels() == list(SMALL["dims"])
    assert model.feature_info.reduction() == [4, 8, 16, 32]
    for feature, channels, reduction in zip(
        features, model.feature_info.channels(), model.feature_info.reduction(), strict=True
    ):
        assert feature.shape == (1, channels, height // reduction, width // reduction)


def test_out_indices():
    model = small(features_only=True, out_indices=(1, 2))
    features = model(torch.randn(1, 3, 224, 224))
    assert [f.shape[1] for f in features] == [64, 96]
    assert len(model.model.stages) == 3  # what is not needed is gone


def test_features_and_head_compose():
    model = small()
    x = torch.randn(2, 3, 224, 224)
    features = model.forward_features(x)
    assert features.shape == (2, 128, 7, 7)
    torch.testing.assert_close(model.forward_head(features), model(x))
    assert model.forward_head(features, pre_logits=True).shape == (2, 128)


def test_forward_intermediates():
    model = small()
    x = torch.randn(1, 3, 224, 224)
    final, maps = model.forward_intermediates(x)
    torch.testing.assert_close(final, model.forward_features(x))
    assert len(maps) == 4
    last_two = model.forward_intermediates(x, indices=2, intermediates_only=True)
    torch.testing.assert_close(last_two[0], maps[2])
    (normalised,) = model.forward_intermediates(x, indices=[3], norm=True, intermediates_only=True)
    torch.testing.assert_close(normalised, final)
    (early,) = model.forward_intermediates(x, indices=[0], stop_early=True, intermediates_only=True)
    torch.testing.assert_close(early, maps[0])
    with pytest.raises(ConfigError, match="output_fmt='NHWC' is not supported"):
        model.forward_intermediates(x, output_fmt="NHWC")


def test_classifier_can_be_replaced_and_removed():
    model = small()
    x = torch.randn(1, 3, 224, 224)
    assert model.get_classifier() is model.head
    model.reset_classifier(11)
    assert model.num_classes == 11
    assert model(x).shape == (1, 11)
    model.reset_classifier(0, "")
    assert model(x).shape == (1, 7, 7, 128)
    assert small(num_classes=0)(x).shape == (1, 128)


def test_no_weight_decay_names_exist_and_are_norms_and_biases():
    model = small()
    names = model.no_weight_decay()
    parameters = dict(model.named_parameters())
    assert names <= set(parameters)
    assert {"norm.weight", "stages.0.blocks.0.norm1.bias", "head.bias"} <= names
    assert not any(name.endswith(("qkv.weight", "cpe.weight", "conv1.weight")) for name in names)


@pytest.mark.parametrize("coarse", [False, True])
def test_group_matcher_orders_the_layers(coarse):
    model = small()
    layers = timm.models.group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)
    assert set(layers) == {name for name, _ in model.named_parameters()}
    assert layers["stem.conv1.weight"] == 0
    order = [
        "stem.conv1.weight",
        "stages.0.blocks.0.mlp.fc1.weight",
        "stages.1.blocks.0.attn.qkv.weight",
        "stages.2.blocks.0.attn.qkv.weight",
        "stages.3.blocks.0.attn.proj.weight",
    ]
    assert [layers[name] for name in order] == sorted(layers[name] for name in order)
    assert layers["head.weight"] >= layers["norm.weight"] >= layers["stages.3.blocks.0.attn.proj.weight"]


def test_gradient_checkpointing_changes_nothing():
    model = small(drop_path_rate=0.0).train()
    x = torch.randn(2, 3, 224, 224)

    def gradients():
        model.zero_grad()
        model(x).square().sum().backward()
        return [p.grad.clone() for p in model.parameters()]

    plain = gradients()
    model.set_grad_checkpointing()
    assert all(stage.grad_checkpointing for stage in model.stages)
    for with_checkpoints, without in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(with_checkpoints, without)


def test_drop_path_grows_with_depth():
    model = small(drop_path_rate=0.4)
    rates = [getattr(b.drop_path, "drop_prob", 0.0) for s in model.stages for b in s.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name):
    model = small(name).train()
    model(torch.randn(2, 3, 224, 224)).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []
