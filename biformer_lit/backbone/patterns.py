"""From settings by stage to the attention module of each block."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from biformer_lit.attention import (
    Attention,
    BiLevelRoutingAttention,
    DeformableAttention,
    DilatedAttention,
    FullAttention,
    StripesAttention,
    WindowAttention,
)
from biformer_lit.backbone.settings import heads_of, per_stage, topk_per_stage
from biformer_lit.errors import ConfigError

Pattern: TypeAlias = Literal["bra", "full", "window", "stripes", "dilated", "deformable"]
PATTERNS: tuple[str, ...] = get_args(Pattern)

_MODULES: dict[str, type[Attention]] = {
    "bra": BiLevelRoutingAttention,
    "full": FullAttention,
    "window": WindowAttention,
    "stripes": StripesAttention,
    "dilated": DilatedAttention,
    "deformable": DeformableAttention,
}
# the settings that each pattern's module takes beside its width, heads and LCE
_SETTINGS: dict[str, tuple[str, ...]] = {
    "bra": (
        "topk",
        "regions",
        "routing",
        "routing_pool",
        "routing_heads",
        "routing_gradient",
        "scale",
        "padding",
        "backend",
    ),
    "full": (),
    "window": ("window",),
    "stripes": ("stripe_width",),
    "dilated": ("dilation",),
    "deformable": ("deform_stride", "deform_groups", "deform_range"),
}


def attention_builder(
    pattern: Pattern | Sequence[Pattern],
    dims: Sequence[int],
    head_dim: int,
    lce: int | Sequence[int],
    settings: Mapping[str, Any],
) -> Callable[[int, int], Attention]:
    """A function of (stage, block) that makes the block's attention.

    Args:
        pattern: The pattern; per stage.
        dims: Channels of each stage.
        head_dim: Channels of one head.
        lce: Kernel size of the LCE; per stage.
        settings: The patterns' settings by name as :class:`biformer_lit.BiFormer` takes them, each per stage. Those of
            patterns that no stage uses are not looked at.

    Raises:
        ConfigError: If a setting has not one value for each stage, or the pattern is unknown.
    """
    count = len(dims)
    patterns = per_stage("attention", pattern, count)
    for name in patterns:
        if name not in PATTERNS:
            raise ConfigError(f"attention={name!r} is unknown; choose one of {', '.join(PATTERNS)}")
    lces = per_stage("lce", lce, count)
    used = {name for kind in patterns for name in _SETTINGS[kind]}
    values = {name: per_stage(name, settings[name], count) for name in used - {"topk"}}
    values["topk"] = topk_per_stage(settings["topk"], patterns) if "topk" in used else []

    def build(stage: int, block: int) -> Attention:
        kind = patterns[stage]
        arguments = {name: values[name][stage] for name in _SETTINGS[kind]}
        if kind == "window":
            arguments["shifted"] = bool(settings["shift"] and block % 2)
        if kind == "full" and stage == count - 1:  # as the last stage of the release, where full is not like the others
            heads = settings["full_heads"] or heads_of(dims[stage], head_dim)
            arguments |= {"lce_input": settings["full_lce_input"], "qkv_bias": settings["full_qkv_bias"]}
        else:
            heads = heads_of(dims[stage], head_dim)
        return _MODULES[kind](dims[stage], heads, lce=lces[stage], **arguments)

    return build
