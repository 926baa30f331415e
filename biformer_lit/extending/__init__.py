"""Plug-ins: files, modules and installed packages that register ideas of their own with this package."""

from biformer_lit.extending.installed_plugins import load_installed
from biformer_lit.extending.plugin_loading import current_digest, given_plugins, load_plugin, loaded_plugins
from biformer_lit.extending.plugin_needs import NeededPlugin, needed_plugins, read_needed, require_plugins, told_missing
from biformer_lit.extending.plugin_source import Plugin
from biformer_lit.extending.plugin_words import load_words, repeated_words, take_words

__all__ = [
    "NeededPlugin",
    "Plugin",
    "current_digest",
    "given_plugins",
    "load_installed",
    "load_plugin",
    "load_words",
    "loaded_plugins",
    "needed_plugins",
    "read_needed",
    "repeated_words",
    "require_plugins",
    "take_words",
    "told_missing",
]
