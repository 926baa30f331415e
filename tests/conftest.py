"""What all tests share: no network, few threads, and small sets of real images."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also for subprocesses: several on few cores must not fight

import copy
import sys
from pathlib import Path

import pytest
import torch
from helpers.bad_input import check_refusal, files  # noqa: F401 (fixtures)
from helpers.durations import UNKNOWN, read_durations, write_durations

import biformer_lit.shipped_kinds  # noqa: F401  (what it registers stays after a test)
from biformer_lit.extending import plugin_loading
from biformer_lit.registry import Registry
from biformer_lit.running.parent import VARIABLE

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser):
    parser.addoption(
        "--write-durations", action="store_true", help="write to tests/durations.json how long each test file takes"
    )


def pytest_configure(config):
    config.option.loadscopereorder = False  # of pytest-xdist, which would start the files with most tests first
    config.seconds_by_file = {}
    config.pluginmanager.register(Recorder(config.seconds_by_file))


@pytest.hookimpl(tryfirst=True)  # before -m is applied
def pytest_collection_modifyitems(config, items):
    """Leave to the slow tests what repeats, and let several processes start the longest files first.

    So they end together.
    """
    mark_repeats(items)
    if hasattr(config, "workerinput"):
        known = read_durations()
        items.sort(key=lambda item: -known.get(item.path.name, UNKNOWN))


def mark_repeats(items):
    """Mark the tests of repeats.txt slow."""
    lines = (ROOT / "tests/repeats.txt").read_text().splitlines()
    repeats = {line for line in lines if line and not line.startswith("#")}
    found = {}
    for item in items:
        found[item.path.relative_to(ROOT).as_posix() + item.nodeid[item.nodeid.index("::") :]] = item
    for name in repeats & found.keys():
        found[name].add_marker(pytest.mark.slow)


class Recorder:
    """Adds up the seconds of each file."""

    def __init__(self, seconds):
        self.seconds = seconds

    def pytest_runtest_logreport(self, report):
        name = Path(report.nodeid.partition("::")[0]).name
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration


def pytest_sessionfinish(session):
    config = session.config
    if config.option.write_durations and not hasattr(config, "workerinput"):
        write_durations({name: round(seconds, 1) for name, seconds in config.seconds_by_file.items()})


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(autouse=True)
def _no_leftover_seed(monkeypatch):
    """A seed set by one test (Lightning keeps it in the environment) must not reach the next."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")


@pytest.fixture(autouse=True)
def _no_leftover_parent(monkeypatch):
    """A run in this process that launched others has told all processes below to end with this one."""
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def unplugged(monkeypatch, tmp_path):
    """Plug-ins that the test loads from its folder, and what they register, are gone after it."""
    monkeypatch.setattr(plugin_loading, "_plugins", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = [copy.copy(registry._entries) for registry in Registry._all]
    yield
    for registry, entries in zip(Registry._all, before, strict=False):
        registry._replace(entries)
    for name in plugin_loading._plugins:
        sys.modules.pop(name, None)
    for name, module in list(sys.modules.items()):
        if name == "shelf" or str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
