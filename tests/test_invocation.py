"""How a process was started, and what is imported for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from biformer_lit.running.invocation import is_command_line, keep_safe_path, own_command


@pytest.mark.parametrize(
    ("interpreter", "argv", "ours"),
    [
        (["python", "-m", "biformer_lit", "fit"], ["-m", "fit"], True),
        (["python", "-mbiformer_lit"], ["-m"], True),
        (["python", "-W", "error", "-X", "dev", "-Pum", "biformer_lit"], ["-m"], True),
        (["python", "-Werror", "-Xdev", "-m", "biformer_lit"], ["-m"], True),
        (["python", "--check-hash-based-pycs", "always", "-m", "biformer_lit"], ["-m"], True),
        (["python", "/venv/bin/biformer-lit", "sweep"], ["/venv/bin/biformer-lit", "sweep"], True),
        (["python", "-m", "mytool", "-m", "biformer_lit"], ["-m", "-m", "biformer_lit"], False),
        (["python", "-m", "pytest"], ["-m"], False),
        (["python", "-c", "import x", "-m", "biformer_lit"], ["-c", "-m", "biformer_lit"], False),
        (["python", "script.py", "-m", "biformer_lit"], ["script.py", "-m", "biformer_lit"], False),
        (["python", "-"], ["-"], False),
        (["python"], [""], False),
        ([], [], False),
    ],
)
def test_whether_the_command_line_runs(interpreter, argv, ours):
    assert is_command_line(interpreter, argv) is ours


def test_trials_are_started_as_this_process_was(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x/biformer-lit", "sweep"])
    assert own_command() == [sys.executable, str(Path("x/biformer-lit").absolute())]
    monkeypatch.setattr(sys, "argv", ["x/__main__.py"])
    assert own_command() == [sys.executable, "-m", "biformer_lit"]
    monkeypatch.setattr(sys, "flags", type("Flags", (), {"safe_path": True}))
    assert own_command() == [sys.executable, "-P", "-m", "biformer_lit"]


def python(*arguments, cwd, **variables):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_another_program_finds_the_models(root, tmp_path):
    """Under ``-m`` too, where its package imports ours while Python still looks for the module to run."""
    (tmp_path / "mytool").mkdir()
    (tmp_path / "mytool/__init__.py").write_text("import biformer_lit\nimport timm\n")
    (tmp_path / "mytool/__main__.py").write_text("import timm\nprint(timm.is_model('biformer_tiny'))\n")
    assert python("-m", "mytool", cwd=tmp_path, PYTHONPATH=str(root)) == "True\n"


def test_what_lies_in_the_folder_does_not_run_for_what_is_installed(root, tmp_path):
    """As the entry point starts, and as it starts its trials."""
    for name in ("biformer_lit", "torch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("open('ran.txt', 'w')\nraise SystemExit(3)\n")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/biformer-lit"
    script.write_text(
        "import sys\nfrom biformer_lit.running.invocation import own_command\n"
        "if sys.argv[1:]:\n    import biformer_lit\n    print(biformer_lit.__file__)\n"
        "else:\n    import subprocess\n    subprocess.run([*own_command(), 'again'], check=True)\n"
    )
    said = python(str(script), cwd=tmp_path, PYTHONPATH=str(root))
    assert said.strip() == str(root / "biformer_lit/__init__.py")
    assert not (tmp_path / "ran.txt").exists()


def test_a_safe_path_stays_safe(monkeypatch):
    """For ranks, which Lightning starts with ``python -m`` alone."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    for safe in (False, True):
        monkeypatch.setattr(sys, "flags", type("Flags", (), {"safe_path": safe}))
        keep_safe_path()
        assert os.environ.get("PYTHONSAFEPATH") == ("1" if safe else None)
