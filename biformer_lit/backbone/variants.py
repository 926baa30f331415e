"""The released models as timm models: ``timm.create_model("biformer_tiny")`` after ``import biformer_lit``."""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from biformer_lit.backbone.biformer import BiFormer
from biformer_lit.checkpoints.released_names import rename_released

_OVERLAP: dict[str, Any] = {"mlp_ratio": 3.0, "stem": "overlap", "cpe": 3}
_SWIN_LAYOUT: dict[str, Any] = {
    "depths": (2, 2, 6, 2),
    "dims": (96, 192, 384, 768),
    "mlp_ratio": 4.0,
    "stem": "patch",
    "cpe": 0,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "biformer_tiny": {**_OVERLAP, "depths": (2, 2, 8, 2), "dims": (64, 128, 256, 512)},
    "biformer_small": {**_OVERLAP, "depths": (4, 4, 18, 4), "dims": (64, 128, 256, 512)},
    "biformer_base": {**_OVERLAP, "depths": (4, 4, 18, 4), "dims": (96, 192, 384, 768)},
    "biformer_stl": _SWIN_LAYOUT,
    "biformer_stl_nchw": {**_SWIN_LAYOUT, "full_lce_input": "value"},
}
"""Constructor arguments of each released model; what is not named here is :class:`BiFormer` 's default."""

default_cfgs = generate_default_cfgs(
    {
        name: {
            "url": "",  # the released links are dead: weights come from a local file
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "first_conv": "stem.conv" if arguments["stem"] == "patch" else "stem.conv1",
            "classifier": "head",
            "license": "mit",
            "origin_url": "https://github.com/rayleizhu/BiFormer",
            "paper_ids": "arXiv:2303.08810",
        }
        for name, arguments in VARIANTS.items()
    }
)


def _create(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    model: nn.Module = build_model_with_cfg(
        BiFormer,
        name,
        pretrained,
        pretrained_filter_fn=lambda state_dict, _: rename_released(state_dict),
        feature_cfg={
            "out_indices": tuple(range(len(kwargs.get("depths", (0,) * 4)))),
            "feature_cls": "getter",
        },
        **{**VARIANTS[name], **kwargs},
    )
    return model


@register_model
def biformer_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BiFormer-T: 13.1 M parameters, 2.2 G multiply-adds at 224, 81.4 % ImageNet top-1 as published."""
    return _create("biformer_tiny", pretrained, **kwargs)


@register_model
def biformer_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BiFormer-S: 25.5 M parameters, 4.5 G multiply-adds at 224, 83.8 % ImageNet top-1 as published."""
    return _create("biformer_small", pretrained, **kwargs)


@register_model
def biformer_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BiFormer-B: 56.8 M parameters, 9.8 G multiply-adds at 224, 84.3 % ImageNet top-1 as published."""
    return _create("biformer_base", pretrained, **kwargs)


@register_model
def biformer_stl(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BiFormer in Swin-T's layout: 28.4 M parameters, 4.6 G multiply-adds at 224, 82.7 % as published."""
    return _create("biformer_stl", pretrained, **kwargs)


@register_model
def biformer_stl_nchw(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """BiFormer-STL as its channels-first release computes it: stage 4's LCE convolves the values."""
    return _create("biformer_stl_nchw", pretrained, **kwargs)
