"""The statistics, against closed forms, hand-worked examples, and scipy and statsmodels called another way."""

import itertools
import math
import re

import numpy as np
import optuna
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.results import cell_summary
from biformer_lit.sweep.results.cell_summary import importances, markdown_table, paired_interval
from biformer_lit.sweep.results.factorial import effects as effects_of
from biformer_lit.sweep.results.trial_table import outcomes, results_frame, row

T_2 = 4.302652729911275  # 97.5% point of Student's t with 2 degrees of freedom


def summary(frame, **more):
    return cell_summary.summary(outcomes(frame), **more)


def coverage(frame):
    return cell_summary.coverage(outcomes(frame))


def effects(frame, factors, **more):
    return effects_of(outcomes(frame), factors, **more)


def trial(cell, seed, value, *, factors=None, baseline=False, status="complete", reason=None, **measured):
    result = None
    if status == "complete":
        measured = {"parameters": 2_500_000, "macs": 1_250_000_000} | measured
        result = {"objective": {"value": value}, **measured}
    return row(cell, factors or {}, baseline, seed, status, reason, result)


def study(values, baseline="base"):
    """Rows of {cell: [objective of seed 0, 1, ...]}; None for a trial that failed."""
    rows = []
    for cell, objectives in values.items():
        for seed, value in enumerate(objectives):
            status = ("failed", "oom") if value is None else ("complete", None)
            rows.append(trial(cell, seed, value, baseline=cell == baseline, status=status[0], reason=status[1]))
    return results_frame(rows)


def one(frame, cell, **kwargs):
    table = summary(frame, **({"mode": "max"} | kwargs))
    return table.set_index("cell").loc[cell]


# --- summary


def test_hand_worked_example():
    got = one(study({"base": [70.0, 71.0, 72.0], "k8": [71.0, 73.0, 75.0]}), "k8")
    # differences 1, 2, 3: mean 2, sd 1, standard error 1/sqrt(3), t = 2 sqrt(3) with 2 degrees of freedom
    half = T_2 / math.sqrt(3)
    assert got["mean"] == 73.0
    assert got["sd"] == 2.0
    assert got["pairs"] == 3
    assert got["difference"] == pytest.approx(2.0, abs=1e-12)
    assert got["low"] == pytest.approx(2 - half, abs=1e-9)
    assert got["high"] == pytest.approx(2 + half, abs=1e-9)
    # p of Student's t with 2 degrees of freedom in closed form: 1 - t / sqrt(2 + t^2)
    assert got["p"] == pytest.approx(1 - math.sqrt(12) / math.sqrt(14), abs=1e-12)
    assert got["claim"] == "undecided"


def test_bootstrap_of_three_pairs_is_smallest_to_largest_difference():
    # a resample of three is all smallest with probability 1/27 > 2.5%
    got = one(study({"base": [70.0, 71.0, 72.0], "k8": [70.5, 73.0, 72.25]}), "k8")
    assert (got["bootstrap_low"], got["bootstrap_high"]) == (0.25, 2.0)


def test_bootstrap_of_five_pairs_agrees_with_all_resamples():
    differences = [0.1, 0.7, -0.4, 0.25, 1.3]
    got = one(study({"base": [0.0] * 5, "k8": differences}), "k8")
    means = [np.mean(resample) for resample in itertools.product(differences, repeat=5)]
    slack = 4 * math.sqrt(0.025 * 0.975 / 9999)  # four standard errors of a quantile's level
    for end, level in (("bootstrap_low", 0.025), ("bootstrap_high", 0.975)):
        assert np.quantile(means, level - slack) <= got[end] <= np.quantile(means, level + slack)


def test_same_results_give_the_same_table():
    frame = study({"base": [0.0, 0.1, 0.2, 0.4], "k8": [0.3, 0.2, 0.5, 0.1]})
    pd.testing.assert_frame_equal(summary(frame, mode="max"), summary(frame, mode="max"), check_exact=True)


@pytest.mark.parametrize(
    ("shift", "mode", "claim"),
    [(1, "max", "better"), (1, "min", "worse"), (-1, "max", "worse"), (-1, "min", "better"), (0, "max", "undecided")],
)
def test_claim_takes_its_direction_from_mode(shift, mode, claim):
    noise = np.array([0.01, -0.01, 0.0, 0.02])
    got = one(study({"base": [0.0] * 4, "k8": list(shift + noise)}), "k8", mode=mode)
    assert got["claim"] == claim


def test_pairs_are_seeds_not_positions():
    rows = [trial("base", seed, float(seed), baseline=True) for seed in (0, 1, 2, 3)]
    rows += [trial("k8", seed, value) for seed, value in ((3, 3.4), (5, 9.0), (1, 1.1))]
    got = one(results_frame(rows), "k8")
    assert got["pairs"] == 2
    assert got["difference"] == pytest.approx(0.25)
    assert got["complete"] == 3
    assert got["mean"] == pytest.approx(4.5)


def test_two_pairs_have_a_t_interval_and_no_bootstrap():
    got = one(study({"base": [1.0, 1.0], "k8": [2.0, 4.0]}), "k8")
    # 1 degree of freedom is Cauchy: 97.5% point tan(0.475 pi); standard error |3 - 1| / 2
    half = math.tan(0.475 * math.pi)
    assert [got["low"], got["high"]] == pytest.approx([2 - half, 2 + half])
    assert math.isnan(got["bootstrap_low"])
    assert math.isnan(got["bootstrap_high"])
    assert got["claim"] == "undecided"


def test_one_pair_claims_nothing():
    got = one(study({"base": [1.0], "k8": [2.0]}), "k8")
    assert got["claim"] == "one seed"
    assert got["difference"] == 1.0
    assert math.isnan(got["sd"])
    assert all(math.isnan(got[name]) for name in ("low", "high", "p", "bootstrap_low", "bootstrap_high"))


@pytest.mark.parametrize("offset", [0.0, 0.1, -0.1])
def test_equal_differences_tell_no_spread(offset):
    base = [0.7, 0.8, 0.31]
    got = one(study({"base": base, "k8": [value + offset for value in base]}), "k8")  # equal up to rounding
    assert got["difference"] == pytest.approx(offset)
    assert all(math.isnan(got[name]) for name in ("low", "high", "p", "bootstrap_low", "bootstrap_high"))
    assert got["claim"] == "undecided"


def test_equal_differences_of_single_precision_tell_no_spread():
    """Metrics are float32: 181/200 - 182/200 and 184/200 - 185/200 are the same, the numbers logged are not quite."""
    base, cell = ([float(np.float32(hits / 200)) for hits in found] for found in ((182, 185), (181, 184)))
    assert np.ptp(np.subtract(cell, base)) > 0
    got = one(study({"base": base, "k8": cell}), "k8")
    assert got["difference"] == pytest.approx(-0.005, abs=1e-6)
    assert math.isnan(got["low"])
    assert got["claim"] == "undecided"


def test_holm_by_hand():
    frame = study(
        {
            "base": [0.0] * 3,
            "a": [1.0, 1.1, 0.9],
            "b": [1.0, 3.0, 2.0],
            "c": [1.0, -1.0, 0.1],
            "failed": [None] * 3,
        }
    )
    table = summary(frame, mode="max").set_index("cell")
    a, b, c = (stats.ttest_1samp(x, 0).pvalue for x in ([1.0, 1.1, 0.9], [1.0, 3.0, 2.0], [1.0, -1.0, 0.1]))
    assert a < b < c
    assert list(table.loc[["a", "b", "c"], "p_holm"]) == pytest.approx([3 * a, max(3 * a, 2 * b), c])
    assert table.loc[["base", "failed"], "p_holm"].isna().all()


def test_baseline_is_not_compared_to_itself():
    got = one(study({"base": [1.0, 2.0], "k8": [2.0, 4.0]}), "base")
    assert got["claim"] == "baseline"
    assert got["pairs"] == 0
    assert math.isnan(got["difference"])


def test_without_baseline_nothing_is_compared():
    table = summary(study({"a": [1.0, 2.0, 3.0], "b": [2.0, 4.0, 7.0]}), mode="max")
    assert table["claim"].isna().all()
    assert table["difference"].isna().all()
    assert list(table["mean"]) == pytest.approx([2.0, 13 / 3])


def test_two_baselines_are_refused():
    frame = results_frame([trial("a", 0, 1.0, baseline=True), trial("b", 0, 1.0, baseline=True)])
    with pytest.raises(ValueError, match="only one cell can be the baseline, not a, b"):
        summary(frame, mode="max")


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="mode='up'"):
        summary(study({}), mode="up")
    with pytest.raises(ConfigError, match="confidence=95"):
        summary(study({}), mode="max", confidence=95)


def test_counts_and_problems():
    rows = [
        trial("z", 0, 1.0, baseline=True),
        trial("a", 0, 1.0),
        trial("a", 1, math.nan),
        trial("a", 2, None, status="failed", reason="oom"),
        trial("a", 3, None, status="failed", reason="oom"),
        trial("a", 4, None, status="missing"),
        trial("a", 5, None, status="running"),
        trial("a", 6, None, status="pruned"),
    ]
    table = summary(results_frame(rows), mode="max")
    assert list(table["cell"]) == ["z", "a"]  # the plan's order, not the alphabet's
    got = table.iloc[1]
    counts = ["complete", "planned", "failed", "pruned", "missing", "running"]
    assert [got[name] for name in counts] == [1, 7, 3, 1, 1, 1]
    assert got["problems"].split("; ") == [
        *("failed: nan (seed 1)", "failed: oom (seeds 2, 3)"),
        *("missing (seed 4)", "running (seed 5)", "pruned (seed 6)"),
    ]
    assert table["problems"].isna().tolist() == [True, False]


def test_measurements_are_those_of_complete_trials():
    rows = [
        trial("a", 0, 1.0, images_per_second=10.0, peak_memory_bytes=5, wall_seconds=1.0),
        trial("a", 1, 1.0, images_per_second=30.0, peak_memory_bytes=9, wall_seconds=2.0),
        trial("a", 2, 1.0, images_per_second=20.0, peak_memory_bytes=7, wall_seconds=6.0),
        trial("a", 3, math.inf, images_per_second=99.0, peak_memory_bytes=99, wall_seconds=99.0),
    ]
    rows.insert(0, trial("a", 4, None, status="failed", reason="oom"))
    got = summary(results_frame(rows), mode="max").iloc[0]
    assert got[["images_per_second", "peak_memory_bytes", "wall_seconds"]].tolist() == [20.0, 9, 3.0]
    assert got[["parameters", "macs"]].tolist() == [2_500_000, 1_250_000_000]


@pytest.mark.parametrize("values", [{}, {"base": [None, None], "k8": [None]}, {"base": [None], "k8": [1.0]}])
def test_studies_with_little_or_nothing(values):
    table = summary(study(values), mode="min")
    assert list(table["cell"]) == list(values)
    full = summary(study({"base": [1.0, 2.0, 3.0], "k8": [1.0, 3.0, 2.0]}), mode="min")
    assert (table.dtypes == full.dtypes).all()
    assert table["difference"].isna().all()


def test_factors_stay_in_the_summary():
    frame = results_frame([trial("a", 0, 1.0, factors={"k": "8"}), trial("b", 0, 1.0, factors={"k": "4"})])
    assert list(summary(frame, mode="max")["factor:k"]) == ["8", "4"]


def test_documented_coverage():
    """How often the intervals hold the true mean, 0, is what the docstring says."""
    documented = re.findall(r"(\d) seeds, (\w+) +([\d.]+) +([\d.]+)", paired_interval.__doc__)
    assert len(documented) == 4
    generator = np.random.default_rng(7)
    runs = 800  # standard error at most 0.018
    for n, distribution, t, bootstrap in documented:
        if distribution == "normal":
            samples = generator.normal(size=(runs, int(n)))
        else:
            samples = generator.exponential(size=(runs, int(n))) - 1
        zero = pd.Series(np.zeros(int(n)))
        found = pd.DataFrame([paired_interval(pd.Series(sample), zero) for sample in samples])
        held = ((found["low"] <= 0) & (found["high"] >= 0)).mean()
        assert held == pytest.approx(float(t), abs=0.03)
        held = ((found["bootstrap_low"] <= 0) & (found["bootstrap_high"] >= 0)).mean()
        assert held == pytest.approx(float(bootstrap), abs=0.04)


def test_confidence_is_that_of_both_intervals():
    frame = study({"base": [0.0] * 6, "k8": [0.1, 0.4, -0.2, 0.7, 0.3, 0.6]})
    wide, narrow = one(frame, "k8"), one(frame, "k8", confidence=0.5)
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]
    assert wide["bootstrap_low"] < narrow["bootstrap_low"] < narrow["bootstrap_high"] < wide["bootstrap_high"]
    reference = stats.t.interval(0.5, 5, loc=0.95 / 3, scale=stats.sem([0.1, 0.4, -0.2, 0.7, 0.3, 0.6]))
    assert [narrow["low"], narrow["high"]] == pytest.approx(reference)


# --- coverage and Markdown


def test_coverage_names_all_that_is_missing():
    frame = study({"base": [1.0, 2.0], "k8": [None, 3.0]})
    frame = pd.concat([frame, results_frame([trial("k2", 0, None, status="missing"), trial("k2", 1, math.nan)])])
    complete, planned, missing = coverage(frame)
    assert (complete, planned) == (3, 6)
    assert missing == ["k8 seed 0: failed: oom", "k2 seed 0: missing", "k2 seed 1: failed: nan"]
    assert coverage(results_frame([])) == (0, 0, [])


def test_markdown():
    frame = study({"base": [0.70, 0.71, 0.72], "k8": [0.71, 0.73, 0.75], "k|2": [None, 0.75, None], "k1": [None]})
    lines = markdown_table(summary(frame, mode="max"), objective="val/acc1").splitlines()
    assert lines[0] == ("| cell | val/acc1 | n | difference | claim | parameters (M) | MACs (G) | not complete |")
    assert lines[2] == "| base | 0.7100 ± 0.0100 | 3/3 |  | baseline | 2.50 | 1.25 |  |"
    assert lines[3] == "| k8 | 0.7300 ± 0.0200 | 3/3 | +0.0200 [-0.0048, +0.0448] | undecided | 2.50 | 1.25 |  |"
    assert lines[4] == "| k\\|2 | 0.7500 | 1/3 | +0.0400 | one seed | 2.50 | 1.25 | failed: oom (seeds 0, 2) |"
    assert lines[5] == "| k1 | - | 0/1 |  |  |  |  | failed: oom (seed 0) |"
    assert lines[6] == ""
    assert "95% t interval" in lines[7]
    assert {line.replace("\\|", "").count("|") for line in lines[:6]} == {9}


def test_markdown_says_how_many_claims_survive_a_correction():
    frame = study({"base": [0.0] * 3, "a": [1.0, 1.001, 0.999], "b": [1.0, 3.0, 2.0]})
    table = summary(frame, mode="max")
    assert "corrected for 2 comparisons (Holm): 1 differs" in markdown_table(table)
    assert list(table["claim"]) == ["baseline", "better", "undecided"]


def test_markdown_of_nothing_has_a_head():
    assert markdown_table(summary(results_frame([]), mode="max")).startswith("| cell | objective |")


def test_markdown_names_pairs_where_they_are_fewer():
    frame = study({"base": [1.0, None, 1.0], "k8": [2.0, 3.0, 2.5]})
    assert "(n=2)" in markdown_table(summary(frame, mode="max"))


# --- effects


def factorial(labels, seeds, value, skip=()):
    """One trial for each combination of {factor: labels} and seed; value(cell, seed) -> objective."""
    rows = []
    for chosen in itertools.product(*labels.values()):
        for seed in range(seeds):
            cell = dict(zip(labels, chosen, strict=True))
            name = ",".join(chosen)
            lost = chosen in skip
            status = ("failed", "oom") if lost else ("complete", None)
            rows.append(
                trial(
                    name, seed, None if lost else value(chosen, seed), factors=cell, status=status[0], reason=status[1]
                )
            )
    return results_frame(rows)


def at(table, factors, labels):
    return table[(table["factors"] == factors) & (table["labels"] == labels)].iloc[0]


def two_by_two(noise=True):
    means = {("x", "u"): 10.0, ("x", "v"): 14.0, ("y", "u"): 20.0, ("y", "v"): 32.0}
    residual = {("x", "u"): 1.0, ("x", "v"): -1.0, ("y", "u"): -1.0, ("y", "v"): 1.0}

    def value(cell, seed):
        # two seeds 6 apart, and 1 up or down within the block
        return means[cell] + (3 if seed else -3) + noise * residual[cell] * (1 if seed else -1)

    return factorial({"a": ["x", "y"], "b": ["u", "v"]}, 2, value)


def test_two_by_two_by_hand():
    table = effects(two_by_two(), ["a", "b"])
    assert list(table["factors"]) == ["a", "a", "b", "b"] + ["a:b"] * 4
    assert list(table["labels"]) == ["x", "y", "u", "v", "x:u", "x:v", "y:u", "y:v"]
    # grand mean 19; a: 12 and 26; b: 15 and 23; interaction x,u: 10 - 12 - 15 + 19
    assert list(table["effect"]) == pytest.approx([-7, 7, -4, 4, 2, -2, -2, 2])
    assert list(table["mean"]) == pytest.approx([12, 26, 15, 23, 10, 14, 20, 32])
    assert list(table["n"]) == [4] * 4 + [2] * 4
    # 8 trials - 4 terms - 1 for the seed: 3 left; sum of squares 8 * 1^2; standard error sqrt(8/3 / 8)
    assert list(table["df"]) == [3] * 8
    half = stats.t.ppf(0.975, 3) * math.sqrt(1 / 3)
    assert list(table["high"] - table["effect"]) == pytest.approx([half] * 8)
    assert list(table["effect"] - table["low"]) == pytest.approx([half] * 8)
    p = [2 * stats.t.sf(t / math.sqrt(1 / 3), 3) for t in (7, 4, 2)]
    assert list(table["p"]) == pytest.approx([p[0]] * 2 + [p[1]] * 2 + [p[2]] * 4)
    # three hypotheses, not eight: Holm by hand
    assert list(table["p_holm"]) == pytest.approx([3 * p[0]] * 2 + [2 * p[1]] * 2 + [p[2]] * 4)
    assert table["note"].isna().all()


def test_seed_is_no_block_where_it_is_not_balanced():
    frame = two_by_two().drop(index=7)  # cell y,v keeps one seed
    table = effects(frame, ["a", "b"])
    assert at(table, "a", "x")["df"] == 3  # 7 trials - 4 terms
    assert at(table, "a:b", "y:v")["mean"] == pytest.approx(32 - 3 - 1)
    # with an unbalanced design, means are still those of cells with equal weights
    assert at(table, "a", "y")["mean"] == pytest.approx((20 + 28) / 2)


def noisy(labels, seeds, generator, skip=()):
    noise = {}

    def value(cell, seed):
        return noise.setdefault((cell, seed), generator.normal())

    return factorial(labels, seeds, value, skip)


def test_three_by_two_against_the_formula_interface():
    labels = {"k": ["8", "2", "4"], "pos": ["none", "lepe"]}
    frame = noisy(labels, 4, np.random.default_rng(3))
    table = effects(frame, ["k", "pos"], confidence=0.9)
    data = pd.DataFrame(
        {
            "y": frame["objective"].to_numpy(),
            "k": [str(x) for x in frame["factor:k"]],
            "pos": [str(x) for x in frame["factor:pos"]],
            "seed": [str(x) for x in frame["seed"]],
        }
    )
    fit = ols("y ~ C(k, Sum) * C(pos, Sum) + C(seed, Sum)", data).fit()
    interval = fit.conf_int(0.1)
    # the formula takes labels in alphabetical order and leaves the last one out
    for factors, label, name in [
        ("k", "2", "C(k, Sum)[S.2]"),
        ("k", "4", "C(k, Sum)[S.4]"),
        ("pos", "lepe", "C(pos, Sum)[S.lepe]"),
        ("k:pos", "4:lepe", "C(k, Sum)[S.4]:C(pos, Sum)[S.lepe]"),
    ]:
        got = at(table, factors, label)
        expected = [fit.params[name], *interval.loc[name], fit.pvalues[name]]
        assert list(got[["effect", "low", "high", "p"]]) == pytest.approx(expected)
    for factor in labels:
        assert table.loc[table["factors"] == factor, "effect"].sum() == pytest.approx(0)
        expected = frame.groupby(f"factor:{factor}")["objective"].mean()
        for label, mean in expected.items():
            assert at(table, factor, label)["mean"] == pytest.approx(mean)


def test_two_labels_agree_with_the_paired_t_test():
    frame = noisy({"a": ["x", "y"]}, 5, np.random.default_rng(5))
    table = effects(frame, ["a"])
    x, y = (frame.loc[frame["factor:a"] == label, "objective"].to_numpy() for label in "xy")
    test = stats.ttest_rel(y, x)
    assert at(table, "a", "y")["p"] == pytest.approx(test.pvalue)
    assert 2 * at(table, "a", "y")["low"] == pytest.approx(test.confidence_interval(0.95).low)


def test_missing_cell_of_two_factors_is_named():
    frame = factorial(
        {"a": ["x", "y"], "b": ["u", "v"]}, 3, lambda cell, seed: seed + 0.1 * len(cell) * (seed % 2), [("y", "v")]
    )
    table = effects(frame, ["a", "b"])
    assert len(table) == 8
    assert table[["effect", "low", "high", "p", "p_holm"]].isna().all(axis=None)
    assert set(table["note"]) == {"cannot be estimated: no complete trial of a=y,b=v"}
    assert table["mean"].notna().tolist() == [True, False, True, False, True, True, True, False]


def test_cell_missing_from_the_plan_is_named_too():
    frame = two_by_two()
    frame = frame[frame["cell"] != "x,u"]
    assert "a=x,b=u" in at(effects(frame, ["a", "b"]), "a", "y")["note"]


def test_long_lists_of_missing_cells_are_cut():
    labels = {"a": list("pqrs"), "b": ["u", "v"]}
    frame = noisy(labels, 1, np.random.default_rng(0), [(a, "v") for a in "pqrs"])
    assert at(effects(frame, ["a", "b"]), "b", "v")["note"].endswith("a=p,b=v; a=q,b=v; a=r,b=v and 1 more")


def test_what_is_estimated_from_incomplete_factorials_is_right():
    """Without noise, each number is the truth or NaN, whichever cells are missing."""
    generator = np.random.default_rng(2)
    labels = {"a": ["1", "2", "3"], "b": ["1", "2"], "c": ["1", "2"]}
    grid = list(itertools.product(*labels.values()))
    estimated = lost = 0
    for missing in range(len(grid)):
        two_way = {}
        truth = {}
        for cell in grid:
            parts = [(i, cell[i]) for i in range(3)] + [(i, j, cell[i], cell[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
            truth[cell] = sum(two_way.setdefault(part, generator.normal()) for part in parts)
        skip = [grid[i] for i in generator.choice(len(grid), missing, replace=False)]
        table = effects(factorial(labels, 1, lambda cell, seed, truth=truth: truth[cell], skip), list(labels))
        complete = effects(factorial(labels, 1, lambda cell, seed, truth=truth: truth[cell]), list(labels))
        for name in ("effect", "mean"):
            known = table[name].notna()
            assert table.loc[known, name].to_numpy() == pytest.approx(complete.loc[known, name].to_numpy(), abs=1e-8)
            estimated += known.sum()
            lost += (~known).sum()
        assert table.loc[table["effect"].isna(), "note"].str.startswith("cannot be estimated").all()
        if not missing:
            assert complete["effect"].notna().all()
            by_hand = [np.mean([truth[cell] for cell in grid if cell[0] == label]) for label in labels["a"]]
            assert list(complete["effect"][:3]) == pytest.approx(np.array(by_hand) - np.mean(list(truth.values())))
        elif missing == 1:  # the two-way model has 10 terms: one of 12 cells can be spared
            assert table["effect"].notna().all()
    assert estimated > 100
    assert lost > 100


def test_as_many_terms_as_trials_gives_effects_without_intervals():
    frame = factorial({"a": ["x", "y"], "b": ["u", "v"]}, 1, lambda cell, seed: float(cell == ("y", "v")))
    table = effects(frame, ["a", "b"])
    assert list(table["effect"]) == pytest.approx([-0.25, 0.25] * 2 + [0.25, -0.25, -0.25, 0.25])
    assert table[["low", "high", "p", "p_holm", "mean_low"]].isna().all(axis=None)
    assert set(table["note"]) == {"no interval: as many terms as trials"}
    assert set(table["df"]) == {0}


def test_exact_fit_gives_no_certainty():
    table = effects(two_by_two(noise=False), ["a", "b"])
    assert list(table["effect"][:4]) == pytest.approx([-7, 7, -4, 4])
    assert table[["low", "high", "p"]].isna().all(axis=None)
    assert set(table["note"]) == {"no interval: the model fits exactly"}


def test_some_factors_of_many():
    labels = {"a": ["x", "y"], "b": ["u", "v"], "c": ["r", "s"]}
    frame = noisy(labels, 2, np.random.default_rng(9))
    table = effects(frame, ["c"])
    assert list(table["labels"]) == ["r", "s"]
    assert at(table, "c", "r")["mean"] == pytest.approx(frame.loc[frame["factor:c"] == "r", "objective"].mean())
    assert at(table, "c", "r")["df"] == 16 - 2 - 1


def test_factor_with_one_label():
    table = effects(noisy({"a": ["x", "y"], "b": ["u"]}, 3, np.random.default_rng(1)), ["a", "b"])
    assert list(table["factors"]) == ["a", "a", "b"]
    assert at(table, "b", "u")["note"] == "only one label: nothing to compare"
    assert math.isnan(at(table, "b", "u")["effect"])
    assert at(table, "a", "x")["p"] > 0


def test_effects_of_nothing():
    none = effects(results_frame([]), [])
    assert len(none) == 0
    lost = effects(factorial({"a": ["x", "y"]}, 2, None, [("x",), ("y",)]), ["a"])
    assert lost["effect"].isna().all()
    assert set(lost["note"]) == {"cannot be estimated: no complete trial of a=x; a=y"}
    assert (none.dtypes == lost.dtypes).all()


def test_effects_refuse_what_is_not_a_factor():
    frame = two_by_two()
    with pytest.raises(ConfigError, match="'c' is not a factor of the study; choose from a, b"):
        effects(frame, ["a", "c"])
    frame.loc[0, "factor:a"] = pd.NA
    with pytest.raises(ConfigError, match="cell 'x,u' has no label of 'a'"):
        effects(frame, ["a"])


# --- importances


def search(values):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(direction="maximize")
    space = {
        "lr": optuna.distributions.FloatDistribution(0.0, 1.0),
        "k": optuna.distributions.CategoricalDistribution(["1", "2"]),
    }
    generator = np.random.default_rng(0)
    for value in values:
        params = {"lr": generator.uniform(), "k": str(generator.choice(["1", "2"]))}
        made.add_trial(optuna.create_trial(params=params, distributions=space, value=value(params)))
    return made


def test_importances_find_what_matters():
    table = importances(search([lambda params: params["lr"] + 0.01 * (params["k"] == "1")] * 30))
    assert list(table["parameter"]) == ["lr", "k"]
    assert table["importance"].sum() == pytest.approx(1)
    assert table["importance"].iloc[0] > 0.9
    assert list(table["trials"]) == [30, 30]


def test_importances_count_completed_trials_only():
    study = search([lambda params: params["lr"]] * 9)
    study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.PRUNED))
    study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.FAIL))
    assert len(importances(study)) == 0
    assert len(importances(study, minimum=9)) == 2


@pytest.mark.parametrize("values", [[], [lambda params: 0.5] * 12])
def test_importances_where_there_is_nothing_to_explain(values):
    table = importances(search(values))
    assert list(table.columns) == ["parameter", "importance", "trials"]
    assert len(table) == 0
