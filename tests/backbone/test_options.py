"""What the paper says and the release does differently, as options; and settings that cannot work."""

import pytest
import timm
import torch

import biformer_lit
from biformer_lit.attention import BiLevelRoutingAttention, FullAttention
from biformer_lit.errors import ConfigError

SMALL = {"depths": (1, 1, 1, 1), "dims": (32, 64, 96, 128), "num_classes": 5}


def small(**settings):
    torch.manual_seed(0)
    return timm.create_model("biformer_tiny", **{**SMALL, **settings}).eval()


def attentions(model):
    return [stage.blocks[0].attn for stage in model.stages]


def test_the_default_is_the_release_but_for_the_padding():
    *routed, last = attentions(timm.create_model("biformer_tiny"))
    assert [a.topk for a in routed] == [1, 4, 16]
    assert {a.regions for a in routed} == {(7, 7)}
    assert [a.scale for a in routed] == [64**-0.5, 128**-0.5, 256**-0.5]
    assert [a.heads for a in routed] == [2, 4, 8]
    assert {a.padding for a in routed} == {"masked"}
    assert isinstance(last, FullAttention)
    assert (last.heads, last.lce_input, last.qkv.bias) == (8, "input", None)


def test_the_channels_first_release_feeds_values_to_the_last_lce():
    assert attentions(timm.create_model("biformer_stl_nchw"))[-1].lce_input == "value"


def test_the_paper_s_stage_four():
    last = attentions(small(full_heads=0, full_lce_input="value", full_qkv_bias=True))[-1]
    assert (last.heads, last.lce_input) == (4, "value")
    assert last.qkv.bias is not None


def test_one_value_for_all_stages_or_one_for_each():
    model = small(topk=3, regions=[7, (4, 7), 7, 7], lce=[5, 3, 0, 5])
    assert [getattr(a, "topk", None) for a in attentions(model)] == [3, 3, 3, None]
    assert attentions(model)[1].regions == (4, 7)
    assert [a.lce.kernel_size[0] if a.lce else 0 for a in attentions(model)] == [5, 3, 0, 5]
    everywhere = small(attention="bra", topk="all")
    assert all(isinstance(a, BiLevelRoutingAttention) and a.topk == "all" for a in attentions(everywhere))


@pytest.mark.parametrize(("stride", "first"), [(4, 56), (2, 112), (1, 224)])
def test_stem_stride(stride, first):
    for stem in ("overlap", "patch"):
        model = small(stem=stem, stem_stride=stride, features_only=True, out_indices=(0,))
        assert model(torch.randn(1, 3, 224, 224))[0].shape[-1] == first
        assert model.feature_info.reduction() == [stride]


def test_the_number_of_stages_is_free():
    model = small(depths=(1, 2), dims=(32, 64), attention="bra", topk=(1, 4), features_only=True)
    assert [f.shape[1] for f in model(torch.randn(1, 3, 224, 224))] == [32, 64]


@pytest.mark.parametrize("size", [(224, 224), (250, 333)])
def test_map_sizes_are_what_comes_out(size):
    for stem in ("overlap", "patch"):
        model = small(stem=stem)
        maps = model.forward_intermediates(torch.randn(1, 3, *size), intermediates_only=True)
        assert model.map_sizes(*size) == [tuple(m.shape[2:]) for m in maps]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"topk": (1, 4, 50, "all")},
            r"stage 3: topk=50 is outside 1..49, the number of regions of a 7x7 grid",
        ),
        ({"topk": (1, 4, 16, 49)}, r"stage 4: topk=49 has no meaning for full attention; write 'all'"),
        ({"topk": (1, 4, 16)}, r"topk=\[1, 4, 16\] has 3 values for 4 stages"),
        ({"regions": (7, 7)}, r"regions=\[7, 7\] has 2 values for 4 stages"),
        ({"dims": (32, 64, 100, 128)}, r"stage 3: 100 channels do not divide into heads of head_dim=32"),
        ({"dims": (33, 64, 96, 128)}, r"even number of channels"),
        ({"dims": (32, 64)}, r"must have one positive entry for each stage"),
        ({"depths": (1, 0, 1, 1)}, r"must have one positive entry for each stage"),
        ({"full_heads": 7}, r"stage 4: 128 channels do not divide into 7 heads"),
        ({"attention": "window9"}, r"attention='window9' is unknown; choose one of bra, full, window"),
        ({"stem": "conv"}, r"stem='conv' is unknown"),
        ({"stem_stride": 3}, r"stem_stride=3 is not supported; use 4 \(as released\), 2 or 1"),
        ({"cpe": 2}, r"cpe=2 is not a kernel size"),
        ({"lce": (5, 5, 6, 5)}, r"stage 3: lce=6 is not a kernel size"),
        ({"head_dim": 0}, r"head_dim=0 must be at least 1"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate=1.0 must be at least 0 and below 1"),
        ({"global_pool": "max"}, r"global_pool='max' is unknown"),
        ({"in_chans": 0}, r"in_chans=0 must be at least 1"),
    ],
)
def test_bad_settings_name_stage_value_and_remedy(settings, message):
    with pytest.raises(ConfigError, match=message):
        small(**settings)


@pytest.mark.parametrize("pattern", ["bra", "full", "window", "stripes", "dilated", "deformable"])
@pytest.mark.parametrize("padding", ["masked", "released"])
def test_no_images_give_no_logits(pattern, padding):
    model = small(attention=pattern, padding=padding, topk="all", dims=(64, 64, 96, 128))
    assert model(torch.zeros(0, 3, 224, 250)).shape == (0, 5)


def test_maps_smaller_than_their_regions_are_told_once(caplog):
    model = small().eval()
    for size in ((96, 128), (96, 128), (224, 80)):
        assert model(torch.zeros(1, 3, *size)).shape == (1, 5)
    (message,) = [record.getMessage() for record in caplog.records]
    told = "its 6x8 map has fewer tokens along a side than regions=7x7; it is cut into 6x4 regions"
    assert message == f"stage 3 of a 96x128 image: {told}"


def test_an_image_too_small_for_the_stages():
    with pytest.raises(ConfigError, match=r"stage 2 of a 4x4 image: nothing is left of the map"):
        small(stem="patch", regions=1, topk=1)(torch.zeros(1, 3, 4, 4))


def test_sizes_the_released_code_refuses_work():
    model = biformer_lit.Backbone(name="biformer_tiny", depths=[1, 1, 1, 1]).build(3).eval()
    for size in (256, 384):
        assert model(torch.randn(1, 3, size, size)).shape == (1, 3)
