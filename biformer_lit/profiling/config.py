"""Parameters and multiply-adds of the network that a training config describes."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from biformer_lit.backbone import Backbone
from biformer_lit.errors import ConfigError
from biformer_lit.heads import SegmenterSettings
from biformer_lit.profiling.costs import parameters
from biformer_lit.profiling.layers import closed_form_macs
from biformer_lit.profiling.segmenter import measure_segmenter

_EMBEDDED = {"digits": 10, "digit_scenes": 11}  # classes of the data sets that come with the package


def measure_config(config: Mapping[str, Any]) -> tuple[int, int]:
    """Count the parameters and the multiply-adds of one image; nothing is computed and no data set is opened.

    Of a segmentation network both are those of the whole network, for an image of the size of a training crop; its
    auxiliary head has parameters, but takes no part in a prediction and so has no multiply-adds.

    Args:
        config: A complete config of ``fit`` as plain values.

    Returns:
        Parameters and MACs.

    Raises:
        ConfigError: On a network that cannot be built or does not fit its images, or if the number of classes is
            neither in the config nor known.
    """
    model, data = (config[name]["init_args"] for name in ("model", "data"))
    classes = model.get("num_classes") or data.get("num_classes") or _EMBEDDED.get(str(data.get("dataset")))
    if classes is None:
        raise ConfigError(
            f"data.num_classes: is not set, so the parameters of a classifier for {data.get('dataset')} cannot be "
            "counted; give the number of classes (it is checked against the data)"
        )
    if _is_segmentation(config):
        return _measure_segmenter(json.dumps([model["backbone"], _head(model)]), classes, *crop_size(data))
    return _measure(json.dumps(model["backbone"]), classes, data["image_size"])


def crop_size(data: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width in pixels of the crops that a data module trains on, from its arguments."""
    size = data["image_size"]
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _is_segmentation(config: Mapping[str, Any]) -> bool:
    return str(config["model"].get("class_path", "")).rpartition(".")[2] == "SegmentationTask"


def _head(model: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the task as those of the head, and the backbone's other name."""
    settings = {
        "head": model["head"],
        "channels": model["head_channels"],
        "norm": model["head_norm"],
        "dropout": model["head_dropout"],
        "auxiliary": model["auxiliary_weight"] > 0,
    }
    return {"settings": settings, "timm_backbone": model["timm_backbone"]}


@lru_cache(maxsize=256)
def _measure_segmenter(described: str, num_classes: int, height: int, width: int) -> tuple[int, int]:
    """As :func:`_measure`."""
    backbone, head = json.loads(described)
    settings = SegmenterSettings(**head["settings"])
    return measure_segmenter(Backbone(**backbone), num_classes, settings, (height, width), head["timm_backbone"])


@lru_cache(maxsize=256)
def _measure(backbone: str, num_classes: int, size: int) -> tuple[int, int]:
    """The same for many cells; settings as text, so that they can be looked up."""
    with torch.device("meta"):
        net = Backbone(**json.loads(backbone)).build(num_classes)
    return parameters(net), sum(closed_form_macs(net, (size, size)))
