"""Base of the networks of dense tasks: a backbone, a norm for each of its maps, heads."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from biformer_lit.heads.features import layer_patterns, stage_maps, undecayed


class DenseNetwork(nn.Module):
    """Backbone and added norms, under the parts of timm's model contract that training uses.

    As in the released code, LayerNorm over the channels is added to the output of each stage.

    Args:
        backbone: A module of :func:`biformer_lit.heads.features.build_features`.
        channels: Channels of its maps.
        stride: The coarsest map's stride in pixels.
        first: The first map that is used.
    """

    def __init__(self, backbone: nn.Module, channels: Sequence[int], stride: int, first: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        # by the number of the stage, so that networks that use all stages and those that do not share weights
        self.norms = nn.ModuleDict({str(i): LayerNorm2d(channels[i]) for i in range(first, len(channels))})
        self.stride = stride
        self.first = first

    @property
    def head_parts(self) -> dict[str, tuple[str, ...]]:
        """Beginnings of the names of what belongs together in the heads, and for each of what depends on the classes.

        Weights of a file fill a part, or a part without what depends on the number of classes, or leave it fresh.
        """
        raise NotImplementedError

    def pad(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) with zeros to the right and at the bottom, to multiples of the coarsest stride."""
        right, bottom = -images.shape[-1] % self.stride, -images.shape[-2] % self.stride
        return F.pad(images, (0, right, 0, bottom)) if right or bottom else images

    def maps(self, images: Tensor) -> list[Tensor]:
        """Normalised maps (N, C_i, H_i, W_i) of the stages that are used, finest first, of padded images."""
        stages = stage_maps(self.backbone, self.pad(images))[self.first :]
        return [norm(x) for norm, x in zip(self.norms.values(), stages, strict=True)]

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay: biases, normalisation, and what the backbone exempts."""
        own = {name for name, parameter in self.named_parameters() if parameter.ndim <= 1}
        return own | undecayed(self.backbone, "backbone.")

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Regular expressions that order the backbone's parameters; norms and heads match none and so come last."""
        return layer_patterns(self.backbone, "backbone.")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the backbone's blocks in the backward pass instead of keeping their activations."""
        inner = getattr(self.backbone, "model", self.backbone)
        inner.set_grad_checkpointing(enable)  # type: ignore[operator]
