"""Studies with a trainer that only pretends; ``python studies.py run STUDY ...`` is the ``sweep`` command with it."""

# ruff: noqa: E402, PLC0415, PERF203

import functools
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

if __name__ == "__main__":
    # importing biformer_lit imports torch, which takes seconds that hundreds of coordinators do not have; what is
    # tested here needs none of it
    package = types.ModuleType("biformer_lit")
    package.__path__ = [str(ROOT / "biformer_lit")]
    sys.modules["biformer_lit"] = package

import yaml

from biformer_lit.errors import ConfigError
from biformer_lit.sweep import command
from biformer_lit.sweep.trials import claim, storage
from biformer_lit.sweep.trials.runner import Runner
from biformer_lit.sweep.trials.study import find_study, open_ledger

opened = []
"""Storages that tests opened."""


def parse(arguments):
    """From arguments of ``fit`` to a config: what begins with ``fake.`` is for the trainer."""
    config = {"seed_everything": 0, "trainer": {"max_epochs": 3, "callbacks": [], "logger": True}, "fake": {}}
    for argument in arguments:
        name, _, text = argument.removeprefix("--").partition("=")
        if name.startswith("fake."):
            config["fake"][name.removeprefix("fake.")] = yaml.safe_load(text)
        elif name == "trainer.max_epochs":
            config["trainer"]["max_epochs"] = yaml.safe_load(text)
    return config


class FakeRuns:
    """Runs of the trainer that pretends."""

    def config(self, arguments):
        return parse(arguments)

    def costs(self, config):
        return {"parameters": 1000, "macs": 1000 * config["fake"].get("cost", 1)}

    def seconds(self, config):
        return 1.0

    def objective(self, config):
        return {}

    def default(self, class_path, argument):
        raise LookupError(argument)


def fake_command(folder, config):
    return [sys.executable, "-S", str(HERE / "fake_trial.py"), str(config)]


def sweep(*arguments):
    """The command, in this process; its exit status."""
    runner, term = command.Runner, signal.getsignal(signal.SIGTERM)
    command.Runner = functools.partial(Runner, command=fake_command)
    try:
        return command.sweep([str(argument) for argument in arguments], FakeRuns())
    finally:
        command.Runner = runner
        signal.signal(signal.SIGTERM, term)


def study(root, cells=6, **changes):
    """Write a study file of some cells; ``fake`` holds settings of single cells, by number."""
    special = changes.pop("fake", {})
    values = {
        "name": "study",
        "question": "Does it work?",
        "base": "digits",
        "plan": "factorial",
        "set": changes.pop("set", {}),
        "factors": {"x": {f"c{i}": {"fake.x": i, **special.get(i, {})} for i in range(cells)}},
        "seeds": [0],
        **changes,
    }
    path = root / "study.yaml"
    given = {name: value for name, value in values.items() if value is not None}
    path.write_text(yaml.safe_dump(given, sort_keys=False))
    return path


def start(root, path, *arguments, **environment):
    """The command in a process of its own, in ``root``."""
    with (root / "coordinator.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(HERE / "studies.py"), "run", str(path), "--folder", str(root / "study"), *arguments],
            cwd=root,
            env=os.environ | {"FAKE_ROOT": str(root), **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait_for(condition, what=""):
    for _ in range(9000):  # three minutes at least; looks are counted, so that a machine that stalls spoils nothing
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain {what}")


def entries(root):
    """What the trainers noted."""
    path = root / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def completions(root):
    return Counter(entry["run"] for entry in entries(root) if entry["what"] == "complete")


def check_epochs(root):
    """No session began before an epoch that was finished, but for the one whose checkpoint a kill prevented."""
    last = {}
    for entry in entries(root):
        if entry["what"] == "epoch":
            last[entry["run"]] = entry["epoch"]
        elif entry["what"] == "start":
            assert entry["after"] >= last.get(entry["run"], 0) - 1, entry


def ledger_of(folder):
    """The trials of the study in a folder; the storage is closed at the end of the test."""
    spec, folder = find_study(str(folder))
    ledger = open_ledger(spec, folder, print)
    opened.append(ledger.storage)
    return ledger


def trials_of(root, arguments):
    """All trials of a study, those that do not count too."""
    url = arguments[1] if arguments else None
    there = storage.open_storage(url, root / "study")
    with storage.closing(there):
        return there.get_all_trials(there.get_study_id_from_name("study"))


def check_once(root, arguments, cells):
    """Every cell is complete once, in the storage and by the trainers' own count; nothing is left open."""
    trials = trials_of(root, arguments)
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}
    complete = [trial.user_attrs["job"] for trial in trials if trial.state.name == "COMPLETE"]
    assert len(complete) == len(set(complete)) == cells
    counted = completions(root)
    assert set(counted) == set(complete)
    assert set(counted.values()) == {1}
    check_epochs(root)
    return trials


def processes_of(root):
    """Living processes that have to do with a folder, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int(path.name) == os.getpid() or (path / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                continue
            texts = [(path / name).read_bytes() for name in ("cmdline", "environ")]
        except OSError:  # ended just now
            continue
        if any(str(root).encode() in text for text in texts):
            found.append(int(path.name))
    return found


def trainers_of(root):
    """Those of them that train."""
    found = []
    for pid in processes_of(root):
        try:
            if b"fake_trial.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def table(root):
    """The results without what takes its time: run to (status, reason, objective, last epoch)."""
    import pandas as pd

    frame = pd.read_csv(root / "study" / "results.csv", keep_default_na=False)
    columns = ["cell", "seed", "status", "reason", "objective", "best_epoch", "last_epoch", "digest", "parameters"]
    return sorted(frame[columns].itertuples(index=False, name=None))


if __name__ == "__main__":
    if "FAKE_HEARTBEAT" in os.environ:
        claim.HEARTBEAT = float(os.environ["FAKE_HEARTBEAT"])
    if "FAKE_PATIENCE" in os.environ:
        storage.PATIENCE = float(os.environ["FAKE_PATIENCE"])
    if "FAKE_NO_REPORT" in os.environ:  # pandas takes its time
        command._report = lambda spec, folder, jobs, standings: 0
    try:
        sys.exit(sweep(*sys.argv[1:]))
    except ConfigError as error:
        sys.exit(f"error: {error}")
