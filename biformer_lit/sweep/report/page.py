"""The report as one page that needs nothing else."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Literal

import jinja2
from markupsafe import Markup

from biformer_lit.sweep.report.answer import Answer
from biformer_lit.sweep.report.charts import chart
from biformer_lit.sweep.report.content import Content
from biformer_lit.sweep.report.drawings import Drawing
from biformer_lit.sweep.report.reproduce import Reproduction
from biformer_lit.sweep.report.routing_pictures import RoutingMap
from biformer_lit.sweep.report.unit import is_missing, shown
from biformer_lit.sweep.spec.quantities import of_table

_TEXT, _NUMBER = False, True


def page(
    content: Content, said: Answer, drawn: Sequence[Drawing], maps: Sequence[RoutingMap], repeat: Reproduction
) -> str:
    """The page's text.

    Args:
        content: The study.
        said: Its answer.
        drawn: Its drawings.
        maps: Its routing maps.
        repeat: What one needs to repeat it.
    """
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 (reads a file of megabytes)

    complete, planned, incomplete = content.counts
    own = files(__package__)
    environment = jinja2.Environment(autoescape=True, trim_blocks=False, undefined=jinja2.StrictUndefined)
    template = environment.from_string(own.joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        name=content.spec.name,
        question=content.spec.question,
        coverage=f"{complete} of {planned} trials complete",
        answer=said,
        css=Markup(own.joinpath("page.css").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
        js=Markup(own.joinpath("page.js").read_text(encoding="utf-8")),  # noqa: S704
        # a page may not end its own script
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),  # noqa: S704
        factors=_factors(content),
        caption=_caption(content),
        columns=_columns(content),
        rows=[_row(content, row) for row in content.table.to_dict("records")],
        incomplete=incomplete,
        charts=[chart(one) for one in drawn],
        maps=[{**vars(one), "data": base64.b64encode(one.webp).decode()} for one in maps],
        effects=_effects(content),
        trial_columns=_heads([("cell", _TEXT), ("seed", _NUMBER), ("status", _TEXT), (content.unit.title, _NUMBER),
                              ("best epoch", _NUMBER),
                              *((quantity.title, _NUMBER) for quantity in of_table("trials"))]),
        trials=[_trial(content, row) for row in content.frame.to_dict("records")],
        reproduce=repeat,
    )  # fmt: skip


def _caption(content: Content) -> str:
    level = f"{100 * content.table['confidence'].iloc[0]:g} %"
    return (
        f"{content.unit.title}: mean ± standard deviation over n complete trials of those planned. Difference: to the "
        f"baseline over the seeds that both have, with the {level} t interval, for each cell alone; p after Holm's "
        "correction for all comparisons. Bootstrap intervals are in summary.csv."
    )


def _factors(content: Content) -> list[dict[str, Any]]:
    """Factors that the page filters by: those with listed labels, not numbers that a search drew."""
    return [
        {"name": name, "labels": list(dict.fromkeys(content.table[f"factor:{name}"].dropna()))}
        for name in content.factors
        if name in content.spec.factors
    ]


def _heads(columns: Iterable[tuple[str, bool]]) -> list[dict[str, Any]]:
    return [{"title": title, "number": number} for title, number in columns]


def _columns(content: Content) -> list[dict[str, Any]]:
    unit = content.unit
    difference = f"difference ({unit.difference.strip()})" if unit.difference else "difference"
    titles = [("cell", _TEXT), (unit.title, _NUMBER), ("n", _NUMBER), (difference, _NUMBER), ("interval", _TEXT)]
    titles += [("p (Holm)", _NUMBER), ("claim", _TEXT)]
    titles += [(quantity.title, _NUMBER) for quantity in of_table("cells")]
    return _heads(titles + [("not complete", _TEXT)] * _has_problems(content))


def _has_problems(content: Content) -> bool:
    return bool(content.table["problems"].notna().any())


def _row(content: Content, row: Mapping[str, Any]) -> dict[str, Any]:
    unit = content.unit
    sd = unit.number(row["sd"])
    mean = unit.number(row["mean"]) + (f" ± {sd}" if sd else "")
    claim = _text(row["claim"])
    mark = claim if claim in ("better", "worse") else ""
    values = [
        _cell(row["cell"]),
        _cell(mean, row["mean"]),
        _cell(f"{row['complete']}/{row['planned']}", row["complete"]),
        _cell(unit.signed(row["difference"]), row["difference"], mark=mark),
        _cell(unit.interval(row["low"], row["high"]), mark="together"),
        _cell("" if is_missing(row["p_holm"]) else f"{row['p_holm']:.2g}", row["p_holm"]),
        _cell(claim, mark=mark),
        *_quantities("cells", row),
        _cell(_text(row["problems"])),
    ]  # fmt: skip
    factors = {name: _text(row[f"factor:{name}"]) for name in content.factors}
    if not _has_problems(content):
        values.pop()
    return {"cell": row["cell"], "factors": factors, "baseline": bool(row["baseline"]), "entries": values}


def _trial(content: Content, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    reason = _text(row["reason"])
    return [
        _cell(row["cell"]),
        _cell(str(row["seed"]), row["seed"]),
        _cell(f"{row['status']}: {reason}" if reason else row["status"]),
        _cell(content.unit.number(row["objective"]), row["objective"]),
        _cell(_text(row["best_epoch"]), row["best_epoch"]),
        *_quantities("trials", row),
    ]


def _quantities(table: Literal["cells", "trials"], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_cell(shown(one, row[one.name]), row[one.name]) for one in of_table(table)]


def _effects(content: Content) -> dict[str, Any] | None:
    if content.effects is None or content.effects.empty:
        return None
    unit = content.unit
    rows = [
        [
            _cell(row["factors"]),
            _cell(row["labels"]),
            _cell(unit.signed(row["effect"]), row["effect"]),
            _cell(unit.interval(row["low"], row["high"]), mark="together"),
            _cell("" if is_missing(row["p_holm"]) else f"{row['p_holm']:.2g}", row["p_holm"]),
            _cell(unit.number(row["mean"]), row["mean"]),
            _cell(str(row["n"]), row["n"]),
            _cell(_text(row["note"])),
        ]
        for row in content.effects.to_dict("records")
    ]
    titles = [("factors", _TEXT), ("labels", _TEXT), ("effect", _NUMBER), ("interval", _TEXT), ("p (Holm)", _NUMBER)]
    return {"columns": _heads([*titles, ("mean", _NUMBER), ("n", _NUMBER), ("note", _TEXT)]), "rows": rows}


_ABSENT: Any = object()


def _cell(text: str, raw: Any = _ABSENT, mark: str = "") -> dict[str, Any]:
    """A table's cell; with ``raw``, a number, by which the column is sorted."""
    if raw is _ABSENT:
        return {"text": text, "number": False, "mark": mark}
    return {"text": text, "number": True, "raw": "" if is_missing(raw) else repr(raw), "mark": mark}


def _text(value: Any) -> str:
    return "" if is_missing(value) else str(value)
