"""Statistics of a study: each cell against the baseline, with intervals, and what is missing."""

import math
from typing import Any, Literal

import numpy as np
import optuna
import pandas as pd

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.quantities import QUANTITIES, prefixed
from biformer_lit.text.escaping import for_markdown

Mode = Literal["max", "min"]
_COLUMNS = {
    "cell": "string",
    "baseline": "boolean",
    **dict.fromkeys(("complete", "planned", "failed", "pruned", "missing", "running"), "Int64"),
    "problems": "string",
    **dict.fromkeys(("mean", "sd"), "float64"),
    **{quantity.name: quantity.dtype_of_cell for quantity in QUANTITIES},
    "pairs": "Int64",
    **dict.fromkeys(("difference", "low", "high", "p", "p_holm", "bootstrap_low", "bootstrap_high"), "float64"),
    "claim": "string",
    "confidence": "float64",
}
_RESAMPLES = 9999
_EQUAL = 1e-6  # relative to the objective: differences closer than this are one and the same, up to float32's rounding


def summary(frame: pd.DataFrame, *, mode: Mode, confidence: float = 0.95) -> pd.DataFrame:
    """Describe each cell, and compare it to the baseline over the seeds that are complete in both.

    Intervals and ``p`` are for each cell alone; ``p_holm`` and ``claim`` are corrected for the number of cells, for of
    twenty cells that change nothing one is expected to have an interval without 0 at a confidence of 0.95.

    Args:
        frame: Outcomes, one row a trial (see :func:`.trial_table.outcomes`).
        mode: Whether a larger or a smaller objective is better.
        confidence: Of the intervals.

    Returns:
        One row a cell, in the order of the plan. ``cell``, ``baseline`` and one column a factor; numbers of trials:
        ``complete``, ``planned``, ``failed``, ``pruned``, ``missing``, ``running``; ``problems``, which seeds are not
        complete and why; ``mean`` and ``sd`` (n - 1; NaN for one trial) of the objective; every quantity of
        :mod:`biformer_lit.sweep.spec.quantities`, summed up over the complete trials as its row says; ``pairs``, the
        seeds compared, ``difference``, the mean of cell minus baseline, with ``low``, ``high``, ``p``,
        ``bootstrap_low`` and ``bootstrap_high`` (see ``paired_interval``); ``p_holm``, Holm's correction of ``p`` over
        the cells; ``claim``; ``confidence``. The claim is "better" or "worse" if ``p_holm`` is below 1 - confidence,
        "undecided" if it is not or there is none, "one seed" if there is one pair,
        "baseline" for the baseline itself, and missing if there is nothing to compare.

    Raises:
        ConfigError: If mode or confidence cannot be.
        ValueError: If more than one cell is the baseline.
    """
    if mode not in {"max", "min"}:
        raise ConfigError(f"mode={mode!r} is not possible; choose from max, min")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence={confidence} must lie between 0 and 1, for example 0.95")
    marked = list(frame.loc[frame["baseline"].fillna(False), "cell"].unique())
    if len(marked) > 1:
        raise ValueError(f"only one cell can be the baseline, not {', '.join(marked)}")
    reference = _objective(frame[frame["cell"].isin(marked)])
    factors = {column: "string" for column in frame.columns if column.startswith("factor:")}
    rows = []
    for cell, trials in frame.groupby("cell", sort=False):
        row = {"cell": cell, "baseline": cell in marked, "confidence": confidence, **trials[list(factors)].iloc[0]}
        row |= _count(trials) | _measure(trials)
        rows.append(row | _compare(_objective(trials), reference, mode, confidence, baseline=cell in marked))
    columns = dict(list(_COLUMNS.items())[:2]) | factors | _COLUMNS
    return _correct(pd.DataFrame(rows, columns=list(columns)).astype(columns))


def paired_interval(cell: pd.Series, reference: pd.Series, confidence: float = 0.95) -> dict[str, float]:
    """Interval of the mean difference between two cells over paired seeds: by Student's t, and by bootstrap.

    The t interval decides. The bootstrap interval resamples the differences and takes percentiles: with few seeds
    it is too narrow whatever its variant, because resamples cannot lie outside what was seen (with three seeds the
    95% interval is the smallest to the largest difference, which holds the true mean three times in four). BCa is
    not better: its corrections are themselves estimated from the few differences, and it held the mean less often
    with three seeds (0.72 for normal differences). How often the 95% intervals hold the true mean, by simulation:

    ======================  =====  =========
    differences             t      bootstrap
    ======================  =====  =========
    3 seeds, normal         0.95   0.75
    5 seeds, normal         0.95   0.83
    3 seeds, exponential    0.88   0.70
    5 seeds, exponential    0.89   0.79
    ======================  =====  =========

    Args:
        cell: Objective of the cell, with the seed as index.
        reference: The same of the baseline.
        confidence: Of both intervals.

    Returns:
        ``pairs``, ``difference`` (cell minus reference), ``low``, ``high`` and ``p`` (two-sided) of the t interval and
        ``bootstrap_low``, ``bootstrap_high``. NaN where there is nothing to estimate a spread from: the t interval
        with one pair, the bootstrap with one or two, and both if all differences are equal up to rounding.
    """
    from scipy import stats  # noqa: PLC0415 (takes most of a second, and a look at the status needs none of it)

    both = pd.concat([cell, reference], axis=1, join="inner").to_numpy(dtype=float)
    differences = both[:, 0] - both[:, 1]
    found = dict.fromkeys(("difference", "low", "high", "p", "bootstrap_low", "bootstrap_high"), math.nan)
    found["pairs"] = len(differences)
    if len(differences):
        found["difference"] = float(differences.mean())
    if len(differences) < 2 or np.ptp(differences) <= _EQUAL * np.abs(both).max():
        return found
    test = stats.ttest_1samp(differences, 0.0)
    found["low"], found["high"] = (float(end) for end in test.confidence_interval(confidence))
    found["p"] = float(test.pvalue)
    if len(differences) > 2:
        resampled = stats.bootstrap(
            (differences,),
            np.mean,
            confidence_level=confidence,
            method="percentile",
            n_resamples=_RESAMPLES,
            rng=np.random.default_rng(0),  # the same table for the same results
        ).confidence_interval
        found["bootstrap_low"], found["bootstrap_high"] = float(resampled.low), float(resampled.high)
    return found


def importances(study: optuna.Study, *, minimum: int = 10) -> pd.DataFrame:
    """Rate how much each parameter of a search explains of the objective's variance, by fANOVA over complete trials.

    Args:
        study: Of one objective.
        minimum: Complete trials below which nothing is said: a forest over fewer ranks parameters by chance.

    Returns:
        ``parameter``, ``importance`` (they add up to 1) and ``trials`` behind it, the most important first. Without
        rows if there are too few complete trials, no parameter that all of them have, or if all are equally good.
    """
    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    trials = [trial for trial in trials if trial.user_attrs.get("phase") != "confirm"]  # repeats of what was drawn
    values = [trial.value for trial in trials if trial.value is not None]
    rated: dict[str, float] = {}
    # two trials are the least that Optuna works with, and it cannot divide a variance of zero
    if len(values) >= max(minimum, 2) and len(set(values)) > 1:
        drawn = optuna.create_study(direction=study.direction)
        drawn.add_trials(trials)
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        rated = optuna.importance.get_param_importances(drawn, evaluator=evaluator)
    rows = [(name, share, len(values)) for name, share in rated.items()]
    types = {"parameter": "string", "importance": "float64", "trials": "Int64"}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def coverage(frame: pd.DataFrame) -> tuple[int, int, list[str]]:
    """Count what a study has of what it planned, by its outcomes (see :func:`.trial_table.outcomes`).

    Returns:
        Complete trials, planned trials, and one line for every trial that is not complete: what and why.
    """
    rest = frame[frame["status"] != "complete"]
    lines = [
        f"{cell} seed {seed}: {_state(status, reason)}"
        for cell, seed, status, reason in rest[["cell", "seed", "status", "reason"]].itertuples(index=False, name=None)
    ]
    return len(frame) - len(rest), len(frame), lines


def markdown_table(table: pd.DataFrame, *, objective: str = "objective", digits: int = 4) -> str:
    """Write a summary as a table in Markdown.

    Args:
        table: What ``summary`` made.
        objective: Name of the objective.
        digits: Decimals of the objective and of differences.

    Returns:
        One line a cell: objective as mean ± sd, complete of planned trials, difference to the baseline with its t
        interval, claim, parameters in millions, MACs in billions, and what is not complete; then what to know.
    """
    costs = [quantity for quantity in QUANTITIES if quantity.prefix is not None]
    header = ["cell", for_markdown(objective), "n", "difference", "claim"]
    header += [f"{quantity.title} ({quantity.prefix})" for quantity in costs]
    lines = [_line([*header, "not complete"]), "|---|---:|---:|---:|---|" + "---:|" * len(costs) + "---|"]
    for row in table.to_dict("records"):
        mean, sd, difference = _number(row["mean"], digits), _number(row["sd"], digits), ""
        if row["pairs"] and not pd.isna(row["difference"]):
            low, high = (_number(row[end], digits, "+") for end in ("low", "high"))
            difference = _number(row["difference"], digits, "+") + (f" [{low}, {high}]" if low else "")
            difference += f" (n={row['pairs']})" if row["pairs"] != row["complete"] else ""
        cells = [
            for_markdown(row["cell"]),
            (f"{mean} ± {sd}" if sd else mean) or "-",
            f"{row['complete']}/{row['planned']}",
            difference,
            "" if pd.isna(row["claim"]) else row["claim"],
            *("" if pd.isna(row[one.name]) else prefixed(one, row[one.name], 2) for one in costs),
            "" if pd.isna(row["problems"]) else for_markdown(row["problems"]),
        ]
        lines.append(_line(cells))
    return "\n".join([*lines, "", _caption(table)]) + "\n"


def _caption(table: pd.DataFrame) -> str:
    text = "± standard deviation over seeds; n: complete/planned trials."
    compared = int(table["p"].notna().sum())
    if compared:
        level = f"{100 * table['confidence'].iloc[0]:g}%"
        text += f" Difference: to the baseline over seeds that both have, {level} t interval."
    if compared > 1:
        rejected = int((table["p_holm"] < 1 - table["confidence"]).sum())
        text += f" Intervals are for each cell alone, claims are corrected for {compared} comparisons (Holm): "
        text += f"{rejected} differ{'s' if rejected == 1 else ''} from the baseline."
    return text


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float, digits: int, sign: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{sign}.{digits}f}"


def _state(status: str, reason: Any) -> str:
    return status if pd.isna(reason) else f"{status}: {reason}"


def _objective(trials: pd.DataFrame) -> pd.Series:
    """Objective of the complete trials, with the seed as index."""
    complete = trials[trials["status"] == "complete"]
    return complete.set_index("seed")["objective"]


def _count(trials: pd.DataFrame) -> dict[str, Any]:
    states = trials["status"]
    counts = {
        status: int((states == status).sum()) for status in ("complete", "failed", "pruned", "missing", "running")
    }
    problems: dict[str, list[str]] = {}
    for seed, status, reason in trials[["seed", "status", "reason"]].itertuples(index=False, name=None):
        if status != "complete":
            problems.setdefault(_state(status, reason), []).append(str(seed))
    texts = [f"{what} (seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)})" for what, seeds in problems.items()]
    return counts | {"planned": len(trials), "problems": "; ".join(texts) or None}


def _measure(trials: pd.DataFrame) -> dict[str, Any]:
    complete = trials[trials["status"] == "complete"]
    found: dict[str, Any] = {"mean": complete["objective"].mean(), "sd": complete["objective"].std(ddof=1)}
    for quantity in QUANTITIES:
        if quantity.of_cell == "same":  # for all seeds, and known even without a result
            found[quantity.name] = trials[quantity.name].bfill().iloc[0]
        else:
            found[quantity.name] = complete[quantity.name].agg(quantity.of_cell)
    return found


def _compare(
    objective: pd.Series, reference: pd.Series, mode: Mode, confidence: float, *, baseline: bool
) -> dict[str, Any]:
    if baseline:
        return {"pairs": 0, "claim": "baseline"}
    found: dict[str, Any] = paired_interval(objective, reference, confidence)
    claim = {0: None, 1: "one seed"}.get(found["pairs"], "undecided")
    if found["low"] > 0:
        claim = "better" if mode == "max" else "worse"
    elif found["high"] < 0:
        claim = "worse" if mode == "max" else "better"
    return found | {"claim": claim}


def _correct(table: pd.DataFrame) -> pd.DataFrame:
    """Fill in ``p_holm``, and take claims back that do not outlast the correction."""
    tested = table["p"].notna()
    if tested.any():
        from statsmodels.stats.multitest import multipletests  # noqa: PLC0415 (takes a second)

        table.loc[tested, "p_holm"] = multipletests(table.loc[tested, "p"], method="holm")[1]
        left = table["p_holm"] < 1 - table["confidence"]
        table.loc[tested & ~left & table["claim"].isin(["better", "worse"]), "claim"] = "undecided"
    return table
