"""Study files: what they may hold, how they extend each other, and one clear line for everything wrong."""

import json
import re

import pytest
import yaml

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.study_groups import Budget, Objective, Range, Search
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.spec.study_spec import digest_of

STUDY = """
question: How many?
base: digits
plan: one_at_a_time
factors:
  topk: {key: model.backbone.topk, values: [1, [1, 4, 16, all]]}
  lce:
    none: {model.backbone.lce: 0}
    5x5: {model.backbone.lce: 5}
baseline: {topk: 1-4-16-all, lce: 5x5}
"""
SEARCH = """
question: Which?
base: digits
plan: search
space:
  lr: {key: model.optim.lr, low: 1e-4, high: 1e-2, log: true}
budget: {trials: 4}
"""
CELLS = """
question: Which?
base: digits
plan: cells
cells:
  A: {model.backbone.lce: 0}
  B: {model.backbone.lce: 3}
"""


@pytest.fixture
def study(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def changed(text, **fields):
    """The study with some fields replaced; None removes one."""
    values = {**yaml.safe_load(text), **fields}
    return yaml.safe_dump({key: value for key, value in values.items() if value is not None}, sort_keys=False)


def test_a_study_is_read(study):
    spec = read_spec(study(STUDY))
    assert (spec.name, spec.question, spec.base, spec.plan) == ("mine", "How many?", ("digits",), "one_at_a_time")
    assert spec.factors == {
        "topk": {"1": {"model.backbone.topk": 1}, "1-4-16-all": {"model.backbone.topk": [1, 4, 16, "all"]}},
        "lce": {"none": {"model.backbone.lce": 0}, "5x5": {"model.backbone.lce": 5}},
    }
    assert spec.baseline == {"topk": "1-4-16-all", "lce": "5x5"}
    assert (spec.seeds, spec.objective, spec.budget, spec.retries) == ((0,), Objective(), Budget(), 1)
    assert not spec.search.prune


def test_a_search_is_read(study):
    spec = read_spec(study(SEARCH))
    assert spec.space == {"lr": Range("model.optim.lr", 1e-4, 1e-2, log=True)}
    assert spec.search == Search()
    assert spec.search.prune


@pytest.mark.parametrize("text", [STUDY, SEARCH, CELLS], ids=["factors", "search", "cells"])
def test_what_a_study_says_about_itself_is_a_study_file(text, study):
    spec = read_spec(study(text))
    plain = json.loads(json.dumps(spec.as_dict()))
    again = read_spec(study(yaml.safe_dump(plain), "again.yaml"))
    assert again == spec
    assert again.digest() == spec.digest()


def test_the_digest_is_of_what_is_trained(study):
    digest = read_spec(study(STUDY)).digest()
    assert len(digest) == 12
    same = changed(STUDY, name="other", storage="sqlite:///x.db", retries=3)
    assert read_spec(study(same)).digest() == digest
    assert read_spec(study(changed(STUDY, seeds=[1]))).digest() != digest


def test_no_digest_reads_as_a_number():
    digests = [digest_of(i) for i in range(2000)]
    assert len(set(digests)) == 2000
    for digest in digests:
        assert re.fullmatch("[0-9a-f]{12}", digest)
        with pytest.raises(ValueError, match="could not convert"):
            float(digest)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 3], ["0", "3"]),
        ([[4, [2, 4], "auto", 1]], ["4-2x4-auto-1"]),
        ([None, True, 0.5, 1e-05], ["null", "true", "0.5", "1e-05"]),
        ({"yes": 1, 2: 2, 0.1: 3}, ["yes", "2", "0.1"]),
    ],
)
def test_labels_are_made_of_values(values, labels, study):
    factors = {"x": {"key": "model.backbone.lce", "values": values}}
    text = changed(STUDY, factors=factors, baseline={"x": labels[0]})
    spec = read_spec(study(text))
    assert list(spec.factors["x"]) == labels


def test_exponents_are_numbers(study):
    spec = read_spec(study(STUDY + "set: {model.optim.lr: 1e-3, model.optim.min_lr: -.5E+2, data.dataset: e10}\n"))
    assert list(spec.settings.values()) == [1e-3, -50.0, "e10"]


def test_overrides_go_over_set(study):
    path = study(STUDY + "set: {data.init_args.dataset: a, data.batch_size: 4}\n")
    spec = read_spec(path, {"data.dataset": "b"})
    assert spec.settings == {"data.batch_size": 4, "data.dataset": "b"}


def test_a_study_extends_another(study, tmp_path):
    (tmp_path / "deep").mkdir()
    study(STUDY + "name: parent\nset: {data.batch_size: 4, data.num_workers: 2}\nseeds: [0, 1]\n", "parent.yaml")
    study("extends: ../parent.yaml\nfactors: {topk: {values: [2, 3]}}\nbaseline: {topk: 2}\n", "deep/middle.yaml")
    text = """
    extends: middle.yaml
    set: {data.batch_size: null, data.num_workers: 0, data.augmentation.rand_augment: null}
    factors:
      lce: {none: null, 3x3: {model.backbone.lce: 3}}
      cpe: {key: model.backbone.cpe, values: [0, 3]}
    baseline: {cpe: 3}
    """
    spec = read_spec(study(text, "deep/child.yaml"))
    assert spec.name == "child"
    assert spec.seeds == (0, 1)
    assert spec.settings == {"data.num_workers": 0, "data.augmentation.rand_augment": None}
    assert {factor: list(labels) for factor, labels in spec.factors.items()} == {
        "topk": ["2", "3"],
        "lce": ["5x5", "3x3"],
        "cpe": ["0", "3"],
    }
    assert spec.baseline == {"topk": "2", "lce": "5x5", "cpe": "3"}


def test_a_factor_written_the_other_way_replaces(study):
    study(STUDY, "parent.yaml")
    topk, lce = {"one": {"model.backbone.topk": 1}}, {"key": "model.backbone.lce", "values": [7]}
    child = {"extends": "parent.yaml", "factors": {"topk": topk, "lce": lce}, "baseline": {"topk": "one", "lce": 7}}
    spec = read_spec(study(yaml.safe_dump(child)))
    assert spec.factors == {"topk": topk, "lce": {"7": {"model.backbone.lce": 7}}}


def test_a_base_beside_the_study_goes_first(study, tmp_path):
    study("trainer: {}\n", "mine_base.yaml")
    spec = read_spec(study(changed(STUDY, base=["mine_base.yaml", "digits", "elsewhere.yaml"])))
    assert spec.base == (str(tmp_path / "mine_base.yaml"), "digits", "elsewhere.yaml")


WRONG = [
    ("", "holds nothing instead of a study; write"),
    ("- a\n", "holds a list instead of a study; write"),
    ("a: [1, 2\nb: c: d\n", r"line 2: not YAML .*; correct"),
    ("question: a\nbase: b\nquestion: c\n", "line 3: question is given twice; remove"),
    ("question: &a [*a]\n", "line 1: a value contains itself; remove"),
    (changed(STUDY, question=None), "question: is missing; give"),
    (changed(STUDY, base=None), "base: is missing; give"),
    (changed(STUDY, base=[]), "base: is empty; give"),
    (changed(STUDY, base=3), "base: 3 is not allowed; give text"),
    (changed(STUDY, plan=None), "plan: is missing; give"),
    (changed(STUDY, plan="ofat"), "plan: 'ofat' is not allowed; give factorial or one_at_a_time or cells or search"),
    (changed(STUDY, objectiv={}), "objectiv: there is no such field; did you mean objective"),
    (changed(STUDY, zzz=1), "zzz: there is no such field; use name, question"),
    (changed(STUDY, objective={"metrik": "x"}), "objective.metrik: there is no such field; did you mean metric"),
    (changed(STUDY, objective={"mode": "up"}), "objective.mode: 'up' is not allowed; give max or min"),
    (changed(STUDY, objective={"metric": " "}), "objective.metric is empty; give"),
    (changed(STUDY, objective=3), "objective: 3 is not a mapping; write"),
    (changed(STUDY, name="a/b"), "name: 'a/b' cannot be used in the name of a folder; use"),
    (changed(STUDY, name=7), "name: 7 is not allowed; give text"),
    (changed(STUDY, factors={}), "factors: is empty; plan one_at_a_time needs"),
    (changed(STUDY, factors={"topk": {}}), "factors.topk: has no labels; give"),
    (changed(STUDY, factors={"topk": [1]}), r"factors.topk: \[1\] is not a mapping; write"),
    (changed(STUDY, factors={"x": {"key": "a.b"}}), "factors.x.values: None is not allowed; give a list"),
    (changed(STUDY, factors={"x": {"key": "a.b", "vals": [1]}}), "factors.x.vals: .*did you mean values"),
    (changed(STUDY, factors={"x": {"key": "a.b", "values": [1, 1]}}), "factors.x.values: a value is given twice"),
    (changed(STUDY, factors={"x": {"a:b": {}}}), "factors.x: 'a:b' cannot be used in the name of a folder"),
    (changed(STUDY, factors={"x": {"A b": {}, "a  B": {}}}), "factors.x: 'A b' and 'a  B' would share a folder"),
    (changed(STUDY, factors={"x": {True: {}}}), "factors.x: True is not text as a name; put it in quotes"),
    (changed(STUDY, factors={"x": {"y": {"a b": 1}}}), "factors.x.y: 'a b' is not a setting; give a dotted key"),
    (changed(STUDY, factors={"x": {"y": {"a": {"b": 1}}}}), r"factors.x.y: a is a mapping; write .*a\.NAME: value"),
    (changed(STUDY, factors={"x": {"y": {"a": float("nan")}}}), "factors.x.y: a: nan is not a finite number"),
    (STUDY + "set: {data.revision: 2024-01-01}\n", "set: data.revision: .* is a date; put it in quotes"),
    (STUDY + "set: {seed_everything: 1}\n", "set: seed_everything cannot be set in a study; give the seeds in seeds"),
    (STUDY + "set: {trainer.logger.name: x}\n", "set: trainer.logger.name cannot be set in a study; each trial"),
    (STUDY + "set: {a.init_args.b: 1, a.b: 2}\n", "set: a.init_args.b and a.b are the same setting; remove"),
    (changed(STUDY, baseline=None), "baseline: is missing; give a label for each factor"),
    (changed(STUDY, baseline="x"), "baseline: 'x' is not a label for each factor; write"),
    (changed(STUDY, baseline={"topk": 2, "lce": "5x5"}), "baseline.topk: '2' is not one of the labels 1, 1-4-16-all"),
    (changed(STUDY, baseline={"topk": 1}), "baseline.lce: nothing is not one of the labels none, 5x5; give one"),
    (changed(STUDY, baseline={"topk": 1, "lc": 1}), "baseline.lc: there is no such field; did you mean lce"),
    (changed(CELLS, baseline="C"), "baseline: 'C' is not one of the cells A, B; name one"),
    (changed(CELLS, cells={"A": {}, "a": {}}), "cells: 'A' and 'a' would share a folder; rename"),
    (changed(CELLS, cells={"A": 3}), "cells.A: 3 is not a mapping; write"),
    (changed(CELLS, factors={"x": {"y": {}}}), "factors: plan cells has none, it takes cells; remove"),
    (changed(STUDY, space={"x": {"key": "a", "low": 1, "high": 2}}), "space: plan one_at_a_time has none"),
    (changed(STUDY, seeds=[0, 1, 0]), "seeds: 0 is given twice; remove"),
    (changed(STUDY, seeds=[]), "seeds: is empty; give"),
    (changed(STUDY, seeds=3), "seeds: 3 is not allowed; give a list"),
    (changed(STUDY, seeds=[True]), "seeds: True is not allowed; give a whole number"),
    (changed(STUDY, seeds=[-1]), r"seeds: \[-1\] must be at least 0"),
    (changed(STUDY, budget={"epochs": 0}), "budget.epochs=0 must be at least 1"),
    (changed(STUDY, budget={"epochs": 1.5}), "budget.epochs: 1.5 is not allowed; give a whole number or null"),
    (changed(STUDY, budget={"minutes": 0}), "budget.minutes=0 must be above 0"),
    (changed(STUDY, budget={"trials": 3}), "budget.trials: plan one_at_a_time runs all its cells; remove"),
    (changed(STUDY, budget={"epochs": 3}, set={"trainer.max_epochs": 2}), "budget.epochs: is given together with"),
    (changed(STUDY, search={"prune": True}), "search: plan one_at_a_time .*would bias the table.*; remove"),
    (changed(STUDY, search={"top": 2}), "search: plan one_at_a_time .*belongs to plan search.*; remove"),
    (changed(SEARCH, budget=None), "budget.trials: is missing; say how many"),
    (changed(SEARCH, search={"confirm": -1}), "search.confirm=-1 must be at least 0"),
    (changed(SEARCH, search={"prune": 1}), "search.prune: 1 is not allowed; give true or false"),
    (changed(SEARCH, space={}), "space: is empty; plan search needs factors or space"),
    (changed(SEARCH, space={"x": {"key": "a", "low": 1}}), "space.x.high: is missing; give a number"),
    (changed(SEARCH, space={"x": {"key": "a", "low": 2, "high": 1}}), "space.x: low=2 must be below high=1"),
    (changed(SEARCH, space={"x": {"key": "a", "low": 0, "high": 1, "log": True}}), "space.x: low=0 must be above 0"),
    (changed(SEARCH, space={"x": {"key": "a", "low": 0, "high": 1, "step": 0}}), "space.x: step=0 must be above 0"),
    (changed(SEARCH, space={"x": {"key": "a", "low": 0, "high": 1.5, "integer": True}}), "space.x: integer needs"),
    (changed(SEARCH, space={"x": {"key": "a", "low": 0, "high": float("inf")}}), "space.x: low, high and step"),
    (changed(SEARCH, factors={"lr": {"y": {"a": 1}}}), "space: 'lr' is a name that factors has too"),
    (changed(SEARCH, factors={"x": {"y": {"model.init_args.optim.lr": 1}}}), "space.lr: sets model.optim.lr, which"),
    (changed(STUDY, constraints={"flops": 1}), "constraints.flops: there is no such field; use macs, parameters"),
    (changed(STUDY, constraints={"macs": 0}), "constraints.macs=0 must be above 0"),
    (changed(CELLS, constraints={"macs": 1}), "constraints: are multiples .* baseline is missing; give"),
    (changed(STUDY, retries=-1), "retries=-1 must be at least 0"),
    (changed(STUDY, storage=3), "storage: 3 is not allowed; give text or null"),
    ("extends: gone.yaml\n", "extends: 'gone.yaml' is not a file; give"),
    ("extends: mine.yaml\n", "extends: the files extend each other in a circle; remove"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message.split(";")[0][:60] for _, message in WRONG])
def test_everything_wrong_is_one_clear_line(text, message, study):
    path = study(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_spec(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_two_factors_cannot_set_the_same(study):
    factors = {"x": {"a": {"model.backbone.lce": 1}}, "y": {"b": {"model.init_args.backbone.lce": 3}}}
    text = changed(STUDY, plan="factorial", factors=factors, baseline=None)
    with pytest.raises(ConfigError, match=r"factors.y: sets model.backbone.lce, which factors.x sets too; make one"):
        read_spec(study(text))


def test_what_a_factor_varies_cannot_be_set_for_all(study):
    with pytest.raises(ConfigError, match=r"factors.lce varies model.init_args.backbone.lce, .*; leave it out"):
        read_spec(study(STUDY), {"model.init_args.backbone.lce": 3})


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match=r"gone.yaml: No such file or directory; give"):
        read_spec(tmp_path / "gone.yaml")


def test_bytes_are_no_study(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match=r"bytes.yaml: cannot be read as YAML in UTF-8 .*") as caught:
        read_spec(tmp_path / "bytes.yaml")
    assert "\n" not in str(caught.value)
