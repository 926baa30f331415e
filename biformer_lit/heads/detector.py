"""The network of object detection and instance segmentation: backbone, feature pyramid, torchvision's detectors."""

from collections import OrderedDict
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

from biformer_lit.backbone import Backbone
from biformer_lit.backbone.initial import fresh_seed
from biformer_lit.common.seeding import local_seed
from biformer_lit.errors import ConfigError
from biformer_lit.heads.dense_network import DenseNetwork
from biformer_lit.heads.detector_settings import DetectorSettings
from biformer_lit.heads.features import build_features
from biformer_lit.heads.head_layers import build_norm
from biformer_lit.heads.named_heads import require_parts
from biformer_lit.heads.shipped_heads import DETECTION_HEADS
from biformer_lit.seams.torch_seams import is_batch_norm

Objects: TypeAlias = dict[str, Tensor]


class Detector(DenseNetwork):
    """Objects in images.

    Images are taken as they come: neither normalised nor resized here.

    Args:
        backbone: A module of :func:`biformer_lit.heads.features.build_features`.
        channels: Channels of its maps.
        stride: The coarsest map's stride in pixels.
        first: The first map that is used.
        pyramid: From the maps to those of the levels.
        head: From the levels to losses or objects.
        frozen_batch_norm: See :class:`DetectorSettings`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: list[int],
        stride: int,
        first: int,
        pyramid: FeaturePyramidNetwork,
        head: nn.Module,
        frozen_batch_norm: bool,
    ) -> None:
        super().__init__(backbone, channels, stride, first)
        self.pyramid = pyramid
        self.head: Any = head
        self.frozen_batch_norm = frozen_batch_norm
        self._compiled: Any = None

    @property
    def head_parts(self) -> dict[str, tuple[str, ...]]:
        """The pyramid, and the parts that the head names; see :class:`DenseNetwork`."""
        parts = getattr(self.head, "parts", {"": ()})
        return {"pyramid.": ()} | {f"head.{part}": tuple(f"head.{x}" for x in found) for part, found in parts.items()}

    def levels(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        """Maps (N, channels, H_i, W_i) of the pyramid by the names of the levels, finest first."""
        maps = self.maps(images)
        levels: OrderedDict[str, Tensor] = self.pyramid(OrderedDict((str(i), x) for i, x in enumerate(maps)))
        return levels

    def forward(
        self, images: Tensor, sizes: list[tuple[int, int]], targets: list[Objects] | None = None
    ) -> dict[str, Tensor] | list[Objects]:
        """Losses in training, objects in evaluation.

        Args:
            images: Images (N, C, H, W), padded to the right and at the bottom.
            sizes: Height and width of each without padding.
            targets: In training, for each image ``boxes`` (n, 4), left, top, right, bottom in pixels, ``labels`` (n,),
                int64 from 0 on, and with mask_rcnn ``masks`` (n, h, w), uint8.

        Returns:
            In training the losses by their names. In evaluation for each image ``boxes`` (n, 4), ``labels`` (n,),
            ``scores`` (n,), best first, and with mask_rcnn ``masks`` (n, 1, 28, 28), the probabilities in the boxes.
        """
        padded = self.pad(images)
        levels = (self._compiled or self.levels)(padded)
        found: dict[str, Tensor] | list[Objects] = self.head(levels, ImageList(padded, sizes), targets)
        return found

    def predict_for_counting(self, images: Tensor) -> None:
        """Compute a prediction whose multiply-adds do not depend on what the images show.

        Args:
            images: Images (N, C, H, W); see ``predict_for_counting`` of the head for what it takes for granted.
        """
        if hasattr(self.head, "predict_for_counting"):
            self.head.predict_for_counting(list(self.levels(self.pad(images)).values()))
        else:
            self(images, [(images.shape[-2], images.shape[-1])] * len(images))

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile backbone and pyramid; what follows depends on the objects, and so differs from image to image."""
        self._compiled = torch.compile(self.levels, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and other processes: that of any module, without compiled code."""
        state = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**state, "_compiled": None}

    def train(self, mode: bool = True) -> "Detector":
        """Training or evaluation; frozen norms stay in evaluation."""
        super().train(mode)
        if self.frozen_batch_norm:
            for part in self.backbone.modules():
                if is_batch_norm(part):
                    part.eval()
        return self

    def get_classifier(self) -> nn.Module:
        """The last layers of the head."""
        last: nn.Module = self.head.get_classifier()
        return last


def build_detector(
    backbone: Backbone,
    num_classes: int,
    settings: DetectorSettings = DetectorSettings(),  # noqa: B008 (frozen)
    timm_backbone: str | None = None,
) -> Detector:
    """The network, drawn from torch's generator; heads are the same for the same seed whatever the backbone draws.

    Args:
        backbone: Our backbone, or what a backbone of timm's takes from it (``in_chans``, ``drop_path_rate``).
        num_classes: Number of classes, without a background.
        settings: Pyramid and head.
        timm_backbone: Name of a model of timm's to take instead of ours, for comparisons.

    Raises:
        ConfigError: On a setting that cannot work.
    """
    seed = fresh_seed()
    net, channels, strides = build_features(backbone, timm_backbone)
    if len(strides) < 2 or any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        written = ", ".join(map(str, strides))
        raise ConfigError(
            f"head={settings.head!r} needs two or more stages whose strides double, but they are {written}"
        )
    row = DETECTION_HEADS[settings.head]
    first = row.first_stage
    levels = [*strides[first:], *(strides[-1] * 2**i for i in range(1, row.coarser + 1))]
    sides = [(settings.anchor_scale or row.anchor_scale) * stride for stride in levels]
    norm = (lambda width: build_norm("group", width)) if settings.norm == "group" else None
    with local_seed(seed, "detector"):
        extra = LastLevelMaxPool() if row.coarser == 1 else LastLevelP6P7(channels[-1], settings.channels)
        if isinstance(extra, LastLevelP6P7):
            extra.use_P5 = False  # torchvision would take P5 where the widths happen to be equal
        pyramid = FeaturePyramidNetwork(channels[first:], settings.channels, extra, norm)
        head = row.build(settings, num_classes, sides, [str(i) for i in range(len(channels) - first)], norm)
    require_parts(head, settings.head, ["get_classifier"])
    return Detector(net, channels, strides[-1], first, pyramid, head, settings.frozen_batch_norm)
