"""Attention patterns: modules (N, H, W, C) -> (N, H, W, C) that differ only in which keys a query sees."""

from biformer_lit.attention.base import Attention, AttentionCost
from biformer_lit.attention.bra import BiLevelRoutingAttention, Padding, Regions, RoutingHeads, TopK
from biformer_lit.attention.deformable import DeformableAttention
from biformer_lit.attention.dilated import DilatedAttention
from biformer_lit.attention.full import FullAttention
from biformer_lit.attention.record import RoutingRecord, record_routing
from biformer_lit.attention.stripes import StripesAttention
from biformer_lit.attention.window import WindowAttention

__all__ = [
    "Attention",
    "AttentionCost",
    "BiLevelRoutingAttention",
    "DeformableAttention",
    "DilatedAttention",
    "FullAttention",
    "Padding",
    "Regions",
    "RoutingHeads",
    "RoutingRecord",
    "StripesAttention",
    "TopK",
    "WindowAttention",
    "record_routing",
]
