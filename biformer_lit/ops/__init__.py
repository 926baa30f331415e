"""Pure tensor functions of attention over maps: partition, route, attend. No parameters live here."""

from biformer_lit.ops.attend import BACKENDS, Backend, attend
from biformer_lit.ops.groups import attend_groups, attend_within
from biformer_lit.ops.regions import RegionGrid, merge, optimal_regions, partition
from biformer_lit.ops.route import (
    RoutingPool,
    affinities,
    best,
    describe_regions,
    full_precision,
    route,
    route_by_seed,
    route_locally,
    route_randomly,
)

__all__ = [
    "BACKENDS",
    "Backend",
    "RegionGrid",
    "RoutingPool",
    "affinities",
    "attend",
    "attend_groups",
    "attend_within",
    "best",
    "describe_regions",
    "full_precision",
    "merge",
    "optimal_regions",
    "partition",
    "route",
    "route_by_seed",
    "route_locally",
    "route_randomly",
]
