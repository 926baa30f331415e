"""Heads of dense tasks, which turn the maps of a backbone's stages into classes of pixels, boxes or masks."""

from biformer_lit.heads.dense_network import DenseNetwork
from biformer_lit.heads.dense_weights import load_dense_weights
from biformer_lit.heads.detector import Detector, build_detector
from biformer_lit.heads.detector_settings import DetectorSettings
from biformer_lit.heads.rcnn import RegionHead
from biformer_lit.heads.retinanet import AnchorHead
from biformer_lit.heads.segmenter import Segmenter, SegmenterSettings, build_segmenter
from biformer_lit.heads.semantic_fpn import SemanticFPN
from biformer_lit.heads.shipped_heads import DETECTION_HEADS, SEGMENTATION_HEADS
from biformer_lit.heads.upernet import FCN, UPerNet

__all__ = [
    "DETECTION_HEADS",
    "FCN",
    "SEGMENTATION_HEADS",
    "AnchorHead",
    "DenseNetwork",
    "Detector",
    "DetectorSettings",
    "RegionHead",
    "Segmenter",
    "SegmenterSettings",
    "SemanticFPN",
    "UPerNet",
    "build_detector",
    "build_segmenter",
    "load_dense_weights",
]
