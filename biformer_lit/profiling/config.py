"""Parameters and multiply-adds of the network that a training config describes."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from biformer_lit.backbone import Backbone
from biformer_lit.errors import ConfigError
from biformer_lit.profiling.costs import parameters
from biformer_lit.profiling.layers import closed_form_macs

_EMBEDDED = {"digits": 10}  # classes of the data sets that come with the package


def measure_config(config: Mapping[str, Any]) -> tuple[int, int]:
    """Count the parameters and the multiply-adds of one image; nothing is computed and no data set is opened.

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
    return _measure(json.dumps(model["backbone"]), classes, data["image_size"])


@lru_cache(maxsize=256)
def _measure(backbone: str, num_classes: int, size: int) -> tuple[int, int]:
    """The same for many cells; settings as text, so that they can be looked up."""
    with torch.device("meta"):
        net = Backbone(**json.loads(backbone)).build(num_classes)
    return parameters(net), sum(closed_form_macs(net, (size, size)))
