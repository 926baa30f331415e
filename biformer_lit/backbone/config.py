"""The backbone as a group of settings, so that every factor of an ablation is one value in a config."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import timm
from torch import nn

from biformer_lit.attention import Padding, RoutingHeads, TopK
from biformer_lit.backbone import variants
from biformer_lit.backbone.patterns import Pattern
from biformer_lit.errors import ConfigError
from biformer_lit.ops import Backend, Routing, RoutingPool


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
        attention: Which keys a query sees: bra, full, window, stripes, dilated or deformable; one value or one per
            stage.
        topk: Regions that a region reads, or all; one value or one per stage.
        regions: S, regions per side, or auto, or a list with one value or (rows, columns) pair per stage.
        routing: How regions are chosen: topk, random, random_fixed or local; one value or one per stage.
        routing_pool: How a region is described to the router: mean or max; one value or one per stage.
        routing_heads: One choice for all heads (shared) or one for each (per_head); one value or one per stage.
        routing_gradient: Whether the regions' affinities also weigh the attention, so that the router learns; one value
            or one per stage.
        window: Tokens per side of a window; one value or one per stage.
        shift: Whether the windows of every second block are shifted.
        stripe_width: Tokens across a stripe; one value or one per stage.
        dilation: Distance between the keys of dilated attention; one value or one per stage.
        deform_stride: Tokens per side for each point of deformable attention; one value or one per stage.
        deform_groups: Groups of heads with points of their own; one value or one per stage.
        deform_range: How far a point may move, in distances between points; one value or one per stage.
        lce: Kernel size of the local context enhancement, 0 = none; one value or one per stage.
        scale: released (dim ** -0.5) or head (head_dim ** -0.5).
        padding: masked, released or released_nchw.
        full_heads: Heads of full attention in the last stage; 0 means dim / head_dim.
        full_qkv_bias: Whether the projection of full attention in the last stage has a bias.
        full_lce_input: What the LCE of full attention in the last stage convolves: input (released) or value (paper).
        backend: How routed attention is computed: auto, reference, gather_sdpa, gather_matmul, masked_sdpa,
            masked_matmul or triton.
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
    attention: Pattern | list[Pattern] | None = None
    topk: TopK | list[TopK] | None = None
    regions: int | Literal["auto"] | list[int | Literal["auto"] | tuple[int, int]] | None = None
    routing: Routing | list[Routing] | None = None
    routing_pool: RoutingPool | list[RoutingPool] | None = None
    routing_heads: RoutingHeads | list[RoutingHeads] | None = None
    routing_gradient: bool | list[bool] | None = None
    window: int | list[int] | None = None
    shift: bool | None = None
    stripe_width: int | list[int] | None = None
    dilation: int | list[int] | None = None
    deform_stride: int | list[int] | None = None
    deform_groups: int | list[int] | None = None
    deform_range: float | list[float] | None = None
    lce: int | list[int] | None = None
    scale: Literal["released", "head"] | None = None
    padding: Padding | None = None
    full_heads: int | None = None
    full_qkv_bias: bool | None = None
    full_lce_input: Literal["input", "value"] | None = None
    backend: Backend | None = None
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
