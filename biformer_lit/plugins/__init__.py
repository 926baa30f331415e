"""Plug-ins for Lightning's Trainer."""

from biformer_lit.checkpoints.atomic_io import AtomicCheckpointIO
from biformer_lit.running.sync_batchnorm import SyncBatchNorm, is_synchronised

__all__ = ["AtomicCheckpointIO", "SyncBatchNorm", "is_synchronised"]
