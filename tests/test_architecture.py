"""Imports point one way, files stay readable, and every line of the package can be found where it belongs."""

import ast
import graphlib
import re

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


def names_as_text(path):
    """Rooms that a file's texts name as class paths or modules do, and whether it imports anything by its name."""
    tree = ast.parse(path.read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    rooms = {found[1] for text in texts if isinstance(text, str) if (found := re.match(r"biformer_lit\.(\w+)", text))}
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {getattr(function, "attr", getattr(function, "id", "")) for function in calls}
    return rooms, bool(called & {"import_module", "__import__", "find_spec", "locate", "run_path", "run_module"})


def test_sweep_knows_no_networks_by_name_either(root):
    """What a study has to know of them it is told through ``Runs``, and the name of the callback is a leaf's."""
    for path in (root / "biformer_lit/sweep").rglob("*.py"):
        rooms, imports_by_name = names_as_text(path)
        assert not imports_by_name, path
        assert rooms <= LEAVES | {"sweep"}, path


def test_names_in_texts_are_seen(root):
    assert "callbacks" in names_as_text(root / "biformer_lit/running/trial_folders.py")[0]
    assert names_as_text(root / "biformer_lit/cli/study_runs.py")[1]
    assert names_as_text(root / "biformer_lit/ops/triton_attend.py") == ({"ops"}, True)


SWEEP = ["spec", "trials", "results", "report"]


def sweep_imports(root):
    """Module to the modules of sweep that it imports, wherever in its text, by their dotted names within sweep."""
    top = root / "biformer_lit/sweep"
    modules = {".".join(path.relative_to(top).with_suffix("").parts): path for path in top.rglob("*.py")}
    found = {}
    for name, path in modules.items():
        taken = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("biformer_lit.sweep"):
                place = node.module.removeprefix("biformer_lit.sweep").lstrip(".")
                inner = {f"{place}.{alias.name}".lstrip(".") for alias in node.names} & modules.keys()
                taken |= inner or {place}
        found[name] = taken
    return found


def test_the_rooms_of_sweep_import_one_way(root):
    for name, taken in sweep_imports(root).items():
        room = name.partition(".")[0]
        if room in SWEEP:
            later = {one for one in taken if one.partition(".")[0] not in SWEEP[: SWEEP.index(room) + 1]}
            assert not later, f"sweep.{name} imports {later}"


def test_no_modules_of_sweep_import_each_other(root):
    """Nor in a larger circle; imports for type checkers and within functions count, too."""
    graph = sweep_imports(root)
    assert {"trials.record"} < graph["trials.ledger"]
    list(graphlib.TopologicalSorter(graph).static_order())


def test_the_walk_sees_imports(root):
    assert {"attention", "ops", "errors"} <= set(imports(root / "biformer_lit/backbone/biformer.py"))


@pytest.mark.parametrize("limit", [400])
def test_files_stay_short(root, limit):
    long = {str(p): n for p in root.glob("biformer_lit/**/*.py") if (n := len(p.read_text().splitlines())) > limit}
    assert not long


def test_every_file_says_what_it_is(root):
    for path in root.glob("biformer_lit/**/*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
