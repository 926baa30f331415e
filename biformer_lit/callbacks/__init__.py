"""What watches a run: averaged weights, pictures, routing, speed, predictions, reports."""

from biformer_lit.callbacks.best import BestOfRun
from biformer_lit.callbacks.confusion import ConfusionMatrix
from biformer_lit.callbacks.ema import EMA
from biformer_lit.callbacks.images import InputImages
from biformer_lit.callbacks.panels import DetectionPanels, SegmentationPanels
from biformer_lit.callbacks.predictions import PredictionWriter
from biformer_lit.callbacks.preemption import Preemption
from biformer_lit.callbacks.ranks import RankWatch
from biformer_lit.callbacks.routing import RoutingMaps
from biformer_lit.callbacks.throughput import Throughput
from biformer_lit.callbacks.trial import TrialReport
from biformer_lit.errors import DivergenceError

__all__ = [
    "EMA",
    "BestOfRun",
    "ConfusionMatrix",
    "DetectionPanels",
    "DivergenceError",
    "InputImages",
    "PredictionWriter",
    "Preemption",
    "RankWatch",
    "RoutingMaps",
    "SegmentationPanels",
    "Throughput",
    "TrialReport",
]
