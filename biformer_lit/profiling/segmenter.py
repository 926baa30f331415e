"""Parameters and multiply-adds of a segmentation network."""

from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from biformer_lit.backbone import Backbone
from biformer_lit.heads import SegmenterSettings, build_segmenter
from biformer_lit.profiling.costs import interpolation_flops, parameters


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
    reading = {torch.ops.aten.grid_sampler_2d: interpolation_flops}  # unknown to the counter
    with FlopCounterMode(display=False, custom_mapping=reading) as counter, torch.no_grad():
        net(image)
    return parameters(net), counter.get_total_flops() // 2
