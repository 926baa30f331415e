"""Standard output in any encoding, closed by its reader, or on a full disk."""

import logging
import os
import subprocess
import sys
import warnings

import pytest

from biformer_lit import cli
from biformer_lit.cli.streams import plain_messages

PROGRAM = """
import sys, types
for name in ("biformer_lit", "biformer_lit.cli"):  # without what they import, which takes seconds
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [name.replace(".", "/")]
from biformer_lit.cli.streams import lasting_streams
with lasting_streams():
    print("\\u2501 \\u732b")
    sys.stdout.flush()
    for _ in range(int(sys.argv[1])):
        print("x" * 1000)
"""


def run(root, lines=0, **options):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(lines)], cwd=root, check=False, stderr=subprocess.PIPE, **options
    )


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_ascii_is_enough(root, environment):
    done = run(root, env=os.environ | environment, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"\\u2501 \\u732b\n"


def test_a_reader_that_has_enough(root):
    read, write = os.pipe()
    os.close(read)
    done = run(root, 1000, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")  # noqa: PTH110 (a device)
def test_a_full_disk_behind_standard_output(root):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = run(root, 1000, stdout=full)
    assert done.returncode == 2
    assert done.stderr == b"error: standard output: No space left on device; write it elsewhere\n"


def test_logs_and_warnings_hold_no_control_characters(caplog):
    with plain_messages():
        logging.getLogger("biformer_lit.somewhere").warning("class %s\nand more", "\x1b[31mred")
        assert "\x1b" not in warnings.formatwarning("\x1b]0;title\x07", UserWarning, "file.py", 1, "")
    assert caplog.records[0].getMessage() == "class \\x1b[31mred\nand more"
    logging.getLogger("biformer_lit.somewhere").warning("\x1b")
    assert caplog.records[1].getMessage() == "\x1b"


@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's workers are ...",
        "DataLoader worker (pid(s) 3, 4) exited unexpectedly",
        "split 'train': a DataLoader worker exited unexpectedly; the system may have been out of memory",
    ],
)
def test_a_data_worker_that_was_killed_is_one_line(monkeypatch, capsys, message):
    def fail():
        raise RuntimeError(message)

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(SystemExit) as stopped:
        cli.run()
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: DataLoader worker")
    assert "fewer data.init_args.num_workers need less" in said
