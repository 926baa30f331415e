"""Plug-ins of installed packages, which register themselves by an entry point."""

import os
import warnings
from importlib.metadata import EntryPoint, entry_points

from biformer_lit.errors import ConfigError
from biformer_lit.extending.plugin_loading import load_module

GROUP = "biformer_lit.plugins"
"""Group of the entry points; each names a module, which registers what it has when it is imported."""
SWITCH = "BIFORMER_LIT_INSTALLED_PLUGINS"
"""Environment variable: 0 leaves the plug-ins of installed packages out."""


def load_installed() -> None:
    """Import the plug-ins of installed packages; one that cannot be imported is left out, and a warning says so."""
    if os.environ.get(SWITCH) == "0":
        return
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.value):
        _load(entry)


def _load(entry: EntryPoint) -> None:
    package = _distribution(entry)
    try:
        load_module(entry.module, package)
    except ConfigError as error:
        warnings.warn(
            f"the plug-in of {package}, an installed package, is left out: {error}; another version of the package may "
            f"mend it, and {SWITCH}=0 leaves all such plug-ins out",
            stacklevel=3,
        )


def _distribution(entry: EntryPoint) -> str:
    return "(unknown)" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
