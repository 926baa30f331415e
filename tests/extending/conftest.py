"""Plug-ins that are gone after the test."""

import copy
import sys

import pytest

import biformer_lit.kinds  # noqa: F401  (what it registers stays)
from biformer_lit.extending import plugin_loading
from biformer_lit.registry import Registry


@pytest.fixture(autouse=True)
def _no_leftover_plugins(monkeypatch, tmp_path):
    monkeypatch.setattr(plugin_loading, "_plugins", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = [copy.copy(registry._entries) for registry in Registry._all]
    yield
    for registry, entries in zip(Registry._all, before, strict=False):
        registry._entries = entries
    for name, module in list(sys.modules.items()):
        if name == "shelf" or str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def things():
    """A registry of the test's own, importable as ``shelf.THINGS`` by plug-ins."""
    registry = Registry("thing")
    module = type(sys)("shelf")
    module.THINGS = registry
    sys.modules["shelf"] = module
    yield registry
    Registry._all.remove(registry)
