"""The heads that come with the package; importing this makes them known."""

from functools import partial

from biformer_lit.heads.named_heads import DETECTION_HEADS, SEGMENTATION_HEADS, DetectionHead, SegmentationHead
from biformer_lit.heads.rcnn import RegionHead
from biformer_lit.heads.retinanet import AnchorHead
from biformer_lit.heads.semantic_fpn import SemanticFPN
from biformer_lit.heads.upernet import UPerNet

__all__ = ["DETECTION_HEADS", "SEGMENTATION_HEADS"]

SEGMENTATION_HEADS.register("semantic_fpn", SegmentationHead(SemanticFPN))
SEGMENTATION_HEADS.register(
    "upernet", SegmentationHead(UPerNet, channels=512, auxiliary=True, stages=4, pools_images=True)
)

DETECTION_HEADS.register("retinanet", DetectionHead(AnchorHead, first_stage=1, coarser=2, anchor_scale=4.0))
DETECTION_HEADS.register("faster_rcnn", DetectionHead(RegionHead))
DETECTION_HEADS.register("mask_rcnn", DetectionHead(partial(RegionHead, masks=True), masks=True))
