"""BiFormer itself: blocks, the whole network, its timm variants and its checkpoints."""

from biformer_lit.backbone.biformer import BiFormer
from biformer_lit.backbone.config import Backbone
from biformer_lit.backbone.fold import fold_norms
from biformer_lit.backbone.registering import register_attention, register_routing
from biformer_lit.backbone.variants import VARIANTS
from biformer_lit.backbone.weights import LoadReport, load_weights
from biformer_lit.checkpoints.conversion import convert_checkpoint

__all__ = [
    "VARIANTS",
    "Backbone",
    "BiFormer",
    "LoadReport",
    "convert_checkpoint",
    "fold_norms",
    "load_weights",
    "register_attention",
    "register_routing",
]
