"""The network of semantic segmentation: backbone, a norm for each stage, head."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from biformer_lit.backbone import Backbone
from biformer_lit.backbone.initial import fresh_seed
from biformer_lit.errors import ConfigError
from biformer_lit.heads.dense_network import DenseNetwork
from biformer_lit.heads.features import build_features
from biformer_lit.heads.head_layers import HeadNorm, draw_head, resize
from biformer_lit.heads.named_heads import require_head, require_parts
from biformer_lit.heads.shipped_heads import SEGMENTATION_HEADS
from biformer_lit.heads.upernet import FCN


@dataclass(frozen=True)
class SegmenterSettings:
    """Settings of a segmentation head.

    Args:
        head: ``semantic_fpn``, ``upernet``, or one of a plug-in.
        channels: Channels of the head's levels; None takes 256 for semantic_fpn, 512 for upernet.
        norm: Normalisation in the heads: ``batch`` or ``group``.
        dropout: Probability that a channel is dropped before the classifier, in training.
        auxiliary: Whether a head that has an auxiliary one, as UPerNet, is trained with it.
    """

    head: str = "semantic_fpn"
    channels: int | None = None
    norm: HeadNorm = "batch"
    dropout: float = 0.1
    auxiliary: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: Naming the field.
        """
        require_head(SEGMENTATION_HEADS, self.head)
        if self.channels is not None and self.channels < 2:
            raise ConfigError(f"head_channels={self.channels} must be at least 2, or null for the head's own default")
        if self.norm not in ("batch", "group"):
            raise ConfigError(f"head_norm={self.norm!r} is unknown; use 'batch' or 'group'")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"head_dropout={self.dropout} must be at least 0 and below 1")


class Segmenter(DenseNetwork):
    """Logits for each pixel.

    Images of any size are padded with zeros to multiples of the coarsest stride; the
    logits have the images' size.

    Args:
        backbone: A module of :func:`biformer_lit.heads.features.build_features`.
        channels: Channels of its maps.
        stride: The coarsest map's stride in pixels.
        head: Maps to logits.
        auxiliary: The same from the last map but one, for training, or None.
    """

    def __init__(
        self, backbone: nn.Module, channels: Sequence[int], stride: int, head: nn.Module, auxiliary: nn.Module | None
    ) -> None:
        super().__init__(backbone, channels, stride)
        self.head = head
        self.auxiliary = auxiliary

    @property
    def head_parts(self) -> dict[str, tuple[str, ...]]:
        """Parts of the two heads; see :class:`DenseNetwork`."""
        return {part: (f"{part}classifier.",) for part in ("head.", "auxiliary.")}

    def forward(self, images: Tensor, with_auxiliary: bool = False) -> Tensor | tuple[Tensor, Tensor | None]:
        """Logits, in float32 at least.

        Args:
            images: Images (N, C, H, W) of any size that the backbone takes.
            with_auxiliary: Also return the auxiliary head's logits.

        Returns:
            Logits (N, num_classes, H, W), or these and the auxiliary ones of the same shape (None without that head).
        """
        height, width = images.shape[-2:]
        padded = self.pad(images)
        size = (padded.shape[-2], padded.shape[-1])
        maps = self.maps(padded)
        logits = _to_pixels(self.head(maps), size)[..., :height, :width]
        if not with_auxiliary:
            return logits
        if self.auxiliary is None:
            return logits, None
        return logits, _to_pixels(self.auxiliary(maps[-2]), size)[..., :height, :width]

    def get_classifier(self) -> nn.Module:
        """The last layers, of the head and of the auxiliary one."""
        heads = [head for head in (self.head, self.auxiliary) if head is not None]
        return nn.ModuleList(head.classifier for head in heads)  # type: ignore[misc]


def _to_pixels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits at the image's size. Half precision would make ties between classes, and the loss needs float32 anyway."""
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    return resize(logits, size)


def build_segmenter(
    backbone: Backbone,
    num_classes: int,
    settings: SegmenterSettings = SegmenterSettings(),
    timm_backbone: str | None = None,
) -> Segmenter:
    """The network, drawn from torch's generator; heads are the same for the same seed whatever the backbone draws.

    Args:
        backbone: Our backbone, or what a backbone of timm's takes from it (``in_chans``, ``drop_path_rate``).
        num_classes: Channels of the logits.
        settings: The head.
        timm_backbone: Name of a model of timm's to take instead of ours, for comparisons.

    Raises:
        ConfigError: On a setting that cannot work.
    """
    seed = fresh_seed()
    net, channels, strides = build_features(backbone, timm_backbone)
    written = ", ".join(map(str, strides))
    row = SEGMENTATION_HEADS[settings.head]
    if row.stages is not None and len(strides) != row.stages:
        number = {2: "two", 3: "three", 4: "four"}.get(row.stages, str(row.stages))
        raise ConfigError(
            f"head={settings.head!r} needs {number} stages, but the backbone has {len(strides)}; use 'semantic_fpn'"
        )
    if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        raise ConfigError(f"head={settings.head!r} needs stages whose strides double, but they are {written}")
    width = settings.channels or row.channels
    head = row.build(channels, num_classes, width, settings.dropout, settings.norm)
    require_parts(head, settings.head, ["classifier"])
    auxiliary: nn.Module | None = None
    if row.auxiliary and settings.auxiliary:
        auxiliary = FCN(channels[-2], num_classes, max(width // 2, 1), settings.dropout, settings.norm)
        draw_head(auxiliary, seed + 1)
    draw_head(head, seed)
    return Segmenter(net, channels, strides[-1], head, auxiliary)
