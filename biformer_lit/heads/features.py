"""Backbones as extractors of one map for each stage, whichever library they come from."""

import re
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from biformer_lit.backbone import Backbone, BiFormer
from biformer_lit.errors import ConfigError

STRIDES = (4, 8, 16, 32)
"""Strides of the maps that are taken from a backbone of timm's."""


def build_features(backbone: Backbone, timm_backbone: str | None) -> tuple[nn.Module, list[int], list[int]]:
    """A backbone without classifier and last normalisation.

    Args:
        backbone: Our backbone; of one of timm's it sets ``in_chans`` and ``drop_path_rate`` only.
        timm_backbone: Name of a model of timm's to take instead, or None. Nothing is downloaded.

    Returns:
        The module, and the channels and the strides of its maps.

    Raises:
        ConfigError: If there is no such model, or its maps do not have the strides of a pyramid.
    """
    if timm_backbone is None:
        net: Any = backbone.build(0)
        net.prune_intermediate_layers(None, prune_norm=True)
        info = net.feature_info
        return net, [stage["num_chs"] for stage in info], [stage["reduction"] for stage in info]
    if not timm.is_model(timm_backbone):
        raise ConfigError(
            f"timm_backbone={timm_backbone!r} is unknown; python -c 'import timm; print(timm.list_models())' names them"
        )
    options: dict[str, Any] = {"in_chans": backbone.in_chans}
    if backbone.drop_path_rate is not None:
        options["drop_path_rate"] = backbone.drop_path_rate
    with torch.device("meta"):
        info = _create(timm_backbone, options).feature_info
    found = list(info.reduction())
    if not all(stride in found for stride in STRIDES):
        raise ConfigError(
            f"timm_backbone={timm_backbone!r} has maps of strides {', '.join(map(str, found))}; "
            f"choose a model with {', '.join(map(str, STRIDES))}"
        )
    indices = [info.out_indices[found.index(stride)] for stride in STRIDES]
    net = _create(timm_backbone, {**options, "out_indices": indices})
    return net, list(net.feature_info.channels()), list(net.feature_info.reduction())


def _create(name: str, options: Mapping[str, Any]) -> Any:
    """A feature extractor of timm's that takes images of any size, where the model can."""
    fixed = {"features_only": True, "pretrained": False, **options}
    try:
        return timm.create_model(name, strict_img_size=False, **fixed)
    except TypeError:  # most models take any size without being told
        return timm.create_model(name, **fixed)


def stage_maps(net: nn.Module, images: Tensor) -> list[Tensor]:
    """Maps (N, C_i, H_i, W_i) of a module that :func:`build_features` made."""
    if isinstance(net, BiFormer):
        maps: list[Tensor] = net.forward_intermediates(images, intermediates_only=True)  # type: ignore[assignment]
        return maps
    maps = net(images)
    if "NHWC" in str(getattr(net, "output_fmt", "")):
        maps = [x.permute(0, 3, 1, 2) for x in maps]
    return maps


def layer_patterns(net: nn.Module, prefix: str) -> dict[str, Any]:
    """Regular expressions that order the parameters of such a module from input to output, as timm's group matchers.

    Args:
        net: The module.
        prefix: Its name in the network, with a dot.
    """
    inner, prefix = _inner(net, prefix)
    start = re.escape(prefix)
    if not hasattr(inner, "group_matcher"):  # timm's list of layers, which is in order
        names = [name for name, _ in inner.named_children()]
        return {"blocks": [(rf"^{start}{re.escape(name)}\.", (i,)) for i, name in enumerate(names)]}
    matcher: Any = inner.group_matcher(coarse=False)  # type: ignore[operator]

    def prefixed(pattern: str) -> str:
        return f"^{start}(?:{pattern.removeprefix('^')})"

    return {
        name: prefixed(patterns) if isinstance(patterns, str) else [(prefixed(p), suffix) for p, suffix in patterns]
        for name, patterns in matcher.items()
        if patterns is not None
    }


def undecayed(net: nn.Module, prefix: str) -> set[str]:
    """Names of the parameters that the module itself exempts from weight decay."""
    inner, prefix = _inner(net, prefix)
    return {prefix + name for name in inner.no_weight_decay()} if hasattr(inner, "no_weight_decay") else set()  # type: ignore[operator]


def _inner(net: nn.Module, prefix: str) -> tuple[nn.Module, str]:
    """Return the model that timm's extractor wraps, or the model itself if it wraps none."""
    inner = getattr(net, "model", None)
    return (inner, f"{prefix}model.") if isinstance(inner, nn.Module) else (net, prefix)
