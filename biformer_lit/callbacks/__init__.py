"""Callbacks of a run: averaged weights, pictures, routing, speed, predictions, reports."""

from typing import TYPE_CHECKING

from biformer_lit.facade import offer

if TYPE_CHECKING:
    from biformer_lit.callbacks.confusion import ConfusionMatrix
    from biformer_lit.callbacks.ema import EMA
    from biformer_lit.callbacks.input_images import InputImages
    from biformer_lit.callbacks.predictions import PredictionWriter
    from biformer_lit.callbacks.routing_maps import RoutingMaps
    from biformer_lit.callbacks.throughput import Throughput
    from biformer_lit.callbacks.trial import TrialReport
    from biformer_lit.detection.detection_panels import DetectionPanels
    from biformer_lit.errors import DivergenceError
    from biformer_lit.running.best import BestOfRun
    from biformer_lit.running.preemption import Preemption
    from biformer_lit.running.ranks import RankWatch
    from biformer_lit.segmentation.segmentation_panels import SegmentationPanels

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

__getattr__, __dir__ = offer(
    __name__,
    {
        "BestOfRun": "biformer_lit.running.best",
        "ConfusionMatrix": "biformer_lit.callbacks.confusion",
        "DetectionPanels": "biformer_lit.detection.detection_panels",
        "DivergenceError": "biformer_lit.errors",
        "EMA": "biformer_lit.callbacks.ema",
        "InputImages": "biformer_lit.callbacks.input_images",
        "PredictionWriter": "biformer_lit.callbacks.predictions",
        "Preemption": "biformer_lit.running.preemption",
        "RankWatch": "biformer_lit.running.ranks",
        "RoutingMaps": "biformer_lit.callbacks.routing_maps",
        "SegmentationPanels": "biformer_lit.segmentation.segmentation_panels",
        "Throughput": "biformer_lit.callbacks.throughput",
        "TrialReport": "biformer_lit.callbacks.trial",
    },
)
