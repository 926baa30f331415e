"""The registered names that a network's settings choose, such as those of plug-ins."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from biformer_lit.backbone.config import Backbone, network_settings
from biformer_lit.registry import Registry


def registered_parts(backbone: Backbone) -> Iterator[tuple[Registry[Any], str]]:
    """Yield each name that the settings choose, with the registry that it is in.

    Args:
        backbone: Settings of a network; what is left to the variant is this package's own.
    """
    for setting in network_settings():
        registry, value = _registry_in(setting.annotation), getattr(backbone, setting.name)
        if registry is None or value is None:
            continue
        for name in dict.fromkeys([value] if isinstance(value, str) else value):
            if name in registry:
                yield registry, name


def _registry_in(annotation: Any) -> Registry[Any] | None:
    """The registry whose names an annotation allows, at any depth."""
    if get_origin(annotation) is Annotated:
        found = next((note for note in get_args(annotation)[1:] if isinstance(note, Registry)), None)
        if found is not None:
            return found
    return next((found for one in get_args(annotation) if (found := _registry_in(one)) is not None), None)
