"""The sweep command with a trainer that fails as it is told: reasons, retries, starting again, changing a study."""

import json
import math
import signal
import time

import pandas as pd
import pytest
import studies
import yaml
from optuna.trial import TrialState
from studies import (
    completions,
    entries,
    start,
    study,
    sweep,
    table,
    trainers_of,
    wait_for,
)

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.trials import runner
from biformer_lit.sweep.trials.progress import Progress, ProgressFile


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs ``study.yaml`` in ``tmp_path`` in this process; the exit status."""
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return sweep("run", tmp_path / "study.yaml", *arguments)

    return call


def ledger_of(root, name="study"):
    return studies.ledger_of(root / "runs/sweeps" / name)


def results(root):
    frame = pd.read_csv(root / "runs/sweeps/study/results.csv", keep_default_na=False)
    return {row.cell.removeprefix("x="): row for row in frame.itertuples()}


FAILURES = {  # reason, sessions, a part of the message
    "nan": ("nan", 1, "DivergenceError: train/loss=nan in epoch 1"),
    "oom": ("oom", 1, "OutOfMemoryError: CUDA out of memory"),
    "refuse": ("config", 1, "model.backbone.topk=9 is wrong; make it less"),
    "hang": ("timeout", 1, "took longer than budget.minutes allows"),
    "disk": ("disk", 2, "No space left on device"),
    "crash": ("crash", 2, "RuntimeError: something broke"),
    "kill": ("killed", 2, "killed by signal 9 (SIGKILL)"),
    "quiet": ("killed", 2, "ended in good order but without a result"),
}


def test_failures_and_retries(run, tmp_path, capsys):
    fake = {i: {"fake.fail": fail} for i, fail in enumerate(FAILURES)}
    study(tmp_path, cells=len(fake) + 1, fake=fake, budget={"minutes": 0.02})
    assert run("--workers", "3") == 1
    rows, trials = results(tmp_path), ledger_of(tmp_path).trials()
    said = capsys.readouterr()
    for i, (reason, sessions, message) in enumerate(FAILURES.values()):
        row = rows[f"c{i}"]
        assert (row.status, row.reason, row.objective) == ("failed", reason, ""), row
        own = [trial for trial in trials if trial.user_attrs["job"].startswith(f"x=c{i}-")]
        assert [trial.user_attrs["attempt"] for trial in own] == list(range(sessions))
        assert {trial.state.name for trial in own} == {"FAIL"}
        assert message in own[-1].user_attrs["message"]
        assert "training x=" in own[-1].user_attrs["tail"]
        assert sum(e["what"] == "start" and e["run"].startswith(f"x=c{i}-") for e in entries(tmp_path)) == sessions
        assert f"failed: {own[0].user_attrs['job']} ({reason})" in said.err
    last = rows[f"c{len(fake)}"]
    assert (last.status, last.reason) == ("complete", "")
    assert sum(completions(tmp_path).values()) == 1

    assert run("--workers", "3") == 1  # nothing is tried again unasked
    assert ledger_of(tmp_path).trials() == trials
    (tmp_path / "healed").touch()
    assert run("--retry-failed", "--workers", "3") == 0
    assert {row.status for row in results(tmp_path).values()} == {"complete"}
    assert set(completions(tmp_path).values()) == {1}


def test_retries_are_counted_anew_when_asked_for(run, tmp_path):
    study(tmp_path, cells=1, fake={0: {"fake.fail": "crash", "fake.times": 3}}, retries=0)
    assert [run(), run("--retry-failed"), run(), run("--retry-failed")] == [1, 1, 1, 1]
    assert run("--retry-failed") == 0
    assert len(ledger_of(tmp_path).trials()) == 4


def test_a_trial_that_fails_at_first(run, tmp_path):
    fake = {0: {"fake.fail": "kill", "fake.times": 2, "fake.at": 2}, 1: {"fake.fail": "crash", "fake.times": 1}}
    study(tmp_path, cells=2, fake=fake, retries=2)
    assert run("--workers", "2") == 0
    starts = [e["after"] for e in entries(tmp_path) if e["what"] == "start" and e["run"].startswith("x=c0")]
    assert starts == [0, 1, 1]


def test_a_trial_that_hangs_and_cannot_be_ended(run, tmp_path, monkeypatch):
    monkeypatch.setattr(runner.TrialProcess.kill, "__defaults__", (0.2,))
    study(tmp_path, cells=1, fake={0: {"fake.fail": "stubborn"}}, budget={"minutes": 0.01})
    assert run() == 1
    assert results(tmp_path)["c0"].reason == "timeout"
    assert trainers_of(tmp_path) == []


def test_a_finished_study_starts_nothing(run, tmp_path):
    study(tmp_path, cells=3)
    assert run("--workers", "2") == 0
    trials, noted = ledger_of(tmp_path).trials(), entries(tmp_path)
    before = (tmp_path / "runs/sweeps/study/results.csv").read_text()
    assert run("--workers", "2") == 0
    assert ledger_of(tmp_path).trials() == trials
    assert entries(tmp_path) == noted
    assert (tmp_path / "runs/sweeps/study/results.csv").read_text() == before


@pytest.mark.parametrize("storage", [[], ["--storage", "sqlite:///study.db"]])
def test_a_changed_study(run, tmp_path, storage):
    study(tmp_path, cells=2)
    assert run(*storage) == 0
    study(tmp_path, cells=3, seeds=[0, 1])
    with pytest.raises(ConfigError, match=r"--extend.*--name NEW") as raised:
        run(*storage)
    assert "\n" not in str(raised.value)
    assert "factors, seeds changed" in str(raised.value)
    assert run(*storage, "--extend", "--workers", "2") == 0
    assert set(completions(tmp_path).values()) == {1}
    assert len(completions(tmp_path)) == 6
    assert run(*storage) == 0  # it is the study now
    assert len(ledger_of(tmp_path).trials()) == 6
    assert sorted(t.params["seed"] for t in ledger_of(tmp_path).trials()) == [0, 0, 0, 1, 1, 1]

    study(tmp_path, cells=2, seeds=[0])
    for way in ([], ["--extend"]):
        with pytest.raises(ConfigError, match=r"cell x=c2, seed 1\): begin a new study with --name NEW"):
            run(*storage, *way)
    assert run(*storage, "--name", "other") == 0
    assert len(ledger_of(tmp_path, "other").trials()) == 2
    assert len(ledger_of(tmp_path).trials()) == 6
    with pytest.raises(ConfigError, match="holds study study, not third"):
        run(*storage, "--name", "third", "--folder", "runs/sweeps/study")


def test_what_cannot_be_extended(run, tmp_path):
    """The old results would not be comparable with the new ones."""
    study(tmp_path, cells=2)
    assert run() == 0
    study(tmp_path, cells=3, objective={"metric": "val/loss", "mode": "min"})
    with pytest.raises(ConfigError, match=r"objective changed\): begin a new"):
        run("--extend")
    study(tmp_path, cells=3, set={"fake.other": 1})
    with pytest.raises(ConfigError, match=r"of another meaning: cell x=c0 \(fake.other=1 is new\), cell x=c1 \("):
        run("--extend")


def test_a_study_that_others_extend(tmp_path):
    """Who began with fewer cells trains those alone, and leaves a table of all."""
    path = study(tmp_path, cells=2, set={"fake.epoch_seconds": 0.3})
    first = start(tmp_path, path)
    wait_for(lambda: entries(tmp_path))
    path = study(tmp_path, cells=4, set={"fake.epoch_seconds": 0.3})
    second = start(tmp_path, path, "--extend", FAKE_NO_REPORT="1")
    assert [first.wait(), second.wait()] == [0, 0], (tmp_path / "coordinator.log").read_text()
    assert sorted(completions(tmp_path).values()) == [1, 1, 1, 1]
    assert [row[0] for row in table(tmp_path)] == ["x=c0", "x=c1", "x=c2", "x=c3"]


def test_a_table_of_what_others_added(run, tmp_path, monkeypatch, capsys):
    """Their trials are rows, as far as they have come, and no failure of ours."""
    study(tmp_path, cells=2)
    assert run() == 0
    began = runner.Runner.run

    def extended(self):
        standings = began(self)
        added = json.loads(self.ledger.trials()[0].user_attrs["about"])
        added |= {"key": "x=c9-12345678/seed-0", "cell": "x=c9", "factors": {"x": "c9"}}
        self.ledger.enqueue([runner.Job(**added)])
        return standings

    monkeypatch.setattr(runner.Runner, "run", extended)
    assert run() == 0
    assert results(tmp_path)["c9"].status == "missing"
    assert "1 trials that another command added are not settled" in capsys.readouterr().err


# -- interruptions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_stopped(tmp_path, number):
    path = study(tmp_path, cells=3, set={"fake.epoch_seconds": 0.2})
    coordinator = start(tmp_path, path, "--workers", "2")
    wait_for(lambda: any(entry["what"] == "epoch" for entry in entries(tmp_path)))
    coordinator.send_signal(number)
    assert coordinator.wait() == 130
    assert trainers_of(tmp_path) == []
    trials = studies.ledger_of(tmp_path / "study").trials()
    assert {t.state.name for t in trials} <= {"FAIL", "WAITING", "COMPLETE"}
    assert {t.user_attrs["reason"] for t in trials if t.state.name == "FAIL"} == {"interrupted"}
    assert "stopped; the same command goes on" in (tmp_path / "coordinator.log").read_text()
    assert start(tmp_path, path, "--workers", "2").wait() == 0
    assert sorted(completions(tmp_path).values()) == [1, 1, 1]
    assert [row[2] for row in table(tmp_path)] == ["complete"] * 3


def test_a_result_that_nobody_heard_of(run, tmp_path):
    """The coordinator died between the trial's result and its own word to the storage."""
    study(tmp_path, cells=1)
    assert run() == 0
    ledger = ledger_of(tmp_path)
    key = ledger.trials()[0].user_attrs["job"]
    study(tmp_path, cells=1, seeds=[0, 1])
    config = tmp_path / "runs/sweeps/study/cells" / key
    other = config.with_name("seed-1")
    other.mkdir()
    result = json.loads((config / "result.json").read_text()) | {"seed": 1}
    (other / "result.json").write_text(json.dumps(result))
    noted = entries(tmp_path)
    assert run("--extend") == 0
    assert entries(tmp_path) == noted
    assert [trial.state.name for trial in ledger_of(tmp_path).trials()] == ["COMPLETE"] * 2


@pytest.mark.parametrize("text", ["[]", "{", '{"digest": "of something else"}'])
def test_a_result_of_something_else(run, tmp_path, text):
    study(tmp_path, cells=1)
    study(tmp_path, cells=1, fake={0: {"fake.fail": "kill"}}, retries=0)
    assert run() == 1
    folder = next((tmp_path / "runs/sweeps/study/cells").glob("*/*"))
    (folder / "result.json").write_text(text)
    (tmp_path / "healed").touch()
    assert run("--retry-failed") == 0
    assert sum(completions(tmp_path).values()) == 1


def test_given_up_by_others(tmp_path):
    """A trial that somebody else has set to FAIL is stopped, and its job goes on as another attempt."""
    path = study(tmp_path, cells=1, set={"fake.epoch_seconds": 0.5})
    coordinator = start(tmp_path, path, "--folder", str(tmp_path / "runs/sweeps/study"), FAKE_HEARTBEAT="0")
    wait_for(lambda: any(entry["what"] == "epoch" for entry in entries(tmp_path)))
    ledger = ledger_of(tmp_path)
    trial = ledger.trials()[0]
    ledger.set(trial._trial_id, "reason", "interrupted")
    assert ledger.finish(trial._trial_id, TrialState.FAIL)
    assert coordinator.wait() == 0
    assert "was given up by others" in (tmp_path / "coordinator.log").read_text()
    trials = ledger_of(tmp_path).trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"]
    assert sum(completions(tmp_path).values()) == 1
    pids = {entry["pid"] for entry in entries(tmp_path)}
    assert len(pids) == 2


def test_the_config_of_a_trial(run, tmp_path):
    study(tmp_path, cells=1, seeds=[7], budget={"epochs": 2})
    assert run() == 0
    folder = next((tmp_path / "runs/sweeps/study/cells").glob("*/*"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["seed_everything"], config["trainer"]["max_epochs"]) == (7, 2)
    assert not math.isnan(json.loads((folder / "result.json").read_text())["objective"]["value"])


def test_a_disk_that_is_full_for_a_while(run, tmp_path, monkeypatch, capsys):
    """The coordinator waits, as it does for a storage."""
    write, calls = runner.write_text, []

    def full(path, text):
        calls.append(path)
        if len(calls) < 3:
            raise OSError(28, "No space left on device")
        write(path, text)

    monkeypatch.setattr(runner, "write_text", full)
    study(tmp_path, cells=1)
    assert run() == 0
    assert [path.name for path in calls] == ["config.yaml"] * 3 + ["trial.yaml"]
    assert "No space left on device" in capsys.readouterr().out
    assert sum(completions(tmp_path).values()) == 1


def test_progress(tmp_path):
    """Lines of two sessions, with what kills may leave between them."""

    def line(epoch, seconds, **metrics):
        return json.dumps({"epoch": epoch, "epochs": 10, "wall_seconds": seconds, "metrics": metrics}).encode() + b"\n"

    path = tmp_path / "progress.jsonl"
    file = ProgressFile(tmp_path, "val/acc1", whole=True)
    assert list(file.new()) == []
    path.write_bytes(line(1, 5.0, **{"val/acc1": 0.1}) + line(2, 10.0) + b'{"epoch": 3, "ep\n' + b"[]\n\x00\x00\n{}\n")
    assert list(file.new()) == [Progress(1, 10, 0.1, 45.0), Progress(2, 10, 0.1, 40.0)]
    with path.open("ab") as more:
        more.write(line(3, 1.0, **{"val/acc1": 0.3}) + line(4, 2.0)[:-9])
    assert list(file.new()) == [Progress(3, 10, 0.3, 7.0)]
    with path.open("ab") as more:
        more.write(line(4, 2.0)[-9:])
    assert list(file.new()) == [Progress(4, 10, 0.3, 6.0)]
    assert list(ProgressFile(tmp_path, "val/acc1").new()) == []


# -- time ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_overhead(tmp_path):
    """40 cells of a second each in 4 places take ten seconds, and little more beside the starting of processes."""
    path = study(tmp_path, cells=40, set={"fake.epoch_seconds": 1.0}, budget={"epochs": 1})
    one = study(tmp_path, cells=40, budget={"epochs": 1}, name="starting")
    (tmp_path / "starting").mkdir()
    began = time.monotonic()
    assert (
        start(tmp_path, one, "--workers", "1", "--folder", str(tmp_path / "starting"), FAKE_NO_REPORT="1").wait() == 0
    )
    alone = time.monotonic() - began
    path = study(tmp_path, cells=40, set={"fake.epoch_seconds": 1.0}, budget={"epochs": 1})
    began = time.monotonic()
    assert start(tmp_path, path, "--workers", "4", FAKE_NO_REPORT="1").wait() == 0
    took = time.monotonic() - began
    print(f"40 trials of 1 s in 4 places: {took:.1f} s; 40 trials of 0 s in one place: {alone:.1f} s")
    assert took <= 13 + alone / 4
