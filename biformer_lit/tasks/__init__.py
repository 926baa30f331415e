"""Tasks: a template, its optimiser and schedule, and the contents of its checkpoints."""

from typing import TYPE_CHECKING

from biformer_lit.facade import offer

if TYPE_CHECKING:
    from biformer_lit.classification.classification_task import ClassificationTask, Mixing
    from biformer_lit.detection.detection_task import DetectionTask
    from biformer_lit.segmentation.inference import Inference
    from biformer_lit.segmentation.segmentation_task import SegmentationTask
    from biformer_lit.tasks.new_kinds import register_task
    from biformer_lit.tasks.optim import Optimization
    from biformer_lit.tasks.saved_task import load_task
    from biformer_lit.tasks.template import BiFormerTask

__all__ = [
    "BiFormerTask",
    "ClassificationTask",
    "DetectionTask",
    "Inference",
    "Mixing",
    "Optimization",
    "SegmentationTask",
    "load_task",
    "register_task",
]

__getattr__, __dir__ = offer(
    __name__,
    {
        "BiFormerTask": "biformer_lit.tasks.template",
        "ClassificationTask": "biformer_lit.classification.classification_task",
        "DetectionTask": "biformer_lit.detection.detection_task",
        "Inference": "biformer_lit.segmentation.inference",
        "Mixing": "biformer_lit.classification.classification_task",
        "Optimization": "biformer_lit.tasks.optim",
        "SegmentationTask": "biformer_lit.segmentation.segmentation_task",
        "load_task": "biformer_lit.tasks.saved_task",
        "register_task": "biformer_lit.tasks.new_kinds",
    },
)
