"""Searches with a trainer that pretends: exactly so many cells, pruned and confirmed, whoever is killed."""

import json
import random
import time

import pytest
from studies import check_epochs, completions, entries, ledger_of, start, study, sweep

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.trials import runner
from biformer_lit.sweep.trials.claim import Claim
from biformer_lit.sweep.trials.study import find_study

FACTORS = {"x": {"good": {"fake.x": 0}, "fair": {"fake.x": 1}, "bad": {"fake.quality": 0.1}, "big": {"fake.cost": 2}}}
SPACE = {"lr": {"key": "fake.lr", "low": 1e-4, "high": 1e-2, "log": True}}


def search(root, trials=12, **changes):
    values = {
        "plan": "search",
        "factors": FACTORS,
        "space": SPACE,
        "baseline": {"x": "good"},
        "constraints": {"macs": 1.5},
        "budget": {"trials": trials, "epochs": 4},
        "search": {"warmup_epochs": 1, "confirm": 2, "top": 2},
    }
    return study(root, **(values | changes))


def check_search(root, cells, confirm=2, top=2):
    """All cells of a search, each settled once, and its best and the baseline confirmed; its trials."""
    spec, _ = find_study(str(root / "study"))
    ledger = ledger_of(root / "study")
    jobs, trials = ledger.jobs(), ledger.trials()
    drawn = [job for job in jobs if job.phase == "search"]
    assert len(drawn) == cells
    standings = ledger.standings(job.key for job in jobs)
    too_big = {job.key for job in drawn if job.factors["x"] == "big" and spec.constraints}
    for key, standing in standings.items():
        assert standing.status in (("failed",) if key in too_big else ("complete", "pruned")), (key, standing)
        assert standing.reason == ("constraint" if key in too_big else None)
    assert not any(entry["run"] in too_big for entry in entries(root))
    assert not any(trial.state.name in ("RUNNING", "WAITING") for trial in trials)

    complete = [job for job in drawn if standings[job.key].status == "complete"]
    complete.sort(key=lambda job: -standings[job.key].result["objective"]["value"])
    wanted = {(job.cell, seed) for job in complete[:top] for seed in range(1, confirm + 1)}
    wanted |= {("baseline", seed) for seed in range(1, confirm + 1) if spec.baseline}
    assert {(job.cell, job.seed) for job in jobs if job.phase == "confirm"} == wanted
    assert set(completions(root).values()) == {1}
    assert len(completions(root)) == cells - len(too_big) + len(wanted)
    check_epochs(root)
    return trials


@pytest.mark.parametrize(
    "storage",
    [[], pytest.param(["--storage", "sqlite:///study.db"], marks=pytest.mark.slow)],
    ids=["journal", "sqlite"],
)
def test_a_search(tmp_path, monkeypatch, storage):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    monkeypatch.setenv("FAKE_EPOCH_SECONDS", "0.06")
    monkeypatch.setattr(runner, "_LOOK", 0.01)
    monkeypatch.setattr(runner, "_PAUSE", 0.01)
    options = {"search": {"warmup_epochs": 1, "confirm": 2, "top": 2, "sampler_seed": 7}}
    path = search(tmp_path, **options)
    arguments = ["run", path, "--folder", tmp_path / "study", *storage]
    assert sweep(*arguments) == 0
    trials = check_search(tmp_path, 12)
    pruned = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert pruned
    assert "bad" in {trial.params["x"] for trial in pruned}
    for trial in pruned:
        assert json.loads(trial.user_attrs["result"])["epochs"] < 4
        assert 0 < len(trial.intermediate_values) < 4
    for trial in trials:
        if trial.state.name == "COMPLETE" and trial.user_attrs["phase"] == "search":
            assert trial.intermediate_values.keys() <= {1, 2, 3, 4}
            assert set(trial.params) == {"x", "lr"}
    noted = entries(tmp_path)
    assert sweep(*arguments) == 0
    assert sweep(*arguments, "--retry-failed") == 0  # a cell that is too big stays so
    assert entries(tmp_path) == noted
    assert len(check_search(tmp_path, 12)) == len(trials)
    search(tmp_path, factors={"x": {**FACTORS["x"], "new": {"fake.x": 9}}}, **options)
    with pytest.raises(ConfigError, match=r"factors changed\): begin a new study"):
        sweep(*arguments, "--extend")
    search(tmp_path, trials=14, **options)
    assert sweep(*arguments, "--extend") == 0
    assert sum(job.phase == "search" for job in ledger_of(tmp_path / "study").jobs()) == 14


def test_a_space_that_is_soon_exhausted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    path = search(tmp_path, space=None, baseline=None, constraints=None, search={"confirm": 0})
    began = time.monotonic()
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    assert time.monotonic() - began < 60
    assert len(completions(tmp_path)) == 4
    journal = (tmp_path / "study" / "journal.log").read_text()
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    added = (tmp_path / "study" / "journal.log").read_text().removeprefix(journal)
    assert not any(json.loads(line)["op_code"] == 4 for line in added.splitlines())  # no new trial


def test_killed_before_a_cell_was_told_to_be_too_big(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    path = search(tmp_path, trials=5, search={"confirm": 0, "sampler_seed": 7})
    fail = Claim.fail

    def die(claim, reason, *more):
        claim.lock.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Claim, "fail", die)
    assert sweep("run", path, "--folder", tmp_path / "study") == 130
    monkeypatch.setattr(Claim, "fail", fail)
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    trials = check_search(tmp_path, 5, confirm=0)
    assert {"interrupted", "constraint"} <= {trial.user_attrs.get("reason") for trial in trials}


def test_the_pruner_knows_the_epochs_before_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    monkeypatch.setenv("FAKE_EPOCH_SECONDS", "0.2")
    monkeypatch.setattr(runner, "_LOOK", 0.01)
    factors = {"x": {"only": {"fake.fail": "kill", "fake.times": 1, "fake.at": 3}}}
    path = search(tmp_path, trials=1, factors=factors, baseline=None, constraints=None, search={"confirm": 0})
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    trials = check_search(tmp_path, 1, confirm=0)
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"]
    assert trials[1].intermediate_values.keys() >= {1, 2, 3}


def test_a_killed_search(tmp_path):
    kill_search(tmp_path, [], coordinators=1, rounds=2, cells=5)


@pytest.mark.slow
@pytest.mark.parametrize("coordinators", [1, 3])
@pytest.mark.parametrize("kind", ["journal", "sqlite", "postgresql", "grpc"])
def test_a_search_killed_many_times(tmp_path, storage_of, kind, coordinators):
    kill_search(tmp_path, storage_of(kind), coordinators=coordinators, rounds=20, cells=40)


def kill_search(root, storage, *, coordinators, rounds, cells):
    path = search(root, trials=cells)
    chance = random.Random(coordinators)
    environment = {"FAKE_EPOCH_SECONDS": "0.1", "FAKE_NO_REPORT": "1"}
    running = []
    try:
        for _ in range(rounds):
            while len(running) < coordinators:
                running.append(start(root, path, *storage, **environment))
            time.sleep(chance.uniform(0.5, 2))  # nothing waits for this to be long enough
            victim = running.pop(chance.randrange(len(running)))
            victim.kill()
            victim.wait()
        running += [start(root, path, *storage, **environment) for _ in range(coordinators - len(running))]
        assert [one.wait() for one in running] == [0] * coordinators, (root / "coordinator.log").read_text()[-3000:]
    finally:
        for one in running:
            one.kill()
            one.wait()
    check_search(root, cells)


def test_several_coordinators_draw_exactly_so_many(tmp_path):
    path = search(tmp_path, trials=5, search={"confirm": 1, "top": 1})
    running = [start(tmp_path, path, FAKE_NO_REPORT="1") for _ in range(3)]
    assert [one.wait() for one in running] == [0, 0, 0], (tmp_path / "coordinator.log").read_text()
    check_search(tmp_path, 5, confirm=1, top=1)


def test_a_cell_that_cannot_be(tmp_path, monkeypatch):
    """Parameters that are refused together are drawn in vain, and the search goes on."""
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    import studies  # noqa: PLC0415

    parse = studies.parse

    def refuse(arguments):
        if any(argument.startswith("--fake.quality") for argument in arguments):
            raise ConfigError("fake.quality: is refused")
        return parse(arguments)

    monkeypatch.setattr(studies, "parse", refuse)
    path = search(tmp_path, trials=5, search={"confirm": 0}, constraints=None)
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    check_search(tmp_path, 5, confirm=0)
    assert "bad" not in {job.partition(",")[0].removeprefix("x=") for job in completions(tmp_path)}
