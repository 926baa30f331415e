"""Costs of a network: parameters, multiply-adds and activation memory counted, speed and memory measured."""

from biformer_lit.profiling.command import cost_table, profile
from biformer_lit.profiling.complexity import CELLS, complexity
from biformer_lit.profiling.config import measure_config
from biformer_lit.profiling.costs import Cost, count_costs, total_cost
from biformer_lit.profiling.duration import estimate_seconds
from biformer_lit.profiling.memory import activation_memory, saved_bytes
from biformer_lit.profiling.scaling import CellCost, exponent, scaling
from biformer_lit.profiling.speed import Speed, measure_speed

__all__ = [
    "CELLS",
    "CellCost",
    "Cost",
    "Speed",
    "activation_memory",
    "complexity",
    "cost_table",
    "count_costs",
    "estimate_seconds",
    "exponent",
    "measure_config",
    "measure_speed",
    "profile",
    "saved_bytes",
    "scaling",
    "total_cost",
]
