"""Pure tensor functions of bi-level routing attention: partition, route, attend. No parameters live here."""

from biformer_lit.ops.attend import BACKENDS, Backend, attend
from biformer_lit.ops.regions import RegionGrid, merge, partition
from biformer_lit.ops.route import route

__all__ = ["BACKENDS", "Backend", "RegionGrid", "attend", "merge", "partition", "route"]
