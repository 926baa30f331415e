"""What all tests share: no network, few threads, and small sets of real images."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also for subprocesses: several on few cores must not fight

import copy
import sys
from pathlib import Path

import pytest
import torch

import biformer_lit.shipped_kinds  # noqa: F401  (what it registers stays after a test)
from biformer_lit.extending import plugin_loading
from biformer_lit.registry import Registry

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(autouse=True)
def _no_leftover_seed(monkeypatch):
    """A seed set by one test (Lightning keeps it in the environment) must not reach the next."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")


@pytest.fixture
def unplugged(monkeypatch, tmp_path):
    """Plug-ins that the test loads from its folder, and what they register, are gone after it."""
    monkeypatch.setattr(plugin_loading, "_plugins", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = [copy.copy(registry._entries) for registry in Registry._all]
    yield
    for registry, entries in zip(Registry._all, before, strict=False):
        registry._entries = entries
    for name, module in list(sys.modules.items()):
        if name == "shelf" or str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
