"""What the package imports is declared, and modules that only POSIX systems have are guarded."""

import ast
import importlib.metadata
import importlib.util
import re
import sys

import pytest
import torch

from biformer_lit import cli
from biformer_lit.common import devices
from biformer_lit.errors import ConfigError

POSIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"}


def _name(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def _imports(tree):
    """Top-level names that a module imports, with the innermost statement that guards each."""
    guarded = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any("ImportError" in ast.dump(handler) for handler in node.handlers)
        for statement in node.body
        for inside in ast.walk(statement)
    }
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        for name in names:
            yield name.partition(".")[0], id(node) in guarded


@pytest.fixture(scope="module")
def found(root):
    return {
        path.relative_to(root / "biformer_lit"): list(_imports(ast.parse(path.read_text())))
        for path in sorted((root / "biformer_lit").rglob("*.py"))
    }


def test_every_import_is_declared(root, found):
    listed = (root / "pyproject.toml").read_text().partition("\ndependencies = [")[2].partition("\n]")[0]
    declared = {_name(text) for text in re.findall(r'"([^"]+)"', listed)}
    distributions = importlib.metadata.packages_distributions()
    missing = {
        (str(path), name)
        for path, imports in found.items()
        for name, guarded in imports
        if not guarded and name not in sys.stdlib_module_names and name not in ("biformer_lit", "triton")
        if not declared & {_name(one) for one in distributions.get(name, [name])}
    }
    assert not missing  # triton comes with torch on Linux, and its kernels are imported only where it is there


def test_training_needs_no_module_that_windows_lacks(found):
    wrong = {
        (str(path), name)
        for path, imports in found.items()
        for name, guarded in imports
        if name in POSIX_ONLY and not guarded and path.parts[0] != "sweep"
    }
    assert not wrong


def test_sweep_says_that_it_needs_posix(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fcntl" else found(name))
    with pytest.raises(ConfigError, match="sweep needs a POSIX system"):
        cli.main(["sweep", "status", "somewhere"])


def test_memory_is_unknown_without_the_resource_module(monkeypatch):
    monkeypatch.setattr(devices, "resource", None)
    monkeypatch.setattr(devices.Path, "exists", lambda path: False)
    assert devices.restart_peak(torch.device("cpu")) == 0
