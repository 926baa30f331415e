"""BiFormer: stages of routed attention under timm's model contract."""

import logging
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor, nn

from biformer_lit.backbone.architecture import PatternName, attention_builder, check_layout, per_stage
from biformer_lit.backbone.blocks import Block, Stage, Stem, build_downsample, build_stem
from biformer_lit.backbone.initial import draw_weights, fresh_seed
from biformer_lit.checkpoints.fitting import check_fits
from biformer_lit.checkpoints.released_names import is_released, rename_released
from biformer_lit.errors import CheckpointError, ConfigError
from biformer_lit.seams.timm_seams import feature_take_indices

logger = logging.getLogger(__name__)


class BiFormer(nn.Module):
    """Vision transformer with bi-level routing attention (https://arxiv.org/abs/2303.08810).

    The defaults are ``biformer_tiny`` as released. Where the release and the paper's equations differ, the
    default is the release (so that its checkpoints give its figures) and the paper is an option; the one
    exception is ``padding``. An argument "per stage" takes one value for all stages or one value for each.

    Args:
        in_chans: Channels of the input image.
        num_classes: Outputs of the classifier; 0 leaves it out.
        global_pool: ``avg`` (mean over the map) or an empty string (none, the head sees a map).
        depths: Blocks of each stage; its length is the number of stages.
        dims: Channels of each stage.
        mlp_ratio: Hidden channels of the MLP over the stage's channels; per stage.
        head_dim: Channels of one attention head.
        stem: ``overlap`` (3x3 convolutions, BiFormer) or ``patch`` (patchify and merge, Swin's layout).
        stem_stride: Down-sampling of the stem: 4 as released, 2 or 1 for small images.
        cpe: Kernel size of the convolutional position encoding before each block, 0 = none.
        attention: Which keys a query sees: ``bra`` (the routed regions), ``full`` (all), ``window``, ``stripes``,
            ``dilated`` or ``deformable``; per stage. The release uses full attention in the last stage, where
            the paper says top-k = S * S, which is the same set of keys.
        lce: Kernel size of the local context enhancement, 0 = none; per stage.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth of the last block; it grows linearly from 0 at the first.
        **settings: Settings of the attention patterns and routing rules, declared where they are used.

    Raises:
        ConfigError: On a setting that cannot work, with stage, value and remedy.
    """

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: Literal["avg", ""] = "avg",
        *,
        depths: Sequence[int] = (2, 2, 8, 2),
        dims: Sequence[int] = (64, 128, 256, 512),
        mlp_ratio: float | Sequence[float] = 3.0,
        head_dim: int = 32,
        stem: Stem = "overlap",
        stem_stride: int = 4,
        cpe: int = 3,
        attention: PatternName | Sequence[PatternName] = ("bra", "bra", "bra", "full"),
        lce: int | Sequence[int] = 5,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__()
        seed = fresh_seed()  # before any layer takes numbers of its own
        check_layout(depths, dims, head_dim, cpe, in_chans, num_classes, global_pool, drop_path_rate, drop_rate)
        count = len(depths)
        ratios = per_stage("mlp_ratio", mlp_ratio, count)
        build_attention = attention_builder(attention, dims, head_dim, lce, settings)
        self._told: set[int] = set()  # stages whose map was too small for their settings
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = dims[-1]
        self.global_pool = global_pool
        self.patchify = stem == "patch"
        self.stem_stride = stem_stride
        self.stem = build_stem(stem, in_chans, dims[0], stem_stride)
        drop_path = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist()
        first_block = [0, *accumulate(depths)]
        stages = []
        for i, depth in enumerate(depths):
            rates = drop_path[first_block[i] : first_block[i] + depth]
            try:
                blocks = [
                    Block(dims[i], build_attention(i, block), mlp_ratio=ratios[i], cpe=cpe, drop_path=rate)
                    for block, rate in enumerate(rates)
                ]
            except ConfigError as error:
                raise ConfigError(f"stage {i + 1}: {error}") from None
            downsample = build_downsample(stem, dims[i - 1], dims[i]) if i else None
            stages.append(Stage(downsample, blocks))
        self.stages = nn.Sequential(*stages)
        self.feature_info = [
            {"num_chs": dim, "reduction": stem_stride * 2**i, "module": f"stages.{i}"} for i, dim in enumerate(dims)
        ]
        self.norm: nn.Module = nn.BatchNorm2d(dims[-1])
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(dims[-1], num_classes) if num_classes else nn.Identity()
        draw_weights(self, seed)

    # -- timm's contract ---------------------------------------------------------------------------------

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay: biases and normalisation.

        The released code names parameters that it does not have; timm and the released training script exempt
        one-dimensional parameters all the same, and those are the ones named here.
        """
        return {name for name, parameter in self.named_parameters() if parameter.ndim <= 1}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Regular expressions that order the parameters from input to output, for layer-wise decay."""
        blocks = [
            (r"^stages\.(\d+)\.downsample", (0,)),
            (r"^stages\.(\d+)\.blocks\.(\d+)", None),
            (r"^norm", (99999,)),
        ]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations."""
        for stage in self.stages:
            stage.grad_checkpointing = enable  # type: ignore[assignment]

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: Literal["avg", ""] | None = None) -> None:
        """Put a fresh classifier with ``num_classes`` outputs in place of the present one; 0 removes it."""
        if global_pool is not None:
            self.global_pool = global_pool
        self.num_classes = num_classes
        like = next(self.parameters())
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        draw_weights(self.head, fresh_seed(), "head")
        self.head.to(device=like.device, dtype=like.dtype)

    def prune_intermediate_layers(
        self, indices: int | list[int] | None = None, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the layers that the wanted feature maps do not need; returns the indices that remain."""
        take, last = feature_take_indices(len(self.stages), indices)
        self.stages = self.stages[: last + 1]
        if prune_norm:
            self.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0)
        return list(take)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Feature maps after chosen stages.

        Args:
            x: Images (N, in_chans, H, W).
            indices: Which stages: the last n, or a list, or None for all.
            norm: Apply the final normalisation to the last stage's map.
            stop_early: Leave out the stages after the last wanted one.
            output_fmt: Only ``NCHW``.
            intermediates_only: Return the maps alone.

        Returns:
            The maps (N, C_i, H_i, W_i), or (final features, maps).
        """
        if output_fmt != "NCHW":
            raise ConfigError(f"output_fmt={output_fmt!r} is not supported; use 'NCHW'")
        take, last = feature_take_indices(len(self.stages), indices)
        intermediates = []
        x = self._embed(x)
        stages = self.stages[: last + 1] if stop_early else self.stages
        for i, stage in enumerate(stages):
            x = stage(x)
            if i in take:
                intermediates.append(self.norm(x) if norm and i == len(self.stages) - 1 else x)
        if intermediates_only:
            return intermediates
        return (self.norm(x) if len(stages) == len(self.stages) else x), intermediates

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (N, in_chans, H, W) to the normalised map (N, C, H', W') of the last stage."""
        features: Tensor = self.norm(self.stages(self._embed(x)))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes), or to the pooled features before the classifier."""
        x = x.mean((2, 3)) if self.global_pool == "avg" else x.permute(0, 2, 3, 1)
        x = self.head_drop(x)
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, in_chans, H, W) to logits (N, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load our own or the released parameter names; nothing is loaded unless everything fits.

        Raises:
            CheckpointError: If ``strict`` and keys are missing, left over or of another shape.
        """
        if is_released(state_dict):
            # timm.create_model(checkpoint_path=...) ends here, having chosen the averaged weights where a file
            # has both, without a way for us to know; so the difference is said instead
            logger.warning(
                "weights under released BiFormer names: timm's checkpoint_path takes model_ema where a file has "
                "it, but the released figures are the raw weights', which biformer_lit.load_weights takes"
            )
            state_dict = rename_released(state_dict)
        if strict and (problem := check_fits(self, state_dict)):
            raise CheckpointError(
                f"{problem}; biformer_lit.load_weights(model, path) loads into another number of classes"
            )
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    # -- inside ------------------------------------------------------------------------------------------

    def _embed(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.in_chans:
            raise ConfigError(f"in_chans={self.in_chans}, but the images have {x.shape[1]} channels; make them equal")
        self.check_image_size(x.shape[2], x.shape[3])
        # channels-last throughout: convolutions keep it, and attention reads it as NHWC without a copy
        embedded: Tensor = self.stem(x.contiguous(memory_format=torch.channels_last))
        return embedded

    def map_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Rows and columns of each stage's map for an image of this size, in tokens."""

        def down(size: int, stride: int) -> int:
            return size // stride if self.patchify else -(-size // stride)

        sizes = [(down(height, self.stem_stride), down(width, self.stem_stride))]
        for _ in self.stages[1:]:
            sizes.append((down(sizes[-1][0], 2), down(sizes[-1][1], 2)))
        return sizes

    def check_image_size(self, height: int, width: int) -> None:
        """Refuse an image of which nothing is left, and tell once of each stage whose map is small for its settings.

        Raises:
            ConfigError: With the stage and the remedy.
        """
        for i, (stage, (rows, columns)) in enumerate(zip(self.stages, self.map_sizes(height, width), strict=True), 1):
            # the size is written out only where it is refused: doing so fixes it for the compiler
            if min(rows, columns) < 1:
                raise ConfigError(
                    f"stage {i} of a {height}x{width} image: nothing is left of the map; use larger images or "
                    "stem_stride=1"
                )
            if torch.compiler.is_compiling() or i in self._told:
                continue
            attention: Any = stage.get_submodule("blocks.0.attn")
            shortfall = attention.shortfall(rows, columns)
            if shortfall is not None:
                self._told.add(i)
                logger.warning("stage %d of a %dx%d image: %s", i, height, width, shortfall)
