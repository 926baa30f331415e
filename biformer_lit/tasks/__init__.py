"""What is trained: a template task, and one readable file for each kind of task."""

from biformer_lit.tasks.base import BiFormerTask
from biformer_lit.tasks.checkpoint import load_task
from biformer_lit.tasks.classification import ClassificationTask, Mixing
from biformer_lit.tasks.detection import DetectionTask
from biformer_lit.tasks.inference import Inference
from biformer_lit.tasks.optim import Optimization
from biformer_lit.tasks.segmentation import SegmentationTask

__all__ = [
    "BiFormerTask",
    "ClassificationTask",
    "DetectionTask",
    "Inference",
    "Mixing",
    "Optimization",
    "SegmentationTask",
    "load_task",
]
