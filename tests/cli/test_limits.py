"""What a machine does not give is one line."""

import errno
import resource
import sys

import pytest
import torch

from biformer_lit.cli import run
from biformer_lit.cli.limits import limit_reached, raise_file_limit


def raised(error):
    found = RuntimeError("a worker failed")
    found.__cause__ = error
    return found


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENFILE, "Too many open files in system", "/x"),
        RuntimeError("unable to open shared memory object </torch_1> in read-write mode: Too many open files (24)"),
        RuntimeError("received 0 items of ancdata"),
    ],
)
def test_files_that_may_be_open(error):
    for one in (error, raised(error)):
        assert "files open; raise it (ulimit -n 4096), or lower data.init_args.num_workers" in limit_reached(one)


def test_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert "4,000,000.0 GB were asked for at once" in limit_reached(caught.value)
    assert "not enough memory" in limit_reached(MemoryError())


def test_other_errors_are_not_these():
    for error in (OSError(errno.ENOENT, "x", "y"), RuntimeError("a defect"), ValueError("too many open files?")):
        assert limit_reached(error) is None


def test_the_limit_is_raised_as_far_as_it_may(monkeypatch):
    given = []
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: given.append(limits))
    for limits in ((48, 48), (1024, 1048576), (256, 1000), (8192, 8192), (256, resource.RLIM_INFINITY)):
        monkeypatch.setattr(resource, "getrlimit", lambda what, limits=limits: limits)
        raise_file_limit()
    assert given == [(4096, 1048576), (1000, 1000), (4096, resource.RLIM_INFINITY)]


def test_it_is_one_line(monkeypatch, capsys):
    def main():
        raise raised(OSError(errno.EMFILE, "Too many open files"))

    monkeypatch.setattr("biformer_lit.cli.main", main)
    monkeypatch.setattr("os._exit", sys.exit)
    with pytest.raises(SystemExit) as stopped:
        run()
    said = capsys.readouterr().err
    assert (stopped.value.code, said.count("\n"), said[:7]) == (2, 1, "error: ")
