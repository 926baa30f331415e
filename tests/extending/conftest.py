"""Plug-ins that are gone after the test."""

import sys

import pytest

from biformer_lit.registry import Registry


@pytest.fixture(autouse=True)
def _unplugged(unplugged):
    pass


@pytest.fixture
def things():
    """A registry of the test's own, importable as ``shelf.THINGS`` by plug-ins."""
    registry = Registry("thing")
    module = type(sys)("shelf")
    module.THINGS = registry
    sys.modules["shelf"] = module
    yield registry
    Registry._all.remove(registry)
