"""BiFormer in PyTorch Lightning: the released model, its ablations, and the training around it.

Importing the package registers the models with timm: ``timm.create_model("biformer_tiny")``.
"""

from importlib.metadata import PackageNotFoundError, version

from biformer_lit.attention import BiLevelRoutingAttention, RoutingRecord, record_routing
from biformer_lit.backbone import Backbone, BiFormer, LoadReport, convert_checkpoint, fold_norms, load_weights
from biformer_lit.errors import BiFormerLitError, CheckpointError, ConfigError, DataError
from biformer_lit.tasks import ClassificationTask, load_task

try:
    __version__ = version("biformer_lit")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "Backbone",
    "BiFormer",
    "BiFormerLitError",
    "BiLevelRoutingAttention",
    "CheckpointError",
    "ClassificationTask",
    "ConfigError",
    "DataError",
    "LoadReport",
    "RoutingRecord",
    "__version__",
    "convert_checkpoint",
    "fold_norms",
    "load_task",
    "load_weights",
    "record_routing",
]
