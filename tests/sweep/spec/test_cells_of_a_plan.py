"""From a study to named cells."""

import re

import pytest

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.cells import Cell, plan_cells, search_cell
from biformer_lit.sweep.spec.study_groups import Budget, Range, Search
from biformer_lit.sweep.spec.study_spec import StudySpec

TOPK = {"1-4": {"a.topk": [1, 4]}, "2-8": {"a.topk": [2, 8]}, "All of them": {"a.topk": "all", "a.extra": 1}}
LCE = {"none": {"a.lce": 0}, "5x5": {"a.lce": 5}}


def spec(plan, **fields):
    return StudySpec(name="s", question="?", base=("digits",), plan=plan, **fields)


def test_all_combinations():
    cells = plan_cells(spec("factorial", factors={"topk": TOPK, "LCE": LCE}, baseline={"LCE": "5x5", "topk": "2-8"}))
    assert len(cells) == 6
    assert [cell.name for cell in cells][:3] == ["topk=1-4,lce=none", "topk=1-4,lce=5x5", "topk=2-8,lce=none"]
    assert [cell.name for cell in cells if cell.baseline] == ["topk=2-8,lce=5x5"]
    name = "topk=all-of-them,lce=none"
    factors = {"topk": "All of them", "LCE": "none"}
    assert cells[4] == Cell(name, factors, {"a.topk": "all", "a.extra": 1, "a.lce": 0})


def test_all_combinations_need_no_baseline():
    assert not any(cell.baseline for cell in plan_cells(spec("factorial", factors={"LCE": LCE})))


def test_one_factor_at_a_time():
    study = spec("one_at_a_time", factors={"topk": TOPK, "LCE": LCE}, baseline={"topk": "All of them", "LCE": "5x5"})
    cells = plan_cells(study)
    assert [cell.name for cell in cells] == ["baseline", "topk=1-4", "topk=2-8", "lce=none"]
    assert cells[0].baseline
    assert not any(cell.baseline for cell in cells[1:])
    assert cells[0].overrides == {"a.topk": "all", "a.extra": 1, "a.lce": 5}
    # a label takes what only it sets along with it
    assert cells[1].overrides == {"a.topk": [1, 4], "a.lce": 5}
    assert cells[3].factors == {"topk": "All of them", "LCE": "none"}


def test_listed_cells():
    cells = plan_cells(spec("cells", cells={"Swin-T layout": {}, "+ stem": {"a.stem": "x"}}, baseline="Swin-T layout"))
    assert cells == [
        Cell("swin-t-layout", {"cell": "Swin-T layout"}, {}, baseline=True),
        Cell("+-stem", {"cell": "+ stem"}, {"a.stem": "x"}),
    ]


SPACE = {
    "lr": Range("a.lr", 1e-5, 1e-1, log=True),
    "depth": Range("a.depth", 1, 9, integer=True),
    "decay": Range("a.decay", 0, 1),
}


def search(**fields):
    return spec("search", space=SPACE, factors={"LCE": LCE}, budget=Budget(trials=2), search=Search(), **fields)


def test_a_search_plans_its_baseline_only():
    assert plan_cells(search()) == []
    assert plan_cells(search(baseline={"LCE": "5x5"})) == [Cell("baseline", {"LCE": "5x5"}, {"a.lce": 5}, True)]
    only = spec("search", space=SPACE, budget=Budget(trials=2), search=Search(), baseline={})
    assert plan_cells(only) == [Cell("baseline", {}, {}, True)]


def test_the_name_of_a_drawn_cell_says_exactly_what_is_run():
    cell = search_cell(search(), {"lr": 0.000123456789, "depth": 3, "decay": 0.5, "LCE": "5x5"})
    assert cell.name == "lce=5x5,lr=0.000123457,depth=3,decay=0.5"
    assert cell.overrides == {"a.lce": 5, "a.lr": 0.000123457, "a.depth": 3, "a.decay": 0.5}
    assert cell.factors == {"LCE": "5x5", "lr": "0.000123457", "depth": "3", "decay": "0.5"}
    assert isinstance(cell.overrides["a.depth"], int)
    assert not cell.baseline


@pytest.mark.parametrize("value", [1e-5, 1.23456e-05, 1e-1])
def test_names_fit_into_folders(value):
    cell = search_cell(search(), {"lr": value, "depth": 3, "decay": 1.0, "LCE": "none"})
    assert re.fullmatch(r"[a-z0-9.=,_+-]+", cell.name)


def test_a_name_too_long_for_a_folder():
    factors = {f"factor{i}": {"x" * 50: {f"a.b{i}": 1}} for i in range(4)}
    with pytest.raises(ConfigError, match="name too long for a folder; shorten"):
        plan_cells(spec("factorial", factors=factors))


@pytest.mark.parametrize("key", ["a.lce", "a.init_args.lce"])
def test_two_cells_with_the_same_settings(key):
    study = spec("cells", cells={"A": {"a.lce": 3}, "B": {"a.lce": 5}, "C": {key: 3}})
    with pytest.raises(ConfigError, match="cells a and c have the same settings; remove or change one"):
        plan_cells(study)
