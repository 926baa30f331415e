"""Values of ``compile``, and the arguments of ``torch.compile`` that they mean."""

import inspect
from typing import Any, Literal, TypeAlias

import torch

from biformer_lit.errors import ConfigError

Compilation: TypeAlias = bool | Literal["dynamic"] | dict[str, Any]
"""True, ``dynamic`` (graphs for any image size), False, or arguments of ``torch.compile``."""


def compile_options(setting: Compilation) -> dict[str, Any] | None:
    """Return the arguments of ``torch.compile``, None if nothing is compiled.

    Raises:
        ConfigError: If it would not take that.
    """
    if isinstance(setting, bool) or setting == "dynamic":
        return {"fullgraph": True, "dynamic": True if setting == "dynamic" else None} if setting else None
    known = [name for name in inspect.signature(torch.compile).parameters if name != "model"]
    if not isinstance(setting, dict):
        raise ConfigError(f"compile={setting!r} is unknown; use true, dynamic, false, or arguments of torch.compile")
    if unknown := [name for name in setting if name not in known]:
        raise ConfigError(f"compile: torch.compile has no {unknown[0]!r}; it takes {', '.join(known)}")
    return setting or None
