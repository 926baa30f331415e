"""Runs of several processes, started as Lightning, torchrun or SLURM start them, all on this machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
import yaml

SAVED = "lightning.pytorch.callbacks.ModelCheckpoint"
LAST = {
    "class_path": SAVED,
    "init_args": {"filename": "last", "save_on_train_epoch_end": True, "enable_version_counter": False},
}
EMA = {"class_path": "biformer_lit.callbacks.EMA", "init_args": {"decay": 0.9}}
# starts the tasks of a step as srun does, on nodes that are all this machine
SRUN = """#!/usr/bin/env bash
export SLURM_NTASKS=$((SLURM_NNODES * SLURM_NTASKS_PER_NODE))
while [[ "$1" == --* ]]; do shift; done
for ((task = 0; task < SLURM_NTASKS; task++)); do
  export SLURM_PROCID=$task SLURM_LOCALID=$((task % SLURM_NTASKS_PER_NODE))
  export SLURM_NODEID=$((task / SLURM_NTASKS_PER_NODE))
  "$@" &
done
status=0
for ((task = 0; task < SLURM_NTASKS; task++)); do
  wait -n
  code=$?
  if ((code && !status)); then status=$code; sleep 1; kill $(jobs -p) 2>/dev/null; fi
done
exit $status
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def environment(root, **more):
    """Ours, without what would make a process a rank of something else."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_") and k not in ("RANK", "LOCAL_RANK")}
    ours |= {"PYTHONPATH": f"{root / 'tests'}", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHON": sys.executable}
    return ours | {"MASTER_PORT": free_port(), **more}


def tiny(root, folder, *more, act=None, epochs=3):
    """Arguments of ``fit``: epochs of four batches in two processes; ``act``: what the Signaller is to do."""
    signaller = {"class_path": "signaller.Signaller", "init_args": act or {"epoch": -1}}
    config = {"trainer": {"callbacks": [EMA, signaller, LAST]}}
    name = f"{'plain' if act is None else '-'.join(str(value) for value in act.values())}.yaml"
    (folder / name).write_text(yaml.safe_dump(config))
    given = ["--config", str(root / "tests/configs/tiny.yaml"), "--config", name, "--data.batch_size", "16"]
    return [*given, "--trainer.max_epochs", str(epochs), "--monitoring", "false", *more]


def launch(root, folder, how, arguments, **more):
    """Start a run of two processes in its own session; returns the process and does not wait."""
    ours = environment(root, **more)
    command = [sys.executable, "-m", "biformer_lit", "fit", *arguments, "--trainer.devices", "2"]
    if "--trainer.strategy" not in arguments:
        command += ["--trainer.strategy", "ddp"]
    if how == "torchrun":
        command = [str(root / "scripts/torchrun.sh"), *arguments]
        ours = {"PROCESSES": "2", **ours}
    elif how == "slurm":
        tools = folder / "bin"
        tools.mkdir(exist_ok=True)
        for name, text in (("srun", SRUN), ("scontrol", '#!/bin/sh\necho "$@" >> requeued.txt\n')):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        command = [str(root / "scripts/slurm/ddp.sbatch"), *arguments]
        ours |= {"PATH": f"{tools}:{ours['PATH']}", "SLURM_JOB_ID": "4242", "SLURM_JOB_NAME": "biformer"}
        ours |= {"SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NODELIST": "localhost", **more}
    return subprocess.Popen(
        command, cwd=folder, env=ours, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run(root, folder, how, arguments, **more):
    """As ``launch``, to the end: exit status and what was written to stderr."""
    with launch(root, folder, how, arguments, **more) as process:
        _, said = process.communicate(timeout=300)
    return process.returncode, said


def living(folder):
    """Processes that work in a folder, but for those that have ended and were not yet asked how."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _works_in(path, folder)]


def _works_in(process, folder):
    try:
        zombie = (process / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
        return not zombie and (process / "cwd").readlink() == folder
    except OSError:  # has ended, or is another user's
        return False


def last(folder, version=0):
    return torch.load(folder / f"runs/tiny/version_{version}/checkpoints/last.ckpt", weights_only=True)


def leaves(value):
    if isinstance(value, dict):
        return [leaf for key in sorted(value, key=str) for leaf in leaves(value[key])]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list | tuple) else [value]


def assert_same_end(one, other):
    """Two checkpoints hold the same bits."""
    assert one["global_step"] == other["global_step"]
    assert one["callbacks"].keys() == other["callbacks"].keys()
    for part in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers"):
        pairs = list(zip(leaves(one[part]), leaves(other[part]), strict=True))
        assert pairs
        for mine, its in pairs:
            assert torch.equal(mine, its) if isinstance(mine, torch.Tensor) else mine == its, part
