"""A trial's process: its lock, its log, its end with the whole group and with its parent, and why it failed."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from biformer_lit.running.parent import VARIABLE
from biformer_lit.sweep.trials.failure import header, log_tail
from biformer_lit.sweep.trials.process import lock_folder, next_command, slot_environment, start, why_failed


def wait_for(condition):
    for _ in range(6000):  # two minutes at least; looks are counted, so that a machine that stalls spoils nothing
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def number_in(path):
    """The number that another process writes into a file, once it is there as a whole."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else None


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.fixture
def trial(tmp_path):
    """Starts a Python script as a trial in ``tmp_path``, and leaves nothing of it behind."""
    processes = []
    lock = lock_folder(tmp_path)

    def run(code, **env):
        command = [sys.executable, "-c", code]
        processes.append(start(command, tmp_path, env={"PATH": os.environ["PATH"], **env}, lock=lock))
        return processes[-1]

    yield run
    lock.close()
    for process in processes:
        assert process.kill(grace=0) == []


def wait_in(code=""):
    """A script that says that it is ready and then waits."""
    return f"import os, signal, time\n{code}\nopen('ready', 'w').write(f'{{os.getpid()}}\\n')\ntime.sleep(1000)"


# -- start, poll, kill ---------------------------------------------------------------------------------------


def test_what_it_prints_and_how_it_ends(trial, tmp_path):
    (tmp_path / "failure.json").write_text("{}")
    before = time.time()
    process = trial("import sys; print('one', input() if not sys.stdin.isatty() else '')", GIVEN="1")
    assert not (tmp_path / "failure.json").exists()
    wait_for(lambda: process.poll() is not None)
    assert process.poll() == 1  # nothing can be read
    again = trial("import os, sys; print(os.environ['GIVEN']); print('two', file=sys.stderr); sys.exit(3)", GIVEN="7")
    assert wait_for(again.poll) == 3
    log = (tmp_path / "trial.log").read_text()
    assert log.index("=== started 2") < log.index("EOFError") < log.rindex("=== started 2") < log.index("two")
    assert log_tail(tmp_path) in ("7\ntwo", "two\n7")
    assert before <= process.started <= again.started
    spent = again.wall_seconds
    assert 0 < spent == again.wall_seconds
    assert again.pid != process.pid


def test_running(trial, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = trial(wait_in())
    pid = wait_for(lambda: number_in(tmp_path / "ready"))
    assert pid == process.pid == os.getpgid(pid) == os.getsid(pid)
    assert process.poll() is None
    assert process.kill() == []
    assert process.poll() == -signal.SIGTERM
    assert process.kill() == []
    assert not alive(pid)


CHILD = """
import subprocess, sys
subprocess.Popen([sys.executable, '-c', '''
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open('child', 'w').write(f'{os.getpid()}\\\\n')
time.sleep(1000)
'''])
while not os.path.exists('child'): time.sleep(0.01)
"""


def test_the_group_ends_with_it(trial, tmp_path, monkeypatch):
    """A leader and its child that both ignore SIGTERM."""
    monkeypatch.chdir(tmp_path)
    process = trial(wait_in(CHILD + "signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
    wait_for(lambda: number_in(tmp_path / "ready"))
    child = wait_for(lambda: number_in(tmp_path / "child"))
    assert alive(child)
    assert os.getpgid(child) == process.pid
    assert process.kill(grace=0.1) == []
    assert process.poll() == -signal.SIGKILL
    assert not alive(child)


def test_what_a_leader_that_ended_has_left_behind(trial, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = trial(f"import os, time\n{CHILD}")
    wait_for(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert not alive(wait_for(lambda: number_in(tmp_path / "child")))


def test_a_leader_that_somebody_else_has_waited_for(trial):
    process = trial("pass")
    os.waitpid(process.pid, 0)
    assert process.poll() == 0


# -- lock ----------------------------------------------------------------------------------------------------


def test_the_lock_lives_as_long_as_the_trial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cell" / "seed-0"
    lock = lock_folder(folder)
    assert lock_folder(folder) is None
    process = start([sys.executable, "-c", wait_in()], folder, env={}, lock=lock)
    lock.close()  # as it is when we die
    try:
        wait_for(lambda: number_in(tmp_path / "ready"))
        assert lock_folder(folder) is None
    finally:
        assert process.kill() == []
    again = lock_folder(folder)
    assert again is not None
    again.close()
    with (folder / "lock").open() as free:
        fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)


# -- the parent's death --------------------------------------------------------------------------------------

RANK = """
import importlib.util, os, subprocess, sys, time
spec = importlib.util.spec_from_file_location('parent', sys.argv[1])  # without torch
parent = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parent)
parent.die_with_parent()
name = 'leader' if 'RANK' not in os.environ else 'rank'
if name == 'leader':  # as Lightning does: the same command line, in the same environment
    subprocess.Popen([sys.executable, *sys.argv], env=os.environ | {'RANK': '1'}, start_new_session=True)
open(name, 'w').write(f'{os.getpid()}\\n')
time.sleep(1000)
"""
COORDINATOR = """
import sys, os, time
from pathlib import Path
from biformer_lit.sweep.trials.process import lock_folder, start
folder = Path('trial')
start([sys.executable, 'rank.py', sys.argv[1]], folder, env=os.environ, lock=lock_folder(folder))
time.sleep(1000)
"""


def test_a_trial_and_its_ranks_die_with_the_coordinator(root, tmp_path):
    """By SIGKILL, which nobody can pass on; the rank has left the group, so that only its parent's death ends it."""
    (tmp_path / "rank.py").write_text(RANK)
    (tmp_path / "coordinator.py").write_text(COORDINATOR)
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "coordinator.py", str(root / "biformer_lit/running/parent.py")]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as coordinator:
        try:
            pids = [wait_for(lambda name=name: number_in(tmp_path / name)) for name in ("leader", "rank")]
            assert all(map(alive, pids))
            assert lock_folder(tmp_path / "trial") is None
        finally:
            coordinator.kill()
    wait_for(lambda: not any(map(alive, pids)))
    lock = wait_for(lambda: lock_folder(tmp_path / "trial"))
    lock.close()


def test_the_command_line_ends_at_once_if_the_parent_is_gone():
    command = [sys.executable, "-m", "biformer_lit", "--version"]
    environment = os.environ | {VARIABLE: "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"error: process 0 ({VARIABLE}), which this one was to end with, has ended\n"


# -- the next command ----------------------------------------------------------------------------------------


def test_next_command(tmp_path):
    config, last = tmp_path / "config.yaml", tmp_path / "checkpoints/last.ckpt"
    first = [sys.executable, "-m", "biformer_lit", "fit", "--config", str(config)]
    assert next_command(tmp_path, config) == first
    last.parent.mkdir()
    torch.save({"weights": torch.zeros(1000)}, last)
    assert next_command(tmp_path, config) == [*first, "--ckpt_path", str(last)]
    last.write_bytes(last.read_bytes()[:-100])
    assert next_command(tmp_path, config) == first
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt.broken"]
    assert "last.ckpt is incomplete or damaged; it is now last.ckpt.broken" in (tmp_path / "trial.log").read_text()
    last.mkdir()  # weights that are sharded
    assert next_command(tmp_path, config) == [*first, "--ckpt_path", str(last)]


# -- why it failed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "log", "returncode", "reason", "message"),
    [
        (None, "", 1, "crash", "exit status 1, nothing printed"),
        (None, "Traceback\nRuntimeError: no", 1, "crash", "RuntimeError: no"),
        (None, "torch.OutOfMemoryError: CUDA out of memory.", 1, "oom", "torch.OutOfMemoryError: CUDA out of memory."),
        (None, "OSError: [Errno 28] No space left on device: 'x'", 1, "disk", "OSError: [Errno 28]"),
        ("nan", "error: train/loss=nan", 2, "nan", "told"),
        ("oom", "", 1, "oom", "told"),
        ("disk", "", 1, "disk", "told"),
        ("error", "the end", 1, "crash", "told"),
        ("error", "the end", -9, "crash", "told"),  # Lightning kills the others when a rank fails
        (None, "a\nerror: model.init_args.topk=9 is wrong\nbye", 2, "config", "model.init_args.topk=9 is wrong"),
        ("error", "", 2, "config", "told"),
        (None, "", 2, "config", "refused its configuration (exit status 2)"),
        (None, "", -9, "killed", "killed by signal 9 (SIGKILL); the system may have been out of memory"),
        (None, "", -11, "killed", "killed by signal 11 (SIGSEGV)"),
        (None, "stopped by SIGTERM after step 3", 143, "killed", "stopped by SIGTERM; goes on from where it was"),
        (None, "", -99, "killed", "killed by signal 99"),
        (None, "", 0, "killed", "ended in good order but without a result, as after SIGTERM"),
    ],
)
def test_why_failed(tmp_path, kind, log, returncode, reason, message):
    (tmp_path / "trial.log").write_bytes(header("then: python") + log.encode())
    if kind is not None:
        (tmp_path / "failure.json").write_text(json.dumps({"kind": kind, "message": "told"}))
    failure = why_failed(tmp_path, returncode, timed_out=False)
    assert failure.reason == reason
    assert failure.message == message or (message.endswith("]") and failure.message.startswith(message))
    assert failure.tail == log
    assert why_failed(tmp_path, returncode, timed_out=True).reason == "timeout"


def test_why_failed_with_next_to_nothing_there(tmp_path):
    (tmp_path / "failure.json").write_text('{"kind": "na')
    failure = why_failed(tmp_path, -15, timed_out=False)
    assert (failure.reason, failure.message, failure.tail) == ("killed", "killed by signal 15 (SIGTERM)", "")


def test_a_message_is_one_line_of_moderate_length(tmp_path):
    (tmp_path / "failure.json").write_text(json.dumps({"kind": "error", "message": "many\nwords " * 100}))
    message = why_failed(tmp_path, 1, timed_out=False).message
    assert message.startswith("many words many")
    assert len(message) == 300


def test_the_end_of_a_log_of_any_size(tmp_path):
    with (tmp_path / "trial.log").open("wb") as log:
        log.truncate(2**33)  # 8 GiB of nothing, which takes no room on the disk
        log.seek(2**33)
        log.write(b"\n" + b"".join(b"line %d\n" % i for i in range(50)) + b"\xff\xfe 1%\r 50%\r100%\r\n\nlast")
    assert log_tail(tmp_path).split("\n") == [f"line {i}" for i in range(32, 50)] + ["100%", "last"]


def test_a_log_of_one_endless_line(tmp_path):
    (tmp_path / "trial.log").write_bytes(b"x" * 200_000 + b"\nend\n")
    assert log_tail(tmp_path) == "end"


def test_the_log_of_an_earlier_attempt_is_left_out(tmp_path):
    (tmp_path / "trial.log").write_bytes(header("first") + b"error: old\n" + header("second\nattempt") + b"new\n")
    assert log_tail(tmp_path) == "new"
    assert why_failed(tmp_path, 2, timed_out=False).message.startswith("refused")


# -- places --------------------------------------------------------------------------------------------------


def test_environment_of_a_slot(monkeypatch):
    for name in ("OMP_NUM_THREADS", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    first, second, third = (slot_environment(slot, [["0", "1"], ["2", "3"]], workers=3) for slot in range(3))
    visible = [environment["CUDA_VISIBLE_DEVICES"] for environment in (first, second, third)]
    assert visible == ["0,1", "2,3", "0,1"]
    assert first["OMP_NUM_THREADS"] == "2"  # 12 cores, 3 trials, 2 processes each
    assert 1024 <= int(first["MASTER_PORT"]) < 65536
    alone = slot_environment(5, [], workers=100)
    assert "CUDA_VISIBLE_DEVICES" not in alone
    assert alone["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert slot_environment(0, [], workers=1).keys() == {"MASTER_PORT", "SLURM_JOB_NAME"}


# -- a real trial --------------------------------------------------------------------------------------------


def test_a_real_trial_stopped_and_gone_on_with(root, tmp_path, monkeypatch):
    """SIGTERM in training is no failure; the next command goes on from the checkpoint, to the end."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "seed-0"
    folder.mkdir()
    text = (root / "tests/configs/tiny.yaml").read_text()
    text = text.replace("filename: last\n", f"filename: last\n        dirpath: {folder}/checkpoints\n")
    text = text.replace("max_epochs: 2", "max_epochs: 400").replace(
        "  logger:",
        f"""\
    - class_path: biformer_lit.callbacks.TrialReport
      init_args:
        {{folder: {folder}, metric: val/acc1, mode: max, epoch: best, digest: x, parameters: 1, macs: 1}}
  logger:""",
    )
    config = folder / "config.yaml"
    config.write_text(text + "monitoring: false\n")
    environment = os.environ | {"PYTHONPATH": str(root)}
    lock = lock_folder(folder)
    process = start(next_command(folder, config), folder, env=environment, lock=lock)
    try:
        wait_for(lambda: process.poll() is not None or (folder / "checkpoints/last.ckpt").exists())
    finally:
        assert process.kill(grace=300) == []
    assert process.returncode == 143, log_tail(folder)
    failure = why_failed(folder, process.returncode, timed_out=False)
    assert failure.reason == "killed"
    assert not (folder / "failure.json").exists()

    (folder / "prune").touch()
    command = next_command(folder, config)
    assert command[-2:] == ["--ckpt_path", str(folder / "checkpoints/last.ckpt")]
    process = start(command, folder, env=environment, lock=lock)
    try:
        wait_for(lambda: process.poll() is not None)
    finally:
        assert process.kill() == []
        lock.close()
    assert process.returncode == 0, log_tail(folder)
    result = json.loads((folder / "result.json").read_text())
    assert (result["status"], result["sessions"]) == ("pruned", 2)
