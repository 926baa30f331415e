"""Settings by their dotted names, as they are typed."""

from collections.abc import Mapping
from typing import Any


def plain_key(key: str) -> str:
    """A dotted key without what does not change its meaning: ``init_args`` and the ``+`` of an addition to a list."""
    return ".".join(part for part in key.removesuffix("+").split(".") if part not in ("init_args", "dict_kwargs"))


def flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by their plain dotted keys; lists count as a whole."""
    if not isinstance(settings, Mapping):
        return {plain_key(prefix): settings}
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found.update(flat(value, f"{prefix}.{key}" if prefix else str(key)))
    return found
