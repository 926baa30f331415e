"""The choice of test files for the loop while one works."""

import subprocess
import sys

from helpers.durations import ROOT, choose, find_test_files, read_durations

FILES = {
    ROOT / "tests/a/test_a.py": "from biformer_lit.ops.route import route\n",
    ROOT / "tests/a/test_b.py": "import biformer_lit.ops\n",
    ROOT / "tests/a/test_c.py": "from helpers.pets import pets\n",
    ROOT / "tests/b/test_slow.py": "from biformer_lit.ops.route import route\n",
    ROOT / "tests/b/test_route.py": "",
}
SECONDS = {"test_a.py": 3.0, "test_b.py": 1.0, "test_c.py": 2.0, "test_slow.py": 300.0, "test_route.py": 5.0}


def names(paths):
    return [path.name for path in paths]


def test_what_belongs_to_a_change_comes_first_and_then_the_shortest():
    chosen, left = choose(FILES, ["biformer_lit/ops/route.py"], SECONDS, 9.5)
    assert names(chosen) == ["test_a.py", "test_route.py", "test_b.py"]
    assert names(left) == ["test_slow.py"]
    chosen, left = choose(FILES, ["biformer_lit/ops/__init__.py", "tests/a/test_c.py"], SECONDS, 5)
    assert names(chosen) == ["test_b.py", "test_c.py"]
    assert left == []
    chosen, _ = choose(FILES, ["tests/helpers/pets.py"], SECONDS, 4)
    assert names(chosen) == ["test_c.py", "test_b.py"]


def test_names_are_unique_and_most_are_measured():
    found = names(find_test_files())
    assert len(found) == len(set(found))
    assert sum(name in read_durations() for name in found) >= 0.8 * len(found)


def test_it_is_a_program():
    command = [sys.executable, str(ROOT / "tests/helpers/durations.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    chosen = done.stdout.split()
    assert len(chosen) > 20
    assert all((ROOT / name).is_file() for name in chosen)
    assert f"--fast: {len(chosen)} of " in done.stderr
