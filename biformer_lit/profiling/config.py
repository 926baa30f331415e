"""Parameters and multiply-adds of the network that a training config describes."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from biformer_lit.backbone import Backbone
from biformer_lit.errors import ConfigError
from biformer_lit.heads import DetectorSettings, SegmenterSettings
from biformer_lit.profiling.costs import parameters
from biformer_lit.profiling.dense_costs import measure_detector, measure_segmenter
from biformer_lit.profiling.layers import closed_form_macs

# classes of the data sets that come with the package, by tasks: pixels may also be background
_EMBEDDED = {"digits": 10, "digit_scenes": 10}
_EMBEDDED_PIXELS = {"digit_scenes": 11}
# settings of a task's head, and the arguments of the task that they are
_HEADS = {
    "SegmentationTask": {
        "head": "head",
        "channels": "head_channels",
        "norm": "head_norm",
        "dropout": "head_dropout",
    },
    "DetectionTask": {
        "head": "head",
        "channels": "head_channels",
        "norm": "head_norm",
        "detections_per_image": "detections_per_image",
    },
}


def measure_config(config: Mapping[str, Any]) -> tuple[int, int]:
    """Count the parameters and the multiply-adds of one image; nothing is computed and no data set is opened.

    Of a segmentation network both are those of the whole network, for an image of the size of a training crop; its
    auxiliary head has parameters, but takes no part in a prediction and so has no multiply-adds. Of a detector both
    are those of the whole network, for a square image with the shorter side of evaluation; see
    :func:`biformer_lit.profiling.dense_costs.measure_detector`.

    Args:
        config: A complete config of ``fit`` as plain values.

    Returns:
        Parameters and MACs.

    Raises:
        ConfigError: On a network that cannot be built or does not fit its images, or if the number of classes is
            neither in the config nor known.
    """
    model, data = (config[name]["init_args"] for name in ("model", "data"))
    task = str(config["model"].get("class_path", "")).rpartition(".")[2]
    known = _EMBEDDED_PIXELS if task == "SegmentationTask" else _EMBEDDED
    classes = model.get("num_classes") or data.get("num_classes") or known.get(str(data.get("dataset")))
    if classes is None:
        raise ConfigError(
            f"data.num_classes: is not set, so the parameters of a classifier for {data.get('dataset')} cannot be "
            "counted; give the number of classes (it is checked against the data)"
        )
    if task in _HEADS:
        described = {name: model[argument] for name, argument in _HEADS[task].items()}
        if task == "SegmentationTask":
            described["auxiliary"] = model["auxiliary_weight"] > 0
        written = json.dumps([task, model["backbone"], described, model["timm_backbone"]])
        return _measure_dense(written, classes, *crop_size(data))
    return _measure(json.dumps(model["backbone"]), classes, data["image_size"])


def crop_size(data: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width in pixels of the crops that a data module trains on, from its arguments."""
    size = data["image_size"]
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


@lru_cache(maxsize=256)
def _measure_dense(described: str, num_classes: int, height: int, width: int) -> tuple[int, int]:
    """Measure a dense network as :func:`_measure` does a classifier."""
    task, settings, head, timm_backbone = json.loads(described)
    backbone, size = Backbone(**settings), (height, width)
    if task == "SegmentationTask":
        return measure_segmenter(backbone, num_classes, SegmenterSettings(**head), size, timm_backbone)
    return measure_detector(backbone, num_classes, DetectorSettings(**head), size, timm_backbone)


@lru_cache(maxsize=256)
def _measure(backbone: str, num_classes: int, size: int) -> tuple[int, int]:
    """Measure a network; its settings are text, so that results can be cached."""
    with torch.device("meta"):
        net = Backbone(**json.loads(backbone)).build(num_classes)
    return parameters(net), sum(closed_form_macs(net, (size, size)))
