"""Routing made visible: the regions that are read, as numbers, as pictures, and from the command line."""

from biformer_lit.routing.blocks import RoutedBlock, record_blocks, routing_backbone
from biformer_lit.routing.draw import draw_block, draw_sheet
from biformer_lit.routing.statistics import (
    chosen,
    in_degree,
    indegree_entropy,
    neighbour_overlap,
    never_chosen,
    overlap,
    routing_statistics,
)

__all__ = [
    "RoutedBlock",
    "chosen",
    "draw_block",
    "draw_sheet",
    "in_degree",
    "indegree_entropy",
    "neighbour_overlap",
    "never_chosen",
    "overlap",
    "record_blocks",
    "routing_backbone",
    "routing_statistics",
]
