"""Parameters and multiply-adds of the networks of dense tasks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from biformer_lit.backbone import Backbone
from biformer_lit.heads import AnchorHead, DetectorSettings, SegmenterSettings, build_detector, build_segmenter
from biformer_lit.profiling.costs import interpolation_flops, parameters

_PROPOSALS = 1000  # that are classified


def measure_segmenter(
    backbone: Backbone,
    num_classes: int,
    settings: SegmenterSettings,
    size: tuple[int, int],
    timm_backbone: str | None = None,
) -> tuple[int, int]:
    """Count the parameters and the multiply-adds of one prediction; nothing is computed.

    Args:
        backbone: The backbone.
        num_classes: Channels of the logits.
        settings: The head.
        size: Height and width of the image in pixels.
        timm_backbone: Name of a model of timm's in the backbone's place.

    Returns:
        Parameters, the auxiliary head's included, and MACs, in which it has no part; what is counted is said at
        :class:`biformer_lit.profiling.Cost`. Up-sampling between maps counts as pooling does: not at all.

    Raises:
        ConfigError: On a network that cannot be built or does not fit the image.
    """
    with torch.device("meta"):
        net = build_segmenter(replace(backbone, backend="reference"), num_classes, settings, timm_backbone).eval()
        image = torch.empty(1, backbone.in_chans, *size)
    return parameters(net), _count_macs(lambda: net(image))


def measure_detector(
    backbone: Backbone,
    num_classes: int,
    settings: DetectorSettings,
    size: tuple[int, int],
    timm_backbone: str | None = None,
) -> tuple[int, int]:
    """Count the parameters and the multiply-adds of one prediction; nothing is computed.

    Args:
        backbone: The backbone.
        num_classes: Number of classes.
        settings: Pyramid and head.
        size: Height and width of the image in pixels.
        timm_backbone: Name of a model of timm's in the backbone's place.

    Returns:
        Parameters and MACs; of faster_rcnn and mask_rcnn for 1,000 proposals, and masks for as many objects as are
        kept at most. Suppressing overlaps and cutting regions out count as pooling does: not at all.

    Raises:
        ConfigError: On a network that cannot be built or does not fit the image.
    """
    with torch.device("meta"):
        net = build_detector(replace(backbone, backend="reference"), num_classes, settings, timm_backbone).eval()
        image = torch.empty(1, backbone.in_chans, *(-(-side // net.stride) * net.stride for side in size))

    def predict() -> None:
        maps = list(net.levels(image).values())
        if isinstance(net.head, AnchorHead):
            net.head.head(maps)
            return
        net.head.rpn.head(maps)
        heads = net.head.roi_heads
        heads.box_predictor(heads.box_head(_regions(settings, _PROPOSALS, heads.box_roi_pool)))
        if heads.has_mask():
            heads.mask_predictor(
                heads.mask_head(_regions(settings, settings.detections_per_image, heads.mask_roi_pool))
            )

    return parameters(net), _count_macs(predict)


def _regions(settings: DetectorSettings, count: int, pool: Any) -> Tensor:
    return torch.empty(count, settings.channels, *pool.output_size, device="meta")


def _count_macs(predict: Callable[[], Any]) -> int:
    reading = {torch.ops.aten.grid_sampler_2d: interpolation_flops}  # unknown to the counter
    with FlopCounterMode(display=False, custom_mapping=reading) as counter, torch.no_grad():
        predict()
    return int(counter.get_total_flops() // 2)
