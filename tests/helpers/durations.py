"""Seconds that each test file takes, and which files ``./scripts/test --fast`` runs because of them.

``python tests/helpers/durations.py`` prints these files, one a line, and on stderr what is left out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DURATIONS = ROOT / "tests/durations.json"
"""Seconds on one core by name of the file, which is unique; written by ``pytest --write-durations``."""
UNKNOWN = 3.0  # seconds of a file that was never measured
SECONDS = 65.0  # of tests for each process; imports and collection come on top
LONGEST = 30.0  # seconds of a file that --fast may run


def read_durations():
    return json.loads(DURATIONS.read_text()) if DURATIONS.is_file() else {}


def write_durations(seconds):
    """Replace the file; a run of some of the files keeps what is known of the others that exist."""
    names = {path.name for path in find_test_files()}
    known = {name: value for name, value in {**read_durations(), **seconds}.items() if name in names}
    DURATIONS.write_text(json.dumps(dict(sorted(known.items())), indent=0) + "\n")


def find_test_files():
    return sorted((ROOT / "tests").rglob("test_*.py"))


def changed_files():
    """Files that differ from the main branch, committed or not, relative to the root; none outside of a repository."""
    found = set()
    for arguments in (["diff", "--name-only", "main...HEAD"], ["diff", "--name-only", "HEAD"], ["ls-files", "-o"]):
        command = ["git", *arguments, *(["--exclude-standard"] if "-o" in arguments else [])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        found |= set(done.stdout.split()) if done.returncode == 0 else set()
    return sorted(found)


def is_related(path, text, changed):
    """Whether a test file belongs to one of the changed files: is it, is named after it, or imports it."""
    for name in changed:
        file = Path(name)
        if name.startswith("tests/"):
            own = ".".join(file.relative_to("tests").with_suffix("").parts)
            if ROOT / name == path or _mentions(text, own) or _mentions(text, file.stem):
                return True
        if name.startswith("biformer_lit/"):
            parts = (file.parent if file.stem == "__init__" else file.with_suffix("")).parts
            if path.name == f"test_{file.stem}.py" or _mentions(text, ".".join(parts)):
                return True
    return False


def _mentions(text, module):
    return any(line.split()[1] == module for line in text.splitlines() if line.startswith(("from ", "import ")))


def choose(files, changed, known, seconds):
    """The files to run, and those that belong to the changes but take too long.

    Files that belong to a change come first, then all others, the shortest first, until the time is filled.

    Args:
        files: Text of each test file by its path.
        changed: Changed files, relative to the root.
        known: Seconds by name of the file.
        seconds: How long all may take together.
    """
    related = {path for path, text in files.items() if is_related(path, text, changed)}

    def cost(path):
        return known.get(path.name, UNKNOWN)

    chosen, left, total = [], [], 0.0
    for path in sorted(files, key=lambda path: (path not in related, cost(path), path)):
        if cost(path) <= LONGEST and total + cost(path) <= seconds:
            chosen.append(path)
            total += cost(path)
        elif path in related:
            left.append(path)
    return chosen, left


def print_choice():
    files = {path: path.read_text() for path in find_test_files()}
    known = read_durations()
    processes = int(os.environ.get("TEST_PROCESSES", "2"))
    chosen, left = choose(files, changed_files(), known, SECONDS * processes)
    print("\n".join(str(path.relative_to(ROOT)) for path in chosen))
    print(f"--fast: {len(chosen)} of {len(files)} test files; all: ./scripts/test", file=sys.stderr)
    for path in left:
        print(f"--fast leaves out, although it belongs to your changes: {path.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    print_choice()
