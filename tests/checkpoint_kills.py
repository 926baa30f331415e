"""Saves checkpoints in processes that are killed: at a byte of the file, at a step of the exchange, or at any moment.

    python checkpoint_kills.py FOLDER KILLS SEED

Prints as JSON how many were killed where, and how many of them left the new checkpoint; fails if one was lost.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from biformer_lit.checkpoints.damage import damage, previous_of
from biformer_lit.common import files
from biformer_lit.plugins import AtomicCheckpointIO

STEPS = ("fsync", "link", "replace", "replace again", "fsync again", "saved")
SIZE = 3000


def contents(number):
    return {"epoch": number, "weights": [torch.full((SIZE,), float(number)) for _ in range(4)]}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Cut:
    """A file whose process is killed after some bytes."""

    def __init__(self, file, most):
        self.file, self.left = file, most

    def write(self, data):
        if len(data) >= self.left:
            self.file.write(bytes(data)[: self.left])
            self.file.flush()
            die()
        self.left -= len(data)
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


def kill_before(step):
    """Replace a step of the exchange by the end of the process."""
    name, _, again = step.partition(" ")
    calls = [die, None] if not again else [None, die]

    def instead(*args, **options):
        if calls.pop(0):
            die()
        return kept(*args, **options)

    owner = Path if name == "replace" else os
    kept = getattr(owner, name)
    setattr(owner, name, instead)


def child(path, number, kind, where):
    saver = AtomicCheckpointIO()
    if kind == "byte":
        new = files._unfinished
        files._unfinished = lambda target: Cut(new(target), where)
    elif kind == "step" and where != "saved":
        kill_before(where)
    saver.save_checkpoint(contents(number), path)
    if kind == "moment":
        while True:
            saver.save_checkpoint(contents(number), path)
    die()


def number_of(path):
    """The number of a whole checkpoint."""
    assert damage(path) is None, f"{path}: {damage(path)}"
    found = torch.load(path, weights_only=True)
    assert all(torch.equal(one, torch.full((SIZE,), float(found["epoch"]))) for one in found["weights"])
    return found["epoch"]


def main(folder, kills, seed):
    chance = random.Random(seed)
    path = Path(folder) / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(contents(0), path)
    size = path.stat().st_size
    counts = {kind: {"killed": 0, "new": 0, "unfinished": 0} for kind in ("byte", "step", "moment")}
    for number in range(1, kills + 1):
        kind = ("byte", "byte", "step", "moment")[number % 4]
        where = chance.randrange(1, size) if kind == "byte" else STEPS[number // 4 % len(STEPS)]
        before = number_of(path)
        pid = os.fork()
        if not pid:
            try:
                child(path, number, kind, where)
            finally:
                os._exit(1)
        if kind == "moment":
            time.sleep(chance.random() * 0.05)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), (kind, where, status)
        assert os.WTERMSIG(status) == signal.SIGKILL, (kind, where, status)
        after = number_of(path)
        assert after in (before, number), (kind, where, before, after)
        if previous_of(path).exists():
            assert number_of(previous_of(path)) <= after
        rest = {one.name for one in path.parent.iterdir()} - {path.name, previous_of(path).name}
        assert all(name.startswith(".last.ckpt.") for name in rest), rest
        assert len(rest) <= 2, rest  # of one killed process: the next one to save removes them
        counts[kind]["killed"] += 1
        counts[kind]["new"] += after == number
        counts[kind]["unfinished"] += bool(rest)
    AtomicCheckpointIO().save_checkpoint(contents(kills + 1), path)
    assert number_of(path) == kills + 1
    assert {one.name for one in path.parent.iterdir()} == {path.name, previous_of(path).name}
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
