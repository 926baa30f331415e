"""Dense prediction: what turns the maps of a backbone's stages into a prediction for each pixel."""

from biformer_lit.heads.segmenter import Segmenter, SegmenterSettings, build_segmenter
from biformer_lit.heads.semantic_fpn import SemanticFPN
from biformer_lit.heads.upernet import FCN, UPerNet
from biformer_lit.heads.weights import load_segmenter_weights

__all__ = [
    "FCN",
    "Segmenter",
    "SegmenterSettings",
    "SemanticFPN",
    "UPerNet",
    "build_segmenter",
    "load_segmenter_weights",
]
