"""Cost against resolution: how the multiply-adds of a network grow with its image."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from biformer_lit.backbone import Backbone
from biformer_lit.errors import ConfigError
from biformer_lit.profiling.costs import Cost, by_part, total_cost
from biformer_lit.profiling.layers import closed_form_macs


@dataclass(frozen=True)
class CellCost:
    """Cost of one part of one cell's network at one image size.

    Attributes:
        cell: Name of the cell.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        stage: ``stem``, the number of the stage from 1, ``head`` or ``total``.
        tokens: Tokens HW of the stage's map; of the image's pixels for ``total``, None for stem and head.
        cost: What the part costs.
    """

    cell: str
    height: int
    width: int
    stage: str
    tokens: int | None
    cost: Cost


def scaling(name: str, backbone: Backbone, sizes: Sequence[tuple[int, int]], num_classes: int = 1000) -> list[CellCost]:
    """Costs of a network at many image sizes, in closed form; they equal those of ``count_costs``.

    Args:
        name: The cell's name.
        backbone: The network.
        sizes: Height and width of the images in pixels.
        num_classes: Outputs of the classifier.

    Returns:
        For each size the stem, each stage, the head and the total.

    Raises:
        ConfigError: On a setting that cannot work or an image too small, with the cell's name.
    """
    found = []
    try:
        with torch.device("meta"):
            net = backbone.build(num_classes)
        for height, width in sizes:
            costs = by_part(net, (height, width), closed_form_macs(net, (height, width)))
            maps = [rows * columns for rows, columns in net.map_sizes(height, width)]  # type: ignore[operator]
            tokens = [None, *maps, None, height * width]
            stages = ["stem", *map(str, range(1, len(maps) + 1)), "head", "total"]
            parts = zip(stages, tokens, [*costs, total_cost(costs)], strict=True)
            found += [CellCost(name, height, width, *part) for part in parts]
    except ConfigError as error:
        raise ConfigError(f"cells.{name}: {error}") from None
    return found


def exponent(costs: Sequence[CellCost]) -> float:
    """By which power of the tokens the token interaction grows: the least-squares slope in log-log.

    Args:
        costs: One stage (or the total) of one cell at several sizes; the interaction is the multiply-adds of routing
            and attention.

    Returns:
        The exponent, not a number where all maps have the same number of tokens.
    """
    tokens = [math.log(c.tokens) for c in costs if c.tokens is not None]
    macs = [math.log(c.cost.routing + c.cost.attention) for c in costs]
    return statistics.linear_regression(tokens, macs).slope if len(set(tokens)) > 1 else math.nan
