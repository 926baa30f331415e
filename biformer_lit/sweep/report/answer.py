"""The study's question answered in a sentence, never with more than the intervals say."""

import math
import re
from dataclasses import dataclass

import pandas as pd

from biformer_lit.sweep.report.content import Content
from biformer_lit.sweep.report.load import uneven_load

MIXED = (
    "Means of cells that were drawn include seed {seed}, by which they were chosen, which flatters them; differences "
    "to the baseline rest on the fresh seeds alone."
)
_LEVEL = 0.05
_ASKS_FOR_INTERACTION = re.compile(
    r"\binteract|\binterplay|\bsynerg|\b(depends? on|independent(ly)? of) (each other|one another)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answer:
    """Answer that the results support.

    Args:
        sentence: The answer, with its uncertainty.
        notes: What to know beside it, a sentence each.
    """

    sentence: str
    notes: tuple[str, ...]


def answer(content: Content) -> Answer:
    """Answer a study's question as far as its results do."""
    complete, planned, _ = content.counts
    notes = []
    if complete < planned:
        notes.append(f"{planned - complete} of {planned} trials are not complete; they are listed below the table.")
    if content.spec.objective.epoch == "best" and complete:
        notes.append(
            f"Each trial counts with its best epoch by {content.unit.metric}, which flatters all cells a little."
        )
    if not complete:
        return Answer("No trial is complete, so nothing can be said yet.", tuple(notes))
    baseline = content.baseline
    if mixes_seeds(content):
        notes.append(MIXED.format(seed=content.spec.seeds[0]))
    if load := uneven_load(content):
        notes.append(load)
    main, pairs = _effect(content, pairs=False), _effect(content, pairs=True)
    if pairs and _ASKS_FOR_INTERACTION.search(content.spec.question):
        against = [] if baseline is None or not baseline["complete"] else [_against(content, baseline)]
        return Answer(pairs, tuple(filter(None, [main, *against, *notes])))
    notes[:0] = filter(None, [main, pairs])
    if baseline is None:
        return Answer(_without_baseline(content), tuple(notes))
    if not baseline["complete"]:
        sentence = f"Nothing can be compared, as {_the(content, baseline)} has no complete trial."
        return Answer(sentence, tuple(notes))
    return Answer(_against(content, baseline), tuple(notes + _power(content)))


def difference_text(content: Content, row: pd.Series) -> str:
    """A cell's difference to the baseline with its interval and the seeds behind it."""
    unit = content.unit
    text = f"{unit.signed(row['difference'])}{unit.difference}"
    interval = unit.interval(row["low"], row["high"])
    seeds = f"{row['pairs']} paired seed{'s' if row['pairs'] > 1 else ''}"
    return f"{text} ({100 * row['confidence']:g} % interval {interval}, {seeds})" if interval else f"{text} ({seeds})"


def _without_baseline(content: Content) -> str:
    best = content.best
    if best is None:
        return "No cell has a result, so nothing can be said yet."
    mean = content.unit.number(best["mean"]) + content.unit.symbol
    several = f" over {best['complete']} seeds" if best["complete"] > 1 else " with one seed"
    return (
        f"The study has no baseline, so no difference is tested; the cell with the best mean is {best['cell']} with "
        f"{mean}{several}."
    )


def _against(content: Content, baseline: pd.Series) -> str:
    unit, name = content.unit, _the(content, baseline)
    others = content.table[content.table["pairs"].gt(0) & ~content.table["baseline"].fillna(False)]
    if others.empty:
        return f"No cell shares a seed with {name}, so no claim can be made."
    sign = 1 if content.spec.objective.mode == "max" else -1
    gain = sign * others["difference"]
    if others["pairs"].max() == 1:
        top = others.loc[gain.abs().idxmax()]
        return (
            f"With one seed no claim can be made: the largest difference to {name} is that of "
            f"{top['cell']}, {unit.signed(top['difference'])}{unit.difference}."
        )
    better, worse = others[others["claim"] == "better"], others[others["claim"] == "worse"]
    tested = int(others["p"].notna().sum())
    if not better.empty:
        top = better.loc[gain[better.index].idxmax()]
        text = f"{top['cell']} beats {name} by {difference_text(content, top)}"
        return f"{text}; {_corrected(better, tested)}."
    if not worse.empty:
        top = worse.loc[gain[worse.index].idxmin()]
        text = (
            f"No cell beats {name}; {len(worse)} of {len(others)} {_do(len(worse))} worse, "
            f"{top['cell']} most, by {difference_text(content, top)}"
        )
        return f"{text}; {_corrected(worse, tested)}."
    top = others.loc[gain.abs().idxmax()]
    told = f" after correction for {tested} comparisons (Holm)" if tested > 1 else ""
    return (
        f"No cell can be told from {name}{told}: the largest difference is that of {top['cell']}, "
        f"{difference_text(content, top)}."
    )


def _the(content: Content, baseline: pd.Series) -> str:
    """The baseline by its name, or by its labels where the name says nothing."""
    if baseline["cell"] != "baseline":
        return f"the baseline {baseline['cell']}"
    labels = [f"{name}={baseline[f'factor:{name}']}" for name in content.factors if name in content.spec.factors]
    return f"the baseline ({', '.join(labels)})" if labels else "the baseline"


def _do(many: int) -> str:
    return "does" if many == 1 else "do"


def _corrected(claimed: pd.DataFrame, tested: int) -> str:
    """By how many comparisons claims were corrected; those that a correction takes away are no claims."""
    if tested < 2:
        return "it is the only comparison"
    corrected = f"after correction for {tested} comparisons (Holm)"
    return f"it stands {corrected}" if len(claimed) == 1 else f"{len(claimed)} such differences stand {corrected}"


def mixes_seeds(content: Content) -> bool:
    """Return whether means hold the seed that cells of a search were chosen by together with fresh ones."""
    if content.spec.plan != "search":
        return False
    done = content.frame[content.frame["status"] == "complete"].groupby("cell")["seed"]
    return bool((done.nunique().gt(1) & done.agg(lambda seeds: seeds.isin(content.spec.seeds).any())).any())


def _effect(content: Content, *, pairs: bool) -> str:
    """A factorial plan's clearest main effect, or its clearest interaction of two factors."""
    if content.effects is None:
        return ""
    of_pairs = content.effects["factors"].str.contains(":")
    rows = content.effects[(of_pairs if pairs else ~of_pairs) & content.effects["p_holm"].notna()]
    if rows.empty:
        return ""
    top, unit = rows.loc[rows["p_holm"].idxmin()], content.unit
    clear = top["p_holm"] < _LEVEL
    figures = f"{unit.signed(top['effect'])}{unit.difference} {unit.interval(top['low'], top['high'])}"
    p = f"(p = {top['p_holm']:.2g} after Holm)"
    if pairs:
        told = "Factors interact: the clearest is" if clear else "No interaction is told from zero; the clearest is"
        return f"{told} {_pair(top)} with {figures} beyond its two main effects {p}."
    told = "the clearest" if clear else "none is told from zero; the clearest"
    return f"Main effects: {told} is {top['factors']}={top['labels']} with {figures} against the mean of all cells {p}."


def _pair(row: pd.Series) -> str:
    """Name the labels of an interaction: a=1 with b=2."""
    named = zip(row["factors"].split(":"), row["labels"].split(":"), strict=False)
    return " with ".join(f"{factor}={label}" for factor, label in named)


def _power(content: Content) -> list[str]:
    """Return the smallest difference that the study could have detected."""
    table = content.table
    half = ((table["high"] - table["low"]) / 2).median()
    if math.isnan(half):
        return []
    unit = content.unit
    reach = f"{unit.number(half)}{unit.difference}"
    return [f"With these seeds an interval reaches {reach} to either side (median): smaller differences stay unseen."]
