"""The backbone as a group of settings, so that every factor of an ablation is one value in a config."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import timm
from torch import nn

from biformer_lit.backbone import variants
from biformer_lit.errors import ConfigError


@dataclass(frozen=True)
class Backbone:
    """A released variant and what is to differ from it; None keeps the variant's own value.

    Every field but ``name`` and ``in_chans`` is an argument of :class:`biformer_lit.BiFormer`, where it is
    explained.

    Args:
        name: The variant: biformer_tiny, biformer_small, biformer_base, biformer_stl or biformer_stl_nchw.
        in_chans: Channels of the input image.
        depths: Blocks of each stage.
        dims: Channels of each stage.
        mlp_ratio: Hidden channels of the MLP over the stage's channels; one value or one per stage.
        head_dim: Channels of one attention head.
        stem: overlap (BiFormer) or patch (Swin's layout).
        stem_stride: Down-sampling of the stem: 4 as released, 2 or 1 for small images.
        cpe: Kernel size of the convolutional position encoding, 0 = none.
        attention: bra or full; one value or one per stage.
        topk: Regions that a region reads, or all; one value or one per stage.
        regions: S, regions per side, or a list with one value or (rows, columns) pair per stage.
        lce: Kernel size of the local context enhancement, 0 = none; one value or one per stage.
        scale: released (dim ** -0.5) or head (head_dim ** -0.5).
        padding: masked, released or released_nchw.
        full_heads: Heads of full attention; 0 means dim / head_dim.
        full_qkv_bias: Whether the projection of full attention has a bias.
        full_lce_input: What the LCE of full attention convolves: input (released) or value (paper).
        backend: How routed attention is computed: auto, reference, gather_sdpa or masked_sdpa.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth of the last block.
    """

    name: Literal["biformer_tiny", "biformer_small", "biformer_base", "biformer_stl", "biformer_stl_nchw"] = (
        "biformer_tiny"
    )
    in_chans: int = 3
    depths: list[int] | None = None
    dims: list[int] | None = None
    mlp_ratio: float | list[float] | None = None
    head_dim: int | None = None
    stem: Literal["overlap", "patch"] | None = None
    stem_stride: int | None = None
    cpe: int | None = None
    attention: Literal["bra", "full"] | list[Literal["bra", "full"]] | None = None
    topk: int | Literal["all"] | list[int | Literal["all"]] | None = None
    regions: int | list[int | tuple[int, int]] | None = None
    lce: int | list[int] | None = None
    scale: Literal["released", "head"] | None = None
    padding: Literal["masked", "released", "released_nchw"] | None = None
    full_heads: int | None = None
    full_qkv_bias: bool | None = None
    full_lce_input: Literal["input", "value"] | None = None
    backend: Literal["auto", "reference", "gather_sdpa", "masked_sdpa"] | None = None
    drop_rate: float | None = None
    drop_path_rate: float | None = None

    def build(self, num_classes: int, **overrides: Any) -> nn.Module:
        """The network, a timm model.

        Args:
            num_classes: Outputs of the classifier.
            **overrides: Further arguments of ``timm.create_model``, such as ``features_only``.

        Raises:
            ConfigError: On a setting that cannot work.
        """
        if self.name not in variants.VARIANTS:
            raise ConfigError(f"backbone.name={self.name!r} is unknown; choose one of {', '.join(variants.VARIANTS)}")
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        given = {key: value for key, value in given.items() if value is not None}
        model: nn.Module = timm.create_model(self.name, num_classes=num_classes, **given, **overrides)
        return model
