"""Settings of a detector."""

from dataclasses import dataclass
from typing import Literal

from biformer_lit.errors import ConfigError
from biformer_lit.heads.named_heads import DETECTION_HEADS, require_head


@dataclass(frozen=True)
class DetectorSettings:
    """Settings of a detector's pyramid and head.

    Args:
        head: ``retinanet``, ``faster_rcnn``, ``mask_rcnn``, which also predicts masks, or one of a plug-in.
        channels: Channels of the pyramid and of the heads' convolutions; the two linear layers for regions have four
            times as many.
        norm: Normalisation in pyramid and heads: ``none`` (released), or ``group``.
        anchor_scale: Side of the smallest square anchor of each level, in strides of the level; None takes 4 for
            retinanet, which has three sizes to a level, and 8 for the others, which have one.
        score_threshold: Least score of a prediction.
        nms_threshold: Of predictions of a class that overlap by more than this IoU the best is kept.
        detections_per_image: Most predictions for an image.
        frozen_batch_norm: Whether the backbone's BatchNorm uses its running statistics in training too, as the
            released configurations do; for pretrained weights.
    """

    head: str = "retinanet"
    channels: int = 256
    norm: Literal["none", "group"] = "none"
    anchor_scale: float | None = None
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    detections_per_image: int = 100
    frozen_batch_norm: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: Naming the field.
        """
        require_head(DETECTION_HEADS, self.head)
        if self.norm not in ("none", "group"):
            raise ConfigError(f"head_norm={self.norm!r} is unknown; use 'none' or 'group'")
        checks = (
            ("head_channels", self.channels, self.channels >= 2, "at least 2"),
            (
                "anchor_scale",
                self.anchor_scale,
                self.anchor_scale is None or self.anchor_scale > 0,
                "above 0, or null for the head's own",
            ),
            ("score_threshold", self.score_threshold, 0 <= self.score_threshold < 1, "at least 0 and below 1"),
            ("nms_threshold", self.nms_threshold, 0 < self.nms_threshold <= 1, "above 0 and at most 1"),
            ("detections_per_image", self.detections_per_image, self.detections_per_image >= 1, "at least 1"),
        )
        for field, value, good, allowed in checks:
            if not good:
                raise ConfigError(f"{field}={value} must be {allowed}")
