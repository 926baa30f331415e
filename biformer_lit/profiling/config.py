"""Parameters and multiply-adds of the network that a training config describes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pkgutil import resolve_name
from typing import Any

import torch

from biformer_lit.backbone import BiFormer
from biformer_lit.data.named_sets import known_classes
from biformer_lit.errors import ConfigError
from biformer_lit.profiling.costs import count_macs, parameters
from biformer_lit.profiling.layers import closed_form_macs
from biformer_lit.tasks.saved_task import known_task
from biformer_lit.tasks.template import BiFormerTask


def measure_config(config: Mapping[str, Any]) -> tuple[int, int]:
    """Count the parameters and the multiply-adds of one image; nothing is computed and no data set is opened.

    Of a segmentation network both are those of the whole network, for an image of the size of a training crop; its
    auxiliary head has parameters, but takes no part in a prediction and so has no multiply-adds. Of a detector both
    are those of the whole network, for a square image with the shorter side of evaluation; see
    :meth:`biformer_lit.heads.RegionHead.predict_for_counting`.

    Args:
        config: A complete config of ``fit`` as plain values.

    Returns:
        Parameters and MACs.

    Raises:
        ConfigError: On a network that cannot be built or does not fit its images, or if the number of classes is
            neither in the config nor known.
    """
    data = config["data"]["init_args"]
    task = described_task(config["model"])
    known = known_classes(data.get("dataset"), background=task.row.background)
    classes = task.num_classes or data.get("num_classes") or known
    if classes is None:
        raise ConfigError(
            f"data.num_classes: is not set, so the parameters of a classifier for {data.get('dataset')} cannot be "
            "counted; give the number of classes (it is checked against the data)"
        )
    described = json.dumps([f"{type(task).__module__}.{type(task).__qualname__}", task.net_settings()], default=str)
    return _measure(_Network(described, classes, _image_size(data), task))


def described_task(model: Mapping[str, Any]) -> BiFormerTask:
    """Return the task that a config describes, without weights and with nothing compiled.

    Args:
        model: ``class_path`` and ``init_args``, plain values, as the parser has checked them.
    """
    path = str(model["class_path"])
    task_class: Any = known_task(path) or resolve_name(
        path
    )  # the latter of a user's own, which the parser has imported
    unused = {"weights", "weights_copy", "compile"}
    task: BiFormerTask = task_class(**{name: value for name, value in model["init_args"].items() if name not in unused})
    return task


def _image_size(data: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width in pixels of the images of a data module, from its arguments.

    Raises:
        ConfigError: If nothing tells them.
    """
    size = data.get("image_size")
    if size is None:
        raise ConfigError("data.image_size: is not set, so multiply-adds cannot be counted; give a data module with it")
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


@dataclass(frozen=True)
class _Network:
    """A network to be counted, looked up by all but the task that builds it."""

    described: str
    num_classes: int
    size: tuple[int, int]
    task: BiFormerTask = field(compare=False)


@lru_cache(maxsize=256)
def _measure(network: _Network) -> tuple[int, int]:
    """Count; cells of a study that share a network are counted once."""
    task = network.task
    task.backbone = replace(task.backbone, backend="reference")
    with torch.device("meta"):
        net = task.build_net(network.num_classes).eval()
        image = torch.empty(1, task.backbone.in_chans, *network.size)
    if isinstance(net, BiFormer):
        return parameters(net), sum(closed_form_macs(net, network.size))
    return parameters(net), count_macs(net, image)
