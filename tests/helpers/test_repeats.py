"""The list of tests that are left to the slow ones names tests that exist."""

import subprocess
import sys


def test_every_line_names_a_test(root):
    lines = (root / "tests/repeats.txt").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    assert len(named) == len(set(named)) > 40
    files = sorted({line.partition("::")[0] for line in named})
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "slow", "-p", "no:cacheprovider", *files]
    done = subprocess.run(collect, cwd=root, capture_output=True, text=True, check=True)
    assert set(named) <= set(done.stdout.splitlines())
