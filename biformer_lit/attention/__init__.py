"""Attention patterns: modules (N, H, W, C) -> (N, H, W, C) that differ only in which keys a query sees."""

from biformer_lit.attention.base import PATTERNS, Attention, AttentionCost
from biformer_lit.attention.bra import BiLevelRoutingAttention, Padding, Regions, RoutingHeads, TopK
from biformer_lit.attention.deformable import DeformableAttention
from biformer_lit.attention.dilated import DilatedAttention
from biformer_lit.attention.full import FullAttention
from biformer_lit.attention.record import RoutingRecord, record_routing
from biformer_lit.attention.rules import ROUTINGS
from biformer_lit.attention.settings import BY_PLACE, ONE_FOR_ALL, Declared, Place, Setting
from biformer_lit.attention.stripes import StripesAttention
from biformer_lit.attention.window import WindowAttention

__all__ = [
    "BY_PLACE",
    "ONE_FOR_ALL",
    "PATTERNS",
    "ROUTINGS",
    "Attention",
    "AttentionCost",
    "BiLevelRoutingAttention",
    "Declared",
    "DeformableAttention",
    "DilatedAttention",
    "FullAttention",
    "Padding",
    "Place",
    "Regions",
    "RoutingHeads",
    "RoutingRecord",
    "Setting",
    "StripesAttention",
    "TopK",
    "WindowAttention",
    "record_routing",
]

PATTERNS.register("bra", BiLevelRoutingAttention)
PATTERNS.register("full", FullAttention)
PATTERNS.register("window", WindowAttention)
PATTERNS.register("stripes", StripesAttention)
PATTERNS.register("dilated", DilatedAttention)
PATTERNS.register("deformable", DeformableAttention)
