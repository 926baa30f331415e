"""Who trains what: claims, the dead and the living, and a storage whose answers get lost."""

import random
import time

import optuna
import pytest
from optuna.trial import TrialState
from studies import check_epochs, completions, entries, study, sweep

from biformer_lit.sweep.trials import alive, jobs, runner
from biformer_lit.sweep.trials import claim as claim_module
from biformer_lit.sweep.trials import ledger as ledger_module
from biformer_lit.sweep.trials import study_record as record_module
from biformer_lit.sweep.trials.jobs import Job
from biformer_lit.sweep.trials.ledger import Ledger
from biformer_lit.sweep.trials.process import lock_folder
from biformer_lit.sweep.trials.storage import closing, open_storage, patiently


def job(name="a", seed=0):
    return Job(f"{name}-0/seed-{seed}", name, {"x": name}, seed, "0", False, "plan", {"seed": seed})


def space(_job):
    return {"seed": optuna.distributions.IntDistribution(0, 9)}


@pytest.fixture(params=["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
def make(request, tmp_path):
    """Opens one study again and again, as others would."""
    opened, claims = [], []

    class Claim(claim_module.Claim):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            claims.append(self)

    ledger_module.Claim = Claim  # by hand: some tests undo what monkeypatch did

    def ledger(folder="study", retries=1):
        url = None if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"
        storage = open_storage(url, tmp_path / "study")
        opened.append(storage)
        local = url is None
        (tmp_path / folder).mkdir(exist_ok=True)
        return Ledger(storage, "study", tmp_path / folder, mode="max", retries=retries, local=local, say=lambda _: None)

    yield ledger
    ledger_module.Claim = claim_module.Claim
    for claim in claims:
        claim.lock.close()
    for storage in opened:
        with closing(storage):
            pass


def states(ledger):
    return [trial.state.name for trial in ledger.trials()]


RESULT = {"status": "complete", "objective": {"value": 0.5}}


def test_one_claim_for_each_job(make):
    one, other = make(), make()
    wanted = [job("a"), job("b"), job("a", 1)]
    assert one.enqueue(wanted) == 3
    assert other.enqueue(wanted) == 0
    claims = [ledger.claim(space) for ledger in (one, other, one, other)]
    assert [claim and claim.job for claim in claims] == [*wanted, None]
    assert [trial.params for trial in one.trials()] == [{"seed": 0}, {"seed": 0}, {"seed": 1}]
    claims[0].complete(RESULT)
    claims[1].fail("nan", "diverged", "x" * 20000)
    claims[2].fail("interrupted")
    assert one.enqueue(wanted) == 1
    standings = other.standings(each.key for each in wanted)
    assert [standing.status for standing in standings.values()] == ["complete", "failed", "waiting"]
    failed = standings[wanted[1].key].attempt
    assert (failed.user_attrs["reason"], len(failed.user_attrs["tail"])) == ("nan", 8000)
    again = other.claim(space)
    assert again.job == wanted[2]
    again.complete({**RESULT, "status": "pruned"})
    assert one.standings([wanted[2].key])[wanted[2].key].status == "pruned"


def test_attempts_that_were_written_twice(make):
    """As two machines may that begin at the same moment: the first counts, whoever claims the second lets go."""
    one, other = make(), make()
    for ledger in (one, other, one):
        ledger._write(job(), ledger.standings(["none"])["none"], again=False)
    claim = other.claim(space)
    assert claim.number == 0
    assert one.claim(space) is None
    claim.complete(RESULT)
    one.discard()
    assert states(one) == ["COMPLETE"]
    found = one.storage.get_all_trials(one.study_id)
    assert [trial.state.name for trial in found] == ["COMPLETE", "FAIL", "FAIL"]


def test_a_claim_that_turns_out_not_to_count(make, monkeypatch):
    """The first attempt appears only after the second was claimed."""
    one, other = make(), make()
    nothing = one.standings(["none"])["none"]
    one._write(job(), nothing, again=False)
    one._write(job(), nothing, again=False)
    seen = other.trials
    monkeypatch.setattr(other, "trials", lambda: seen()[1:])
    monkeypatch.setattr(other, "_take", lambda _id, take=other._take: monkeypatch.undo() or take(_id))
    claim = other.claim(space)
    assert claim is None
    assert one.claim(space).number == 0


def test_jobs_of_others_are_left_alone(make):
    ledger = make()
    ledger.enqueue([job("a"), job("b")])
    assert ledger.claim(lambda each: space(each) if each.cell == "b" else None).job.cell == "b"


def test_the_dead_of_this_machine(make):
    ledger = make()
    ledger.enqueue([job()])
    claim = ledger.claim(space)
    assert ledger.reap() == []
    assert make().reap() == []
    assert claim.keep()
    claim.lock.close()  # as it is when its process is killed
    assert make().reap() == [job().key]
    assert ledger.standings([job().key])[job().key].status == "missing"
    claim.complete(RESULT)  # too late, and no harm
    assert states(ledger) == ["FAIL"]


def test_given_up(make, monkeypatch):
    monkeypatch.setattr(claim_module, "HEARTBEAT", 0.0)
    ledger = make()
    ledger.enqueue([job()])
    claim = ledger.claim(space)
    assert claim.keep()
    make().finish(claim.trial_id, TrialState.FAIL)
    assert not claim.keep()
    claim.report(1, 0.5)
    claim.fail("interrupted")


def test_given_up_while_it_was_claimed(make, monkeypatch):
    ledger = make()
    ledger.enqueue([job()])

    def take(trial_id):
        ledger.storage.set_trial_state_values(trial_id, TrialState.FAIL)
        return True

    monkeypatch.setattr(ledger, "_take", take)
    assert ledger.claim(space) is None
    lock_folder(ledger.folder / "cells" / job().key).close()  # it is free


def watched(ledger, seconds):
    """As if the ledger had looked first so long ago."""
    ledger.watch._watched = {number: (sign, since - seconds) for number, (sign, since) in ledger.watch._watched.items()}


@pytest.mark.parametrize("clock", [-20 * 60, 0, 20 * 60])
def test_another_machine(make, monkeypatch, clock):
    """Its locks say nothing here, nor does its clock; only its silence does, for as long as we watch."""
    monkeypatch.setattr(record_module, "this_machine", lambda: "elsewhere:1")
    there = make()
    monkeypatch.undo()
    here = make()
    there.enqueue([job()])
    claim = there.claim(space)
    claim.lock.close()
    for _ in range(3):  # it lives, by whatever clock
        there.set(claim.trial_id, "seen", clock + time.time())
        assert here.reap() == []
        watched(here, alive.STALE - 60)
    assert here.reap() == []
    watched(here, 120)
    assert here.reap() == [job().key]
    assert states(here) == ["FAIL"]


def test_a_machine_that_is_long_dead(make, monkeypatch):
    """No clock is wrong by a night: a few minutes of silence are enough, and it is said what we wait for."""
    monkeypatch.setattr(record_module, "this_machine", lambda: "elsewhere:1")
    there = make()
    monkeypatch.undo()
    there.enqueue([job()])
    claim = there.claim(space)
    there.set(claim.trial_id, "seen", time.time() - 8 * 3600)
    claim.lock.close()
    here, said = make(), []
    here.watch.say = said.append
    assert here.reap() == []
    watched(here, 100)
    assert here.reap() == []
    assert [line for line in said if "elsewhere gave its last sign of life 480 min ago" in line] == said[:1]
    assert len(said) == 1
    watched(here, 60)
    assert here.reap() == [job().key]


@pytest.mark.parametrize(
    ("machine", "at_once"),
    [
        ("{host}:another-boot", True),  # started anew
        ("other-container:{boot}", True),  # the same kernel: locks tell
        ("elsewhere:another-boot", False),
    ],
)
def test_after_a_reboot(make, monkeypatch, machine, at_once):
    """The same host and folder with another boot id is dead at once, unless somebody holds the trial's lock."""
    host, boot = jobs.this_machine().split(":")
    monkeypatch.setattr(record_module, "this_machine", lambda: machine.format(host=host, boot=boot))
    before = make()
    monkeypatch.undo()
    before.enqueue([job()])
    claim = before.claim(space)
    assert make().reap() == []  # the lock is held: a second machine of this name, on a shared disk
    claim.lock.close()
    assert make().reap() == ([job().key] if at_once else [])


def test_another_folder_of_this_machine(make):
    """Two folders and one database: a lock in one says nothing of the other."""
    there, here = make("there"), make("here")
    there.enqueue([job()])
    claim = there.claim(space)
    assert here.reap() == []
    assert there.reap() == []
    claim.complete(RESULT)
    assert states(here) == ["COMPLETE"]


def test_killed_between_claiming_and_signing(make, monkeypatch):
    ledger = make()
    ledger.enqueue([job()])
    trial = ledger.trials()[0]
    assert ledger._take(ledger._id(trial.number))
    if not ledger.local:  # somebody may be about to sign
        assert ledger.reap() == []
        monkeypatch.setattr(alive, "UNOWNED", -1.0)
    assert ledger.reap() == [job().key]


def test_killed_while_drawing(make):
    """What was begun and never said what it is, is ended by the next to draw or to look."""
    ledger = make()
    begun = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"owner": ledger.owner, "seen": time.time()})
    with ledger._alone():
        ledger.storage.create_new_trial(ledger.study_id, begun)
        assert ledger.reap() == []  # somebody draws
    claim = ledger.draw(lambda params: job(seed=params["seed"]), space(None))
    assert claim is not None
    assert ledger.reap() == []
    assert [trial.state.name for trial in ledger.storage.get_all_trials(ledger.study_id)] == ["FAIL", "RUNNING"]


def test_drawn_by_others_at_the_same_time(make, monkeypatch):
    """The earlier number counts, even if its job is written later."""
    monkeypatch.setattr(record_module, "this_machine", lambda: "elsewhere:1")
    there = make("there")
    monkeypatch.undo()
    here = make("here")
    begun = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"owner": there.owner, "seen": time.time()})
    earlier = there.storage.create_new_trial(there.study_id, begun)
    waited = []

    def say_at_last(_seconds):
        waited.append(1)
        for name, value in {"about": job().text(), "phase": "search", "attempt": 0, "job": job().key}.items():
            there.set(earlier, name, value)

    monkeypatch.setattr(ledger_module.time, "sleep", say_at_last)
    assert here.draw(lambda _: job(), space(None)) is None
    assert waited == [1]


def test_a_machine_has_a_name():
    assert jobs.this_machine() == jobs.this_machine()
    assert ":" in jobs.this_machine()


class OperationalError(Exception):
    """As drivers name it."""


def test_no_word_with_the_storage_goes_unwatched(make, monkeypatch):
    """What is not asked by way of ``patiently`` would not survive a database that is away for a moment."""
    watched = [0]

    def watching(call, say, seconds=None):
        watched[0] += 1
        try:
            return patiently(call, say, seconds)
        finally:
            watched[0] -= 1

    def guard(name, method):
        def guarded(self, *arguments, **named):
            assert watched[0], f"{name} was called unwatched"
            return method(self, *arguments, **named)

        monkeypatch.setattr(kind, name, guarded)

    monkeypatch.setattr(record_module, "patiently", watching)
    first = make()
    kind = type(first.storage)
    for name in ("create_new_trial", "get_trial", "get_all_trials", "set_trial_state_values", "set_trial_user_attr"):
        guard(name, getattr(kind, name))
    for name in ("set_trial_param", "set_trial_intermediate_value", "set_study_user_attr", "get_study_user_attrs"):
        guard(name, getattr(kind, name))
    one = make()
    one.note("spec", "x")
    assert one.attribute("spec") == "x"
    one.enqueue([job("a"), job("b")])
    claim = one.claim(space)
    claim.report(1, 0.5)
    claim.should_prune()
    claim.complete(RESULT)
    one.claim(space).fail("crash")
    drawn = one.draw(lambda params: job("c", params["seed"]), space(None))
    drawn.supersede()
    one.discard()
    one.reap()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
@pytest.mark.parametrize("storage", [[], ["--storage", "sqlite:///study.db"]], ids=["journal", "sqlite"])
def test_answers_that_get_lost(tmp_path, monkeypatch, storage, seed):
    """Every tenth question does not arrive, and every tenth answer does not either."""
    chance = random.Random(seed)

    def flaky(call, say, seconds=None):
        def once():
            if chance.random() < 0.1:
                raise OperationalError("did not arrive")
            answer = call()
            if chance.random() < 0.1:
                raise OperationalError("got lost")
            return answer

        return patiently(once, lambda _: None, seconds)

    monkeypatch.setattr(record_module, "patiently", flaky)
    monkeypatch.setattr(alive, "UNOWNED", 0.5)
    monkeypatch.setattr(runner, "_REAP", 0.5)
    monkeypatch.setattr("biformer_lit.sweep.trials.storage.time.sleep", lambda _: None)
    monkeypatch.setattr(runner, "_ASK", 0.1)
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = study(tmp_path, cells=4, fake={3: {"fake.fail": "crash", "fake.times": 1}})
    assert sweep("run", path, "--folder", tmp_path / "study", "--workers", "2", *storage) == 0
    assert len(completions(tmp_path)) == 4
    assert set(completions(tmp_path).values()) == {1}
    assert sum(entry["what"] == "start" for entry in entries(tmp_path)) == 5
    check_epochs(tmp_path)
