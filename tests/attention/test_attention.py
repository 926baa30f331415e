"""The modules around the operators: settings, padding, and what the patterns share."""

import pytest
import torch

from biformer_lit.attention import BiLevelRoutingAttention, FullAttention
from biformer_lit.errors import ConfigError


def twin_of(bra):
    """Full attention with the same weights and the same scale."""
    full = FullAttention(bra.dim, bra.heads, lce=bra.lce.kernel_size[0] if bra.lce else 0).double()
    full.load_state_dict(bra.state_dict())
    return full


@pytest.mark.parametrize("backend", ["reference", "gather_sdpa", "masked_sdpa"])
@pytest.mark.parametrize(("size", "regions"), [((8, 8), 7), ((9, 13), 4), ((12, 12), 4), ((5, 7), (5, 2))])
def test_all_regions_is_full_attention_on_any_map(size, regions, backend):
    bra = BiLevelRoutingAttention(32, 2, topk="all", regions=regions, scale="head", backend=backend).double()
    x = torch.randn(2, *size, 32, dtype=torch.float64)
    torch.testing.assert_close(bra(x), twin_of(bra)(x), rtol=1e-6, atol=1e-10)


def test_released_padding_is_off_dense_attention():
    torch.manual_seed(0)
    bra = BiLevelRoutingAttention(32, 2, topk="all", regions=7, scale="head", padding="released", lce=0).double()
    torch.nn.init.normal_(bra.qkv.bias)
    x = torch.randn(2, 8, 8, 32, dtype=torch.float64)
    wanted = twin_of(bra)(x)
    assert (bra(x) - wanted).norm() / wanted.norm() > 0.01


def test_paddings_agree_where_the_regions_divide_the_map():
    torch.manual_seed(0)
    x = torch.randn(2, 14, 21, 16, dtype=torch.float64)
    modules = [
        BiLevelRoutingAttention(16, 2, topk=5, regions=7, padding=padding).double()
        for padding in ("masked", "released", "released_nchw")
    ]
    outputs = []
    for module in modules:
        module.load_state_dict(modules[0].state_dict())
        outputs.append(module(x))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(outputs[2], outputs[0], rtol=1e-12, atol=1e-12)


def test_lce_reads_values_or_input():
    torch.manual_seed(0)
    x = torch.randn(1, 6, 6, 16)
    of_value = FullAttention(16, 2, lce=3, lce_input="value")
    of_input = FullAttention(16, 2, lce=3, lce_input="input")
    of_input.load_state_dict(of_value.state_dict())
    assert not torch.allclose(of_value(x), of_input(x))
    without = FullAttention(16, 2, lce=0)
    without.load_state_dict({k: v for k, v in of_value.state_dict().items() if not k.startswith("lce")})
    torch.nn.init.zeros_(of_value.lce.weight)
    torch.nn.init.zeros_(of_value.lce.bias)
    torch.testing.assert_close(without(x), of_value(x))


def test_scale_of_a_head_or_of_all_channels():
    assert BiLevelRoutingAttention(64, 2).scale == 64**-0.5
    assert BiLevelRoutingAttention(64, 2, scale="head").scale == 32**-0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"topk": 50},
            r"topk=50 is outside 1..49, the number of regions of a 7x7 grid; choose a number in that range or 'all'",
        ),
        ({"topk": 0}, r"topk=0 is outside 1..49"),
        ({"topk": "most"}, r"topk=most is outside"),
        ({"topk": 7, "regions": (2, 3)}, r"topk=7 is outside 1..6"),
        ({"regions": 0}, r"regions=0 must be at least 1"),
        ({"lce": 4}, r"lce=4 is not a kernel size"),
        ({"lce": -1}, r"lce=-1 is not a kernel size"),
        ({"scale": "none"}, r"scale='none' is unknown; choose one of released, head"),
        ({"padding": "zeros"}, r"padding='zeros' is unknown; choose one of masked, released, released_nchw"),
        ({"backend": "cuda"}, r"backend='cuda' is unknown"),
        ({"heads": 5}, r"64 channels do not divide into 5 heads"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        BiLevelRoutingAttention(64, settings.pop("heads", 2), **settings)
