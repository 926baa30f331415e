"""What Optuna's own tools read of a study: numbers as numbers, every label, and the best cell of a search."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from studies import completions, ledger_of, study, sweep

from biformer_lit.sweep.trials.params import fitting
from biformer_lit.sweep.trials.storage import closing, open_storage


@pytest.fixture(params=["journal", "sqlite"])
def run(request, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    storage = [] if request.param == "journal" else ["--storage", f"sqlite:///{tmp_path}/study.db"]

    def call(*arguments, **contents):
        return sweep("run", study(tmp_path, **contents), "--folder", tmp_path / "study", *storage, *arguments)

    call.kind = request.param
    return call


def factor(*values):
    return {"x": {"key": "fake.x", "values": list(values)}, "flag": {"key": "fake.flag", "values": [True, False]}}


def test_numbers_are_numbers_and_stay_so(run, tmp_path):
    assert run(factors=factor(1, 4), seeds=[0]) == 0
    assert run("--extend", factors=factor(1, 4, 16), seeds=[0, 1]) == 0
    trials = ledger_of(tmp_path / "study").trials()
    assert len(trials) == 12
    assert sorted({trial.params["x"] for trial in trials}) == [1, 4, 16]
    assert {type(trial.params["x"]) for trial in trials} == {int}
    assert {trial.params["flag"] for trial in trials} == {True, False}
    assert {type(trial.distributions["x"]) for trial in trials} == {IntDistribution}
    assert set(completions(tmp_path).values()) == {1}


def test_a_number_between_whole_ones_and_a_label_that_is_none(run, tmp_path):
    """What Optuna lets no database have is an attribute there."""
    assert run(factors=factor(1, 4)) == 0
    assert run("--extend", factors=factor(1, 4, "all")) == 0
    trials = ledger_of(tmp_path / "study").trials()
    assert [trial.user_attrs["factor:x"] for trial in trials].count("all") == 2
    known = [trial.params.get("x") for trial in trials]
    assert known.count("all" if run.kind == "journal" else None) == 2
    assert set(known) == {1, 4, "all" if run.kind == "journal" else None}


def test_labels_that_were_added(run, tmp_path):
    assert run(cells=2) == 0
    assert run("--extend", cells=4) == 0
    trials = ledger_of(tmp_path / "study").trials()
    assert [trial.user_attrs["factor:x"] for trial in trials] == ["c0", "c1", "c2", "c3"]
    expected = ["c0", "c1", "c2", "c3"] if run.kind == "journal" else ["c0", "c1", None, None]
    assert [trial.params.get("x") for trial in trials] == expected
    if run.kind == "journal":
        shared = optuna.load_study(study_name="study", storage=ledger_of(tmp_path / "study").storage)
        assert shared.trials_dataframe()["params_x"].notna().all()


def test_numbers_as_text_of_an_earlier_version_go_on_so():
    old = CategoricalDistribution(("1", "4"))
    assert fitting(old, IntDistribution(1, 4), 4, "4") == (old, "4")
    assert fitting(old, IntDistribution(1, 16), 16, "16") is None
    assert fitting(IntDistribution(1, 4), IntDistribution(1, 16), 16, "16") == (IntDistribution(1, 16), 16)
    assert fitting(FloatDistribution(0, 1), IntDistribution(0, 2), 2, "2") == (FloatDistribution(0, 2), 2)
    assert fitting(IntDistribution(0, 1), FloatDistribution(0, 2), 0.5, "0.5") is None
    assert fitting(None, CategoricalDistribution((1, True)), True, "true") == (CategoricalDistribution((1, True)), True)


def test_the_best_trial_of_a_search_is_one_of_its_draws(run, tmp_path):
    contents = {
        "plan": "search", "factors": {"x": {"key": "fake.x", "values": [8, 16, 32]}}, "space": None, "seeds": [0],
        "baseline": {"x": "8"}, "budget": {"trials": 3}, "search": {"confirm": 4, "top": 2, "prune": False},
    }  # fmt: skip
    assert run(**contents) == 0
    there = open_storage(f"sqlite:///{tmp_path}/study.db" if run.kind == "sqlite" else None, tmp_path / "study")
    with closing(there):
        found = optuna.load_study(study_name="study", storage=there)
        drawn = [trial for trial in found.trials if trial.user_attrs.get("phase") == "search"]
        drawn = [trial for trial in drawn if trial.state == TrialState.COMPLETE]
        assert len(found.trials) > len(drawn) + 4
        assert max(trial.value for trial in found.trials if trial.value) > max(trial.value for trial in drawn)
        assert found.best_trial.number == max(drawn, key=lambda trial: trial.value).number
        assert found.best_trial.params["x"] in (8, 16, 32)
