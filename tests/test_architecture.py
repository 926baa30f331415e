"""Imports point one way, files stay readable, and every line of the package can be found where it belongs."""

import ast

import pytest

# each package may import those before it, and the leaves everybody shares
ORDER = ["ops", "attention", "backbone", "heads", "tasks"]
# rooms that are being sorted: one for each kind of task
KINDS = {
    "classification",
    "segmentation",
    "detection",
    "dense",
    "data",
    "callbacks",
    "routing",
    "tasks",
    "heads",
    "backbone",
    "ops",
}
LEAVES = {"text", "errors", "registry", "extending", "facade", "common", "recipes", "checkpoints", "running", "plugins"}
# which have an order of their own
AMONG_LEAVES = {
    "text": set(),
    "errors": {"text"},
    "registry": {"errors"},
    "extending": {"registry", "errors"},
    "facade": set(),
    "common": {"text", "errors"},
    "recipes": {"extending", "registry", "common", "text", "errors"},
    "checkpoints": {"common", "text", "errors"},
    "running": {"checkpoints", "common", "text", "errors"},
    "plugins": {"checkpoints", "running"},
}
BESIDE = {
    "data": LEAVES,
    "profiling": LEAVES | {"attention", "backbone", "heads"},
    "benchmark": LEAVES | {"ops", "attention", "backbone", "data", "classification"},
    # its command loads a task and reads a photo as the data modules do
    "routing": LEAVES | {"ops", "attention", "backbone", "heads", "tasks", "data"},
    "callbacks": LEAVES | {"routing"},
}
KNOWS_EVERYBODY = {"cli", "__main__", "__init__", "kinds"} | KINDS - {"ops", "backbone", "heads"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            parts = name.split(".")
            if parts[0] == "biformer_lit" and len(parts) > 1:
                yield parts[1]


def allowed(room):
    if room in AMONG_LEAVES:
        return AMONG_LEAVES[room] | {room}
    if room in ORDER:
        return set(ORDER[: ORDER.index(room) + 1]) | LEAVES
    return BESIDE.get(room, LEAVES) | {room}


def test_imports_point_one_way(root):
    package = root / "biformer_lit"
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room in KNOWS_EVERYBODY:
            continue
        wrong = set(imports(path)) - allowed(room)
        assert not wrong, f"{path.relative_to(root)} imports {wrong}"


def test_the_walk_sees_imports(root):
    assert {"attention", "ops", "errors"} <= set(imports(root / "biformer_lit/backbone/biformer.py"))


@pytest.mark.parametrize("limit", [400])
def test_files_stay_short(root, limit):
    long = {str(p): n for p in root.glob("biformer_lit/**/*.py") if (n := len(p.read_text().splitlines())) > limit}
    assert not long


def test_every_file_says_what_it_is(root):
    for path in root.glob("biformer_lit/**/*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
