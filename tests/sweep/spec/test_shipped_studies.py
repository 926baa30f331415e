"""The studies that ship: each is planned and resolved to the end, and varies what it says and nothing else."""

import functools
from pathlib import Path

import pytest

from biformer_lit.cli import parse_fit
from biformer_lit.cli.study_runs import TrainingRuns
from biformer_lit.profiling import measure_config
from biformer_lit.recipes import recipes
from biformer_lit.sweep.spec.cells import plan_cells, search_cell
from biformer_lit.sweep.spec.resolve import differing_keys, resolve_cells
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.text.dotted import plain_key

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "sweeps"
STUDIES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yaml"))
ALL = {
    "attention",
    "factorial",
    "lce",
    "lr_search",
    "macro_design",
    "regions",
    "routing_control",
    "routing_pool",
    "topk",
}
SMALL = ALL - {"factorial", "lr_search", "macro_design"}


@functools.cache
def resolved(name):
    spec = read_spec(FOLDER / name)
    return spec, resolve_cells(spec, plan_cells(spec), TrainingRuns())


def test_all_studies_are_here():
    expected = {f"{name}.yaml" for name in ALL} | {f"digits/{name}.yaml" for name in ALL}
    assert expected | {f"cifar10/{name}.yaml" for name in SMALL} == set(STUDIES)


def test_no_two_studies_share_a_folder():
    names = [read_spec(FOLDER / name).name for name in STUDIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_what_it_asks(name):
    first = (FOLDER / name).read_text().splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith("?")
    assert read_spec(FOLDER / name).question.endswith("?")


@pytest.mark.parametrize("name", STUDIES)
def test_cells_differ_from_their_baseline_in_what_they_name(name):
    spec, cells = resolved(name)
    (baseline,) = (one for one in cells if one.cell.baseline)
    assert set(spec.base) <= set(recipes())
    for one in cells:
        named = {plain_key(key) for key in (*one.cell.overrides, *baseline.cell.overrides)}
        differing = differing_keys(one.config, baseline.config)
        assert differing <= named
        assert bool(differing) != (one is baseline)
    if spec.plan != "search":
        assert len(cells) > 1


@pytest.mark.parametrize("name", [name for name in STUDIES if name.endswith("attention.yaml")])
def test_patterns_are_compared_at_equal_cost(name):
    _, cells = resolved(name)
    figures = {one.cell.factors["attention"]: one.costs["macs"] for one in cells}
    reference = figures.pop("bi-level routing")
    assert figures.pop("full") > 1.1 * reference
    assert len(figures) == 5
    for macs in figures.values():
        assert macs == pytest.approx(reference, rel=0.015)


def test_the_last_step_of_the_macro_design_is_biformer_small():
    _, cells = resolved("macro_design.yaml")
    small = parse_fit(["--config", "imagenet1k_small", "--data.num_classes=1000"])
    assert tuple(cells[-1].costs.values()) == measure_config(small)
    assert cells[-1].costs["parameters"] == 25_536_232


@pytest.mark.parametrize("name", [name for name in STUDIES if name.endswith("lr_search.yaml")])
def test_a_cell_that_a_search_draws(name):
    spec, (baseline,) = resolved(name)
    cell = search_cell(spec, {"lr": 1e-3, "weight_decay": 0.1})
    (drawn,) = resolve_cells(spec, [cell], TrainingRuns(), baseline)
    assert differing_keys(drawn.config, baseline.config) == {"model.optim.lr", "model.optim.weight_decay"}


@pytest.mark.parametrize("name", [name for name in STUDIES if name.startswith("digits/")])
def test_the_small_studies_are_small(name):
    spec, cells = resolved(name)
    cells = spec.budget.trials or len(cells)
    assert cells <= 8
    assert cells * len(spec.seeds) * spec.budget.epochs <= 32
