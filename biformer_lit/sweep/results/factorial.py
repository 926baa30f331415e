"""Main effects and two-way interactions of a factorial study."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from biformer_lit.errors import ConfigError

Label = tuple[str, ...]  # one label of each factor
_COLUMNS = {
    **dict.fromkeys(("factors", "labels"), "string"),
    **dict.fromkeys(("effect", "low", "high", "p", "p_holm", "mean", "mean_low", "mean_high"), "float64"),
    **dict.fromkeys(("n", "df"), "Int64"),
    "note": "string",
}
_SHOWN = 3  # missing cells named in a note
_TOLERANCE = 1e-8


def effects(frame: pd.DataFrame, factors: Sequence[str], *, confidence: float = 0.95) -> pd.DataFrame:
    """Estimate main effects and two-way interactions by least squares over the complete trials, with sum coding.

    A main effect is how far the mean of a label, averaged over all labels of the other factors with equal weights,
    lies from the mean over all cells. A two-way interaction is what a pair of labels adds to its two main effects.
    The effects of a factor add up to zero. Interactions of three and more factors are not in the model: they count
    as noise, and where cells are missing the estimates rest on there being none. The seed is a block where every
    cell has the same two or more seeds; otherwise differences between seeds count as noise too.

    Args:
        frame: Outcomes of a factorial study, one row a trial (see :func:`.trial_table.outcomes`). The cells that the
            study should have are all combinations of the labels in it.
        factors: Names of factors, without ``factor:``.
        confidence: Of the intervals, each by itself.

    Returns:
        One row for each label of each factor, then one for each pair of labels of each pair of factors:
        ``factors`` and ``labels`` (pairs joined with a colon); ``effect`` in points of the objective, ``low``, ``high``
        and ``p`` (two-sided t tests); ``p_holm``, Holm's correction over all rows that test different hypotheses (the
        two labels of one factor are one hypothesis); ``mean``, ``mean_low``, ``mean_high``, the marginal mean of the
        label or pair (where the seed is a block, its interval is about these seeds and no others); ``n`` complete
        trials of it; ``df``, residual degrees of freedom; ``note``. What cannot be estimated, because no complete
        trial tells, is NaN, and ``note`` says which cells are missing. There are effects without intervals where
        there are as many terms as trials, or where the model fits exactly.

    Raises:
        ConfigError: If a factor does not exist, or is not set in every row.
    """
    columns = [_column(frame, name) for name in factors]
    labels = [list(frame[column].unique()) for column in columns]
    done = frame[frame["status"] == "complete"]
    cells: list[Label] = list(done[columns].itertuples(index=False, name=None))
    grid = list(itertools.product(*labels)) if len(frame) and labels else []
    terms: list[tuple[int, ...]] = [(i,) for i in range(len(labels))]
    terms += [pair for pair in itertools.combinations(range(len(labels)), 2) if all(len(labels[i]) > 1 for i in pair)]
    rows, contrasts, means = [], [], []
    coded = _encode(grid, labels)
    for term in terms:
        for chosen in itertools.product(*(labels[i] for i in term)):
            n = sum(all(cell[i] == label for i, label in zip(term, chosen, strict=True)) for cell in cells)
            row = {"factors": ":".join(factors[i] for i in term), "labels": ":".join(chosen), "n": n, "note": ""}
            if len(term) == 1 and len(labels[term[0]]) == 1:
                row["note"] = "only one label: nothing to compare"
            rows.append(row)
            contrasts.append(_contrast(grid, coded, dict(zip(term, chosen, strict=True))))
            means.append(_mean(grid, coded, dict(zip(term, chosen, strict=True))))
    if rows:
        fit = _fit(cells, labels, done)
        _fill(rows, np.array(contrasts), np.array(means), fit, _missing(grid, cells, factors), confidence)
    return pd.DataFrame(rows, columns=list(_COLUMNS)).replace({"note": {"": None}}).astype(_COLUMNS)


def _column(frame: pd.DataFrame, name: str) -> str:
    column = f"factor:{name}"
    if column not in frame:
        known = [other.removeprefix("factor:") for other in frame.columns if other.startswith("factor:")]
        raise ConfigError(f"factors: {name!r} is not a factor of the study; choose from {', '.join(known) or 'none'}")
    if frame[column].isna().any():
        cell = frame.loc[frame[column].isna(), "cell"].iloc[0]
        raise ConfigError(f"factors: cell {cell!r} has no label of {name!r}; effects need a factorial study")
    return column


def _encode(cells: Sequence[Label], labels: list[list[str]]) -> Any:
    """Rows of the design matrix: constant, sum-coded main effects and their two-way products; (cells, terms)."""
    main = []
    for i, names in enumerate(labels):
        coding = np.vstack([np.eye(len(names) - 1), -np.ones(len(names) - 1)])
        main.append(coding[[names.index(cell[i]) for cell in cells]])
    blocks = [np.ones((len(cells), 1)), *main]
    for one, other in itertools.combinations(main, 2):
        blocks.append((one[:, :, None] * other[:, None, :]).reshape(len(cells), one.shape[1] * other.shape[1]))
    return np.hstack(blocks)


def _mean(grid: Sequence[Label], coded: Any, fixed: dict[int, str]) -> Any:
    """Return the weights (terms,) whose product with the coefficients is the mean over all cells with these labels."""
    return coded[[all(cell[i] == label for i, label in fixed.items()) for cell in grid]].mean(axis=0)


def _contrast(grid: Sequence[Label], coded: Any, fixed: dict[int, str]) -> Any:
    """Return the weights (terms,) whose product with the coefficients is the effect of these labels."""
    contrast = _mean(grid, coded, fixed)
    if len(fixed) == 2:
        for label in fixed.items():
            contrast = contrast - _mean(grid, coded, dict([label]))
        return contrast + _mean(grid, coded, {})
    return contrast - _mean(grid, coded, {})


def _fit(cells: list[Label], labels: list[list[str]], done: pd.DataFrame) -> tuple[Any, Any] | None:
    """Results of statsmodels and what the trials tell, or None without a complete trial.

    With missing cells the coefficients are one choice of many, and a contrast means something only if every choice
    gives it the same value: if it is a combination of rows of the design. So the model is fitted in a basis of these.

    Returns:
        The results, in the basis; and the basis, orthonormal, (terms, rank).
    """
    from scipy.linalg import orth  # noqa: PLC0415 (takes long, like the next)
    from statsmodels.regression.linear_model import OLS  # noqa: PLC0415 (takes a second)

    if not cells:
        return None
    design = _encode(cells, labels)
    seeds = list(done["seed"])
    counts = pd.crosstab(pd.Series([cells.index(cell) for cell in cells]), pd.Series(seeds)).to_numpy()
    if counts.shape[1] > 1 and counts.min() == counts.max():
        # sum-coded too, so that the constant stays the mean over all seeds and contrasts need nothing for them
        block = _encode([(str(seed),) for seed in seeds], [sorted({str(seed) for seed in seeds})])[:, 1:]
        design = np.hstack([design, block])
    basis = orth(design.T)
    return OLS(done["objective"].to_numpy(), design @ basis).fit(), basis


def _missing(grid: list[Label], cells: list[Label], factors: Sequence[str]) -> str:
    missing = [cell for cell in grid if cell not in set(cells)]
    shown = [",".join(f"{f}={label}" for f, label in zip(factors, cell, strict=True)) for cell in missing[:_SHOWN]]
    return "; ".join(shown) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")


def _fill(
    rows: list[dict[str, Any]], contrasts: Any, means: Any, fit: tuple[Any, Any] | None, missing: str, confidence: float
) -> None:
    """Put numbers into the rows, in place."""
    from statsmodels.stats.multitest import multipletests  # noqa: PLC0415 (takes a second)

    effect = _estimate(fit, contrasts, confidence)
    mean = _estimate(fit, means, confidence)
    for i, row in enumerate(rows):
        row |= dict(zip(("mean", "mean_low", "mean_high"), mean[i, :3], strict=True))
        row["df"] = None if fit is None else int(fit[0].df_resid)
        if row["note"]:
            continue
        row |= dict(zip(("effect", "low", "high", "p"), effect[i], strict=True))
        if math.isnan(row["effect"]):
            row["note"] = f"cannot be estimated: no complete trial of {missing}"
        elif math.isnan(row["p"]):
            row["note"] = "no interval: " + ("the model fits exactly" if row["df"] else "as many terms as trials")
    tested: dict[tuple[float, ...], list[int]] = {}
    for i, row in enumerate(rows):
        if not math.isnan(row.get("p", math.nan)):
            sign = np.sign(contrasts[i][np.abs(contrasts[i]) > _TOLERANCE][0])
            tested.setdefault(tuple(np.round(sign * contrasts[i], 6) + 0.0), []).append(i)
    if tested:
        corrected = multipletests([rows[same[0]]["p"] for same in tested.values()], method="holm")[1]
        for same, p in zip(tested.values(), corrected, strict=True):
            for i in same:
                rows[i]["p_holm"] = p


def _estimate(fitted: tuple[Any, Any] | None, contrasts: Any, confidence: float) -> Any:
    """Estimate, low, high and p of each contrast; (contrasts, 4), with NaN for what the trials do not tell."""
    estimates = np.full((len(contrasts), 4), math.nan)
    if fitted is None:
        return estimates
    fit, basis = fitted
    contrasts = np.pad(contrasts, ((0, 0), (0, len(basis) - contrasts.shape[1])))  # nothing for the seeds
    within = contrasts @ basis
    known = np.abs(contrasts - within @ basis.T).max(axis=1) < _TOLERANCE
    estimates[known, 0] = within[known] @ fit.params
    spread = math.sqrt(fit.ssr / fit.nobs) > _TOLERANCE * np.abs(fit.model.endog).max()
    if fit.df_resid > 0 and spread and known.any():
        test = fit.t_test(within[known])
        estimates[known, 1:3] = test.conf_int(1 - confidence)
        estimates[known, 3] = test.pvalue
    return estimates
