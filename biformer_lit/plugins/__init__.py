"""Plug-ins for Lightning's Trainer."""

from biformer_lit.plugins.checkpoint_io import AtomicCheckpointIO
from biformer_lit.plugins.sync_batchnorm import SyncBatchNorm, is_synchronised

__all__ = ["AtomicCheckpointIO", "SyncBatchNorm", "is_synchronised"]
