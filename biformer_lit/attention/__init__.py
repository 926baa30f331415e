"""Attention patterns: modules (N, H, W, C) -> (N, H, W, C) that differ only in which keys a query sees."""

from biformer_lit.attention.base import Attention
from biformer_lit.attention.bra import BiLevelRoutingAttention, Padding, Regions, TopK
from biformer_lit.attention.full import FullAttention

__all__ = ["Attention", "BiLevelRoutingAttention", "FullAttention", "Padding", "Regions", "TopK"]
