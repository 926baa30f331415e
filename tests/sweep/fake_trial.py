"""Stands in for ``python -m biformer_lit fit`` in tests of studies: quick to start, and fails as it is told.

Run as ``python -S fake_trial.py CONFIG``. It trains nothing, but keeps to what a trial does: it dies with its parent,
goes on from ``checkpoints/last.ckpt``, reports as ``TrialReport`` does, and notes in ``log.jsonl`` of ``FAKE_ROOT``
every session, epoch and completion, so that tests can count them.

Settings, all below ``fake``: ``epoch_seconds`` (or ``FAKE_EPOCH_SECONDS`` in the environment); ``quality``, a factor of
the objective; ``fail`` (nan, oom, disk, refuse, crash, hang, stubborn, kill, quiet); ``at``, the epoch in which it
fails; ``times``, the sessions of this run that fail so, by default all. A file ``healed`` in ``FAKE_ROOT`` ends all
failing.
"""

# ruff: noqa: PTH100, PTH103, PTH105, PTH110, PTH118, PTH120, PTH123 (pathlib takes longer to import than the rest)

import hashlib
import json
import os
import signal
import sys
import time

ROOT = os.environ["FAKE_ROOT"]
PARENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "biformer_lit", "running", "parent.py")


def die_with_parent():
    """Of biformer_lit.running.parent, without the seconds that the package takes to import torch."""
    names = {"__name__": "parent"}
    with open(PARENT) as file:
        exec(file.read(), names)  # noqa: S102
    names["die_with_parent"]()


def append(path, entry):
    """One write to a file opened for appending: entries of several processes do not mix."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, json.dumps(entry).encode() + b"\n")
    os.close(file)


def note(what, **entry):
    append(f"{ROOT}/log.jsonl", {"what": what, "pid": os.getpid(), **entry})


def write(path, text):
    """The whole file or none."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.part", "w") as file:
        file.write(text)
    os.replace(f"{path}.part", path)


def value_of(digest, seed, epoch, epochs):
    """The objective: of the config and the seed alone, and growing with the epochs."""
    hashed = int(hashlib.sha256(f"{digest} {seed}".encode()).hexdigest()[:8], 16) / 2**32
    return (0.5 + 0.5 * hashed) * epoch / epochs


def failure(folder, kind, message):
    write(f"{folder}/failure.json", json.dumps({"kind": kind, "message": message}))
    sys.exit(f"error: {message}")


def misbehave(fail, folder):
    if fail == "nan":
        failure(folder, "nan", "DivergenceError: train/loss=nan in epoch 1")
    if fail == "oom":
        failure(folder, "oom", "OutOfMemoryError: CUDA out of memory")
    if fail == "disk":
        print("OSError: [Errno 28] No space left on device: 'last.ckpt'")
        sys.exit(1)
    if fail == "refuse":
        print("error: model.backbone.topk=9 is wrong; make it less")
        sys.exit(2)
    if fail == "crash":
        raise RuntimeError("something broke")
    if fail == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fail == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if fail in ("hang", "stubborn"):
        time.sleep(1000)
    if fail == "quiet":
        sys.exit(0)


def main():
    die_with_parent()
    with open(sys.argv[1]) as file:
        config = json.load(file)
    given, epochs, seed = config["fake"], config["trainer"]["max_epochs"], config["seed_everything"]
    report = next(c["init_args"] for c in config["trainer"]["callbacks"] if c["class_path"].endswith("TrialReport"))
    folder, digest, metric = report["folder"], report["digest"], report["metric"]
    run = "/".join(folder.split("/")[-2:])
    checkpoint = f"{folder}/checkpoints/last.ckpt"
    done = 0
    if os.path.exists(checkpoint):
        with open(checkpoint) as file:
            done = int(file.read())
    append(f"{folder}/sessions.jsonl", {})
    with open(f"{folder}/sessions.jsonl") as file:
        session = len(file.readlines())
    note("start", run=run, after=done)
    print("training", run)
    healed = os.path.exists(f"{ROOT}/healed")
    failing = given.get("fail") and not healed and session <= given.get("times", 1000)
    started, pruned = time.monotonic(), False
    for epoch in range(done + 1, epochs + 1):
        if failing and epoch >= given.get("at", 1):
            misbehave(given["fail"], folder)
        time.sleep(given.get("epoch_seconds", float(os.environ.get("FAKE_EPOCH_SECONDS", "0"))))
        value = value_of(digest, seed, epoch, epochs) * given.get("quality", 1)
        note("epoch", run=run, epoch=epoch)
        line = {"epoch": epoch, "epochs": epochs, "wall_seconds": time.monotonic() - started, "session": session}
        append(f"{folder}/progress.jsonl", {**line, "metrics": {metric: value}})
        write(checkpoint, str(epoch))
        done = epoch
        if os.path.exists(f"{folder}/prune") and epoch < epochs:
            pruned = True
            break
    value = value_of(digest, seed, done, epochs) * given.get("quality", 1)
    values = {metric: value}
    result = {"status": "pruned" if pruned else "complete", "seed": seed, "digest": digest, "epochs": done}
    result["objective"] = {"metric": metric, "mode": report["mode"], "epoch": report["epoch"], "value": value}
    result |= {"metrics": {"best": values, "last": values}, "best_epoch": done, "last_epoch": done}
    result |= {"parameters": report["parameters"], "macs": report["macs"], "images_per_second": 1.0}
    result |= {"peak_memory_bytes": 0, "wall_seconds": time.monotonic() - started, "sessions": session, "versions": {}}
    result |= {"git_commit": None, "host": "here", "device": "none"}
    note("complete", run=run)  # first: a completion that nobody hears of must not go uncounted
    write(f"{folder}/result.json", json.dumps(result))


main()
