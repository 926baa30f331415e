"""BiFormer in PyTorch Lightning: the released model, its ablations, and the training around it.

Importing the package registers the models with timm: ``timm.create_model("biformer_tiny")``.
"""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from biformer_lit.errors import BiFormerLitError, CheckpointError, ConfigError, DataError
from biformer_lit.facade import offer
from biformer_lit.running.invocation import is_command_line, is_spawned

if TYPE_CHECKING:
    from biformer_lit.attention import BiLevelRoutingAttention, RoutingRecord, record_routing
    from biformer_lit.backbone import (
        Backbone,
        BiFormer,
        LoadReport,
        convert_checkpoint,
        fold_norms,
        load_weights,
        register_attention,
        register_routing,
    )
    from biformer_lit.cli.reading import recipe
    from biformer_lit.data import (
        ClassificationDataModule,
        DetectionDataModule,
        HFDataModule,
        SegmentationDataModule,
        image_transform,
        register_dataset,
    )
    from biformer_lit.data.own_transforms import register_transform
    from biformer_lit.dense.new_heads import register_head
    from biformer_lit.extending import load_plugin
    from biformer_lit.plugins import AtomicCheckpointIO
    from biformer_lit.tasks import (
        BiFormerTask,
        ClassificationTask,
        DetectionTask,
        SegmentationTask,
        load_task,
        register_task,
    )

try:
    __version__ = version("biformer_lit")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "AtomicCheckpointIO",
    "Backbone",
    "BiFormer",
    "BiFormerLitError",
    "BiFormerTask",
    "BiLevelRoutingAttention",
    "CheckpointError",
    "ClassificationDataModule",
    "ClassificationTask",
    "ConfigError",
    "DataError",
    "DetectionDataModule",
    "DetectionTask",
    "HFDataModule",
    "LoadReport",
    "RoutingRecord",
    "SegmentationDataModule",
    "SegmentationTask",
    "__version__",
    "convert_checkpoint",
    "fold_norms",
    "image_transform",
    "load_plugin",
    "load_task",
    "load_weights",
    "recipe",
    "record_routing",
    "register_attention",
    "register_dataset",
    "register_head",
    "register_routing",
    "register_task",
    "register_transform",
]

_HOMES = {
    "AtomicCheckpointIO": "plugins",
    **dict.fromkeys(("BiLevelRoutingAttention", "RoutingRecord", "record_routing"), "attention"),
    **dict.fromkeys(
        (
            *("Backbone", "BiFormer", "LoadReport", "convert_checkpoint", "fold_norms", "load_weights"),
            *("register_attention", "register_routing"),
        ),
        "backbone",
    ),
    **dict.fromkeys(
        (
            *("ClassificationDataModule", "DetectionDataModule", "HFDataModule", "SegmentationDataModule"),
            *("image_transform", "register_dataset"),
        ),
        "data",
    ),
    "load_plugin": "extending",
    "register_transform": "data.own_transforms",
    "register_head": "dense.new_heads",
    "recipe": "cli.reading",
    **dict.fromkeys(
        ("BiFormerTask", "ClassificationTask", "DetectionTask", "SegmentationTask", "load_task", "register_task"),
        "tasks",
    ),
}

__getattr__, __dir__ = offer(__name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()})

# Importing PyTorch takes longer than looking how a study stands, so the command line leaves it to its commands.
if not is_command_line() or is_spawned():
    import_module(f"{__name__}.shipped_kinds")
    extending = import_module(f"{__name__}.extending")
    extending.load_installed()
    if is_spawned():  # what it is to work on may be made of classes of plug-ins
        extending.load_words(sys.argv[1:])
