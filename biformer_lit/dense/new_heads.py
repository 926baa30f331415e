"""Heads of one's own for segmentation and detection."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal, TypeVar

from torch import nn

from biformer_lit.errors import ConfigError
from biformer_lit.heads.named_heads import HEADS
from biformer_lit.kinds import KINDS

AnyHead = TypeVar("AnyHead", bound=Callable[..., nn.Module])


def register_head(kind: str, name: str, **settings: Any) -> Callable[[AnyHead], AnyHead]:
    """Let ``model.head`` name a head of one's own; use it as a decorator of its class, or of a function that makes it.

    A head for ``segmentation`` is made with the channels of the maps of the stages, finest first, the number of
    classes, ``head_channels``, ``head_dropout`` and ``head_norm``. It maps the list of these maps (N, C_i, H_i, W_i) to
    logits (N, num_classes, H, W) of any size, which are resized to the image's, and has a module ``classifier``, its
    last layer.

    A head for ``detection`` is made with the :class:`biformer_lit.heads.DetectorSettings`, the number of classes, the
    side of the smallest square anchor of each level of the pyramid in pixels, the names of the levels that are stages,
    and what makes a normalisation for a number of channels (None for none). It is called with the levels by name, the
    torchvision ``ImageList`` and, in training, the targets, and returns what :class:`biformer_lit.heads.Detector` does;
    ``get_classifier()`` returns the layers that depend on the classes. It may have ``parts``, beginnings of the names
    of weights that belong together, each with those that depend on the number of classes, and
    ``predict_for_counting(maps)``, which does a prediction on the meta device for ``profile``.

    Args:
        kind: ``segmentation`` or ``detection``.
        name: Lower-case letters, digits and underscores.
        **settings: Fields of :class:`biformer_lit.heads.named_heads.SegmentationHead` (``channels``, ``auxiliary``,
            ``stages``, ``pools_images``) or :class:`biformer_lit.heads.named_heads.DetectionHead` (``first_stage``,
            ``coarser``, ``anchor_scale``, ``masks``).

    Raises:
        ConfigError: If there is no such kind or setting, or the name is taken or is none.
    """
    if kind not in HEADS:
        raise ConfigError(f"register_head({kind!r}, {name!r}): heads are for {' or '.join(HEADS)}; give one of them")
    registry, row = HEADS[kind]
    known = [field.name for field in fields(row) if field.name != "build"]
    if unknown := [setting for setting in settings if setting not in known]:
        raise ConfigError(
            f"register_head({kind!r}, {name!r}): {unknown[0]} is no setting of a head for {kind}; there are "
            f"{', '.join(known)}"
        )

    def register(build: AnyHead) -> AnyHead:
        registry.register(name, row(build, **settings))
        # what the parser offers and checks
        KINDS[kind].task.__init__.__annotations__["head"] = Literal[tuple(registry)]
        return build

    return register
