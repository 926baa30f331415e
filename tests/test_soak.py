"""Runs and studies whose processes are killed at random for many minutes, against ones that nobody disturbed.

BIFORMER_LIT_SOAK sets the minutes of both together, 20 where it is not set.
"""

import contextlib
import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

SECONDS = 60 * float(os.environ.get("BIFORMER_LIT_SOAK", "20"))
PROGRAM = [sys.executable, "-m", "biformer_lit"]
CALLBACKS = """
trainer:
  max_epochs: 5
  logger:
    class_path: lightning.pytorch.loggers.TensorBoardLogger
    init_args: {save_dir: runs, name: soak, version: 0, default_hp_metric: false}
  callbacks:
    - class_path: biformer_lit.callbacks.EMA
      init_args: {decay: 0.99}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {filename: last, enable_version_counter: false, every_n_train_steps: 5}
"""
STUDY = """
name: soak
question: Does it come to the same?
base: base.yaml
plan: factorial
factors:
  topk:
    one: {model.backbone.topk: [1, all]}
    four: {model.backbone.topk: [4, all]}
seeds: [0, 1, 2]
budget: {epochs: 3}
retries: 1000
"""


def start(folder, *arguments, log):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with (folder / log).open("ab") as file:
        return subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def children(pid):
    """Processes that ``pid`` has started, and theirs."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {pid})


def wait_or_hit(process, dice, low, high):
    """Give it a random while; whether it was still there and was hit, with which signal."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(dice.uniform(low, high))
        return None
    number = dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
    process.send_signal(number)
    return number


def state(path):
    contents = torch.load(path, weights_only=True)
    return {**contents["state_dict"], **{f"raw {k}": v for k, v in contents["current_model_state"].items()}}


def train(folder, dice, ranks):
    """Train to the end whatever comes; how often it was hit. Without dice nobody hits."""
    folder.mkdir()
    (folder / "soak.yaml").write_text(CALLBACKS)
    last = folder / "runs/soak/version_0/checkpoints/last.ckpt"
    arguments = ["fit", "--config", "digits", "--config", "soak.yaml", "--trainer.enable_progress_bar", "false"]
    if ranks > 1:
        arguments += ["--trainer.strategy", "ddp", "--trainer.devices", ranks, "--trainer.sync_batchnorm", "true"]
    hits = 0
    while True:
        more = ["--ckpt_path", last] if last.exists() else []
        process = start(folder, *arguments, *more, log="log.txt")
        while process.poll() is None:
            if dice is None:
                process.wait()
                break
            if wait_or_hit(process, dice, 6, 40) is not None:
                hits += 1
                process.wait(60)
                break
        if process.returncode == 0:
            return hits, state(last)
        said = (folder / "log.txt").read_text(errors="replace")[-2000:]
        assert process.returncode in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM), said


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 1800)
def test_training_under_fire(tmp_path):
    dice = random.Random(8)
    calm = {ranks: train(tmp_path / f"calm{ranks}", None, ranks)[1] for ranks in (1, 2)}
    deadline = time.monotonic() + SECONDS / 2
    runs = hits = 0
    while runs < 2 or time.monotonic() < deadline:
        ranks = 1 + runs % 2
        more, found = train(tmp_path / f"run{runs}", dice, ranks)
        assert found.keys() == calm[ranks].keys()
        for name, value in calm[ranks].items():
            assert torch.equal(found[name], value), name
        runs, hits = runs + 1, hits + more
    print(f"\n{runs} runs, {hits} kills, all weights the same to the bit")
    assert hits


def results(folder):
    with (folder / "runs/sweeps/soak/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return sorted((row["cell"], row["seed"], row["status"], row["objective"]) for row in rows)


def sweep(folder, root, dice):
    """Run a study to its end; how often somebody was hit."""
    folder.mkdir()
    (folder / "base.yaml").write_text((root / "tests/configs/tiny.yaml").read_text())
    (folder / "study.yaml").write_text(STUDY)
    hits = 0
    while True:
        process = start(folder, "sweep", "run", "study.yaml", "--workers", 2, log="log.txt")
        while process.poll() is None:
            if dice is None:
                process.wait()
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(dice.uniform(3, 45))
                break
            victims = children(process.pid)
            target = dice.choice([process.pid, dice.choice(victims)]) if victims else process.pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                hits += 1
            if target == process.pid:
                process.wait(120)
        if process.returncode == 0:
            return hits, results(folder)
        said = (folder / "log.txt").read_text(errors="replace")[-2000:]
        assert process.returncode < 0 or process.returncode in (130, 143), said


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 1800)
def test_studies_under_fire(tmp_path, root):
    dice = random.Random(9)
    _, calm = sweep(tmp_path / "calm", root, None)
    assert len(calm) == 6
    deadline = time.monotonic() + SECONDS / 2
    studies = hits = 0
    while not studies or time.monotonic() < deadline:
        more, found = sweep(tmp_path / f"study{studies}", root, dice)
        assert found == calm
        studies, hits = studies + 1, hits + more
    print(f"\n{studies} studies of 6 trials, {hits} kills, all results the same")
    assert hits
