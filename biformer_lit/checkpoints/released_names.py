"""Parameter names of the released code, of either layout, and ours."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

# Released names on the left, ours on the right; the channels-first release has names of its own.
_RENAMES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^stages\.(\d+)\.(?:blocks\.)?(\d+)\.", r"stages.\1.blocks.\2."),
        (r"\.pos_embed\.", ".cpe."),
        (r"\.attn\.lepe\.", ".attn.lce."),
        (r"\.attn\.(?:qkv\.qkv|qkv_linear)\.", ".attn.qkv."),
        (r"\.attn\.(?:wo|output_linear)\.", ".attn.proj."),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.[23]\.", ".mlp.fc2."),
    )
)
_STEM_NAMES = {"0": "conv1", "1": "norm1", "3": "conv2", "4": "norm2"}
_PATCH_STEM_NAMES = {"0": "conv", "1": "norm"}


def is_released(state_dict: Mapping[str, Any]) -> bool:
    """Return whether the parameter names are those of the released code."""
    return any(key.startswith("downsample_layers.") for key in state_dict)


def rename_released(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return released parameters, of either layout, under our names and in our shapes; our own names pass unchanged.

    Args:
        state_dict: Tensors by name. The 1x1 convolutions of the channels-first release become linear layers.

    Returns:
        Tensors by our names, in the same order.
    """
    if not is_released(state_dict):
        return dict(state_dict)
    overlap = "downsample_layers.0.3.weight" in state_dict
    renamed = {}
    for key, tensor in state_dict.items():
        name = key
        if key.startswith("downsample_layers."):
            _, stage, layer, leaf = key.split(".", 3)
            if stage == "0":
                names = _STEM_NAMES if overlap else _PATCH_STEM_NAMES
                name = f"stem.{names.get(layer, layer)}.{leaf}"
            else:
                is_conv = (layer == "0") is overlap
                name = f"stages.{stage}.downsample.{'conv' if is_conv else 'norm'}.{leaf}"
        else:
            for pattern, replacement in _RENAMES:
                name = pattern.sub(replacement, name)
        is_linear = name.endswith(("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight"))
        renamed[name] = tensor.flatten(1) if is_linear else tensor
    return renamed
