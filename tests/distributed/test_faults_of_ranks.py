"""One process of a run dies or fails: the others end soon, with its reason, and nothing is left behind."""

import signal
import time

import pytest
from helpers.launching import living, run, tiny


def fails(root, folder, how, act, *more, **variables):
    """The exit status and what was written to stderr; nothing is left of the run soon after it has ended."""
    status, said = run(root, folder, how, tiny(root, folder, *more, act=act), **variables)
    for _ in range(600):  # a minute at least: data workers look for their parent every five seconds
        if not living(folder):
            return status, said
        time.sleep(0.1)
    raise AssertionError(f"processes are left: {living(folder)}")


KILLED = (
    "error: process 1 of the run was ended by SIGKILL (the system may have been out of memory), "
    "so the others were ended"
)


@pytest.mark.parametrize(
    ("what", "status", "line"),
    [
        pytest.param("SIGKILL", 128 + signal.SIGKILL, KILLED, marks=pytest.mark.slow),
        ("error", 2, "error: row 17 of 'train' cannot be read; remove it"),
    ],
)
def test_the_reason_of_the_one_that_failed(root, tmp_path, what, status, line):
    got, said = fails(root, tmp_path, "lightning", {"what": what, "rank": 1})
    assert got == status, said
    assert [one for one in said.splitlines() if one.startswith("error")] == [line]
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("how", ["lightning", "torchrun", "slurm"])
@pytest.mark.parametrize("where", ["train", "validation", "save"])
@pytest.mark.parametrize("rank", [0, 1])
def test_killed_anywhere(root, tmp_path, how, where, rank):
    status, said = fails(root, tmp_path, how, {"what": "SIGKILL", "rank": rank, "where": where, "batch": 1})
    assert status == {"lightning": -9 if rank == 0 else 137, "torchrun": 1, "slurm": 137}[how], said
    assert "/gloo/" not in said  # the traceback of one that only lost the others


@pytest.mark.slow
@pytest.mark.parametrize("how", ["lightning", "torchrun", "slurm"])
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("what", ["error", "bug", "worker"])
def test_failed_anywhere(root, tmp_path, how, rank, what):
    workers = ["--data.num_workers", "1"] if what == "worker" else []
    status, said = fails(root, tmp_path, how, {"what": what, "rank": rank}, *workers)
    expected = 2 if what == "error" else 1
    assert status == (1 if how == "torchrun" else expected), said  # torchrun has one status for everything
    assert "/gloo/" not in said  # the traceback of one that only lost the others
    if what == "error":
        assert said.count("row 17") == 1
        assert how == "torchrun" or "Traceback" not in said
    if what == "bug":
        assert said.count("KeyError: 'a defect'") == 1
    if what == "worker":
        assert "DataLoader worker " in said, said  # killed by signal, or exited unexpectedly: as is noticed first


@pytest.mark.slow
@pytest.mark.parametrize("how", ["lightning", "torchrun"])
def test_one_that_hangs(root, tmp_path, how):
    limit = ["--trainer.strategy", "DDPStrategy", "--trainer.strategy.timeout", "0:00:10"]
    status, said = fails(root, tmp_path, how, {"what": "SIGSTOP", "rank": 1}, *limit)
    assert status == 1
    assert "lost contact" in said, said


@pytest.mark.slow
def test_one_of_four(root, tmp_path):
    status, said = fails(root, tmp_path, "torchrun", {"what": "SIGKILL", "rank": 2}, PROCESSES="4")
    assert status == 1
    assert "rank      : 2" in said
