"""Pure tensor functions of attention over maps: partition, route, attend. No parameters live here."""

from biformer_lit.ops.attend import BACKENDS, Backend, attend
from biformer_lit.ops.groups import attend_groups
from biformer_lit.ops.regions import RegionGrid, merge, optimal_regions, partition
from biformer_lit.ops.route import (
    Routing,
    RoutingPool,
    affinities,
    best,
    route,
    route_by_seed,
    route_locally,
    route_randomly,
)

__all__ = [
    "BACKENDS",
    "Backend",
    "RegionGrid",
    "Routing",
    "RoutingPool",
    "affinities",
    "attend",
    "attend_groups",
    "best",
    "merge",
    "optimal_regions",
    "partition",
    "route",
    "route_by_seed",
    "route_locally",
    "route_randomly",
]
