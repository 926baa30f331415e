"""Imports point one way, files stay readable, and every line of the package can be found where it belongs."""

import ast
import graphlib
import re
from collections import Counter

import pytest

# each room may import those before it, and the leaves everybody shares
ORDER = [
    *("ops", "attention", "backbone", "heads", "data", "tasks", "routing", "callbacks"),
    *("dense", "classification", "segmentation", "detection", "shipped_kinds"),
]
LEAVES = {
    *(
        "seams",
        "text",
        "errors",
        "registry",
        "extending",
        "facade",
        "common",
        "recipes",
        "checkpoints",
        "running",
        "plugins",
    ),
    "kinds",
}
# which have an order of their own
AMONG_LEAVES = {
    "text": set(),
    "seams": set(),
    "errors": {"text"},
    "registry": {"errors"},
    "extending": {"registry", "errors", "text"},
    "facade": set(),
    "kinds": {"registry", "errors"},
    "common": {"text", "errors"},
    "recipes": {"extending", "registry", "common", "text", "errors"},
    "checkpoints": {"extending", "registry", "common", "text", "errors"},
    "running": {"seams", "checkpoints", "common", "text", "errors"},
    "plugins": {"checkpoints", "running"},
}
# kinds of task stand beside each other, and what is measured of networks beside what is trained
APART = [("classification", "segmentation", "detection"), ("data", "heads"), ("data", "backbone")]
BESIDE = {
    "profiling": LEAVES | {"attention", "backbone", "heads", "data", "tasks"},
    "benchmark": LEAVES | {"ops", "attention", "backbone", "data", "classification"},
}
KNOWS_EVERYBODY = {"cli", "__main__", "__init__"}


def modules(root):
    """Every module of the package by its dotted name."""
    for path in (root / "biformer_lit").rglob("*.py"):
        yield ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"), path


def imports(path):
    """Modules that a file imports when it runs, wherever it does; what only type checkers read does not count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def rooms(path):
    """Rooms that a file imports from."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("biformer_lit.")}


def allowed(room):
    if room in AMONG_LEAVES:
        return AMONG_LEAVES[room] | {room}
    if room in ORDER:
        apart = {other for group in APART if room in group for other in group} - {room}
        return (set(ORDER[: ORDER.index(room) + 1]) - apart) | LEAVES
    return BESIDE.get(room, LEAVES) | {room}


def test_imports_point_one_way(root):
    package = root / "biformer_lit"
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room in KNOWS_EVERYBODY:
            continue
        wrong = rooms(path) - allowed(room)
        assert not wrong, f"{path.relative_to(root)} imports {wrong}"


def names_as_text(path):
    """Rooms that a file's texts name as class paths or modules do, and whether it imports anything by its name."""
    tree = ast.parse(path.read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    rooms = {found[1] for text in texts if isinstance(text, str) if (found := re.match(r"biformer_lit\.(\w+)", text))}
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {getattr(function, "attr", getattr(function, "id", "")) for function in calls}
    return rooms, bool(
        called & {"import_module", "__import__", "find_spec", "locate", "resolve_name", "run_path", "run_module"}
    )


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
    assert {"trials.study_record"} < graph["trials.ledger"]
    list(graphlib.TopologicalSorter(graph).static_order())


def test_no_files_import_each_other(root):
    known = dict(modules(root))
    graph = {
        name: {full if full in known else full.rpartition(".")[0] for full in imports(path)} & known.keys()
        for name, path in known.items()
        if name != "biformer_lit"  # which offers what all others have, and is imported before any of them
    }
    graphlib.TopologicalSorter({name: found - {name, "biformer_lit"} for name, found in graph.items()}).prepare()


def test_files_have_names_of_their_own(root):
    """In the rooms of tasks and data, so that tabs and tracebacks tell them apart."""
    sorted_rooms = {"data", "tasks", "callbacks", "dense", "classification", "segmentation", "detection", "heads"}
    found = {n: p.name for n, p in modules(root) if n.count(".") > 1 and n.split(".")[1] in sorted_rooms}
    count = Counter(name for name in found.values() if name != "__init__.py")
    twice = [module for module, name in found.items() if count[name] > 1]
    assert not twice


def test_the_walk_sees_imports(root):
    found = rooms(root / "biformer_lit/attention/bra.py")
    assert {"attention", "ops", "errors"} <= found
    assert "tasks" not in rooms(root / "biformer_lit/kinds.py")


@pytest.mark.parametrize("limit", [400])
def test_files_stay_short(root, limit):
    long = {str(p): n for p in root.glob("biformer_lit/**/*.py") if (n := len(p.read_text().splitlines())) > limit}
    assert not long


def test_every_file_says_what_it_is(root):
    for path in root.glob("biformer_lit/**/*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_no_merge_has_left_its_marks(root):
    marks = re.compile(r"^(<{7}|>{7}|={7}$)", re.MULTILINE)
    kinds = [path for kind in ("py", "md", "yaml", "toml", "html") for path in root.glob(f"*/**/*.{kind}")]
    own = [path for path in (*kinds, *root.glob("*.*")) if ".venv" not in path.parts and "runs" not in path.parts]
    assert len(own) > 300
    assert not [path for path in own if path.is_file() and marks.search(path.read_text(errors="replace"))]
