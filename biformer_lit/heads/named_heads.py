"""Heads of dense tasks by name: those that come with the package, and those of plug-ins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from torch import nn

from biformer_lit.errors import ConfigError
from biformer_lit.registry import Registry

BuildHead: TypeAlias = Callable[..., nn.Module]


@dataclass(frozen=True)
class SegmentationHead:
    """A head that turns the maps of the stages into logits.

    Attributes:
        build: Makes it, called with the channels of the maps, finest first, the number of classes, the width
            ``head_channels``, ``head_dropout`` and ``head_norm``.
        channels: Its default width.
        auxiliary: Whether training adds a second head on the last map but one.
        stages: How many stages it needs; None for any number.
        pools_images: Whether it normalises a single value for each image, which a batch of one has no statistics of.
    """

    build: BuildHead
    channels: int = 256
    auxiliary: bool = False
    stages: int | None = None
    pools_images: bool = False


@dataclass(frozen=True)
class DetectionHead:
    """A head that turns the levels of a feature pyramid into objects.

    Attributes:
        build: Makes it, called with the :class:`biformer_lit.heads.DetectorSettings`, the number of classes, the side
            in pixels of the smallest square anchor of each level, the names of the levels that are stages, and what
            makes a normalisation for a number of channels, or None.
        first_stage: The first stage that is used, from 0.
        coarser: Levels that follow the last stage's: 1, pooled from it, or 2, convolved.
        anchor_scale: Side of the smallest square anchor of a level, in strides of the level.
        masks: Whether it learns and predicts masks.
    """

    build: BuildHead
    first_stage: int = 0
    coarser: Literal[1, 2] = 1
    anchor_scale: float = 8.0
    masks: bool = False


SEGMENTATION_HEADS: Final[Registry[SegmentationHead]] = Registry("segmentation head")
DETECTION_HEADS: Final[Registry[DetectionHead]] = Registry("detection head")

HEADS: Final[dict[str, tuple[Registry[Any], type[Any]]]] = {
    "segmentation": (SEGMENTATION_HEADS, SegmentationHead),
    "detection": (DETECTION_HEADS, DetectionHead),
}
"""The heads of each kind of task, and what says of one how it is made."""


def require_head(heads: Registry[Any], name: str) -> None:
    """Refuse the name of a head that is none.

    Raises:
        ConfigError: Naming those that there are.
    """
    if name not in heads:
        *most, last = map(repr, heads)
        raise ConfigError(f"head={name!r} is unknown; use {', '.join(most)} or {last}")


def require_parts(head: nn.Module, name: str, parts: Sequence[str]) -> None:
    """Refuse a head of a plug-in that lacks what the network asks it for.

    Raises:
        ConfigError: Naming what is missing.
    """
    if missing := [part for part in parts if not hasattr(head, part)]:
        raise ConfigError(
            f"head={name!r}: {type(head).__name__} has no {' and no '.join(missing)}; see docs/extending.md for what a "
            "head needs"
        )
