"""What is trained: a template task, and one readable file for each kind of task."""

from biformer_lit.tasks.base import BiFormerTask
from biformer_lit.tasks.checkpoint import load_task
from biformer_lit.tasks.classification import ClassificationTask, Mixing
from biformer_lit.tasks.optim import Optimization

__all__ = ["BiFormerTask", "ClassificationTask", "Mixing", "Optimization", "load_task"]
