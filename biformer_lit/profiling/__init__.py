"""Costs of a network: parameters, multiply-adds and activation memory counted, speed and memory measured."""

from typing import TYPE_CHECKING

from biformer_lit.facade import offer
from biformer_lit.profiling.complexity import CELLS, complexity
from biformer_lit.profiling.costs import Cost, count_costs, total_cost
from biformer_lit.profiling.duration import estimate_seconds
from biformer_lit.profiling.memory import activation_memory, saved_bytes
from biformer_lit.profiling.profile_commands import cost_table, profile
from biformer_lit.profiling.scaling import CellCost, exponent, scaling
from biformer_lit.profiling.speed import Speed, measure_speed

if TYPE_CHECKING:
    from biformer_lit.profiling.config import measure_config

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

# Lightning, which the tasks need, takes longer to import than most networks to count
__getattr__, __dir__ = offer(__name__, {"measure_config": "biformer_lit.profiling.config"})
