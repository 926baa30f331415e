"""What all tests share: no network, few threads, and small sets of real images."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also for subprocesses: several on few cores must not fight

import sys
from pathlib import Path

import pytest
import torch

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
