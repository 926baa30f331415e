"""The drawings as data for plotly in the page."""

import math
from collections.abc import Iterable, Sequence
from functools import singledispatch
from typing import Any, TypeAlias

from biformer_lit.sweep.report.drawings import Band, Bars, Drawing, Front, Marks, Means, Panel, Points, Polyline
from biformer_lit.sweep.report.series import Parallel
from biformer_lit.text.escaping import for_plotly

Chart: TypeAlias = dict[str, Any]
"""``id``, ``title``, ``text`` (what a reader who does not see it needs), ``data`` and ``layout``."""
Traces: TypeAlias = list[dict[str, Any]]

# readable on white and on black, and told apart without colour vision (after Okabe and Ito)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#888888")
_DIGITS = 6  # significant digits: what a screen cannot show need not be sent
_EPOCHS = 10  # up to which each has a mark of its own on the axis
_WIDE = 0.88  # of its place, that a panel takes


def chart(drawing: Drawing) -> Chart:
    """Return a drawing as plotly's traces and layout."""
    data: Traces = []
    for i, panel in enumerate(drawing.panels):
        counts: dict[type, int] = {}
        for marks in panel.marks:
            order = counts[type(marks)] = counts.get(type(marks), -1) + 1
            place = {"xaxis": f"x{i + 1 if i else ''}"} if isinstance(marks, Means) else {}
            data += [{**trace, **place} for trace in _traces(marks, COLOURS[order % len(COLOURS)])]
    layout = _layout(drawing)
    about = {"id": drawing.name, "title": drawing.title, "text": drawing.text}
    return {**about, "data": _plain(data), "layout": _plain(layout)}


def _plain(part: Any, key: str = "") -> Any:
    """The same part of a figure with all its texts as plain ones; the templates are ours and hold no other text."""
    if isinstance(part, str):
        return part if key == "hovertemplate" else for_plotly(part)
    if isinstance(part, dict):
        return {name: _plain(value, name) for name, value in part.items()}
    return [_plain(value, key) for value in part] if isinstance(part, list | tuple) else part


def _round(values: Iterable[float]) -> list[float | None]:
    return [None if math.isnan(value) else float(f"{value:.{_DIGITS}g}") for value in values]


def _error(marks: Points | Means) -> dict[str, Any]:
    """A bar on both sides of each point."""
    bar = {"type": "data", "array": _round(marks.plus), "thickness": 1.2, "width": 4}
    return bar if marks.plus == marks.minus else {**bar, "arrayminus": _round(marks.minus), "symmetric": False}


# -- marks --------------------------------------------------------------------------------------------------


@singledispatch
def _traces(marks: Marks, _colour: str) -> Traces:
    raise TypeError(type(marks))


@_traces.register
def _(marks: Points, colour: str) -> Traces:
    by_row = any(isinstance(value, str) for value in marks.y)
    return [{
        "type": "scatter",
        "mode": "markers",
        "x": _round(marks.x),
        "y": marks.y if by_row else _round(marks.y),  # type: ignore[arg-type]
        "error_x" if by_row else "error_y": _error(marks),
        "customdata": marks.cells,
        "marker": {"color": colour, "symbol": "star" if marks.marked else "circle", "size": 13 if marks.marked else 9},
        "hovertemplate": ("%{y}: %{x:+.4g}" if by_row else "%{customdata}<br>%{x:.4g}, %{y:.4g}") + "<extra></extra>",
        "name": marks.name,
    }]  # fmt: skip


@_traces.register
def _(marks: Front, _colour: str) -> Traces:
    line = {"color": "#999999", "dash": "dot"}
    common = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "name": "Pareto front", "line": line}
    return [{**common, "x": _round(marks.x), "y": _round(marks.y)}]


@_traces.register
def _(marks: Band, colour: str) -> Traces:
    spread = [0.0 if math.isnan(sd) else sd for sd in marks.sd]
    low, high = ([y + sign * sd for y, sd in zip(marks.y, spread, strict=True)] for sign in (-1, 1))
    common: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": marks.x, "meta": marks.cell}
    edge = {**common, "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "legendgroup": marks.cell}
    return [
        {**edge, "y": _round(low)},
        {**edge, "y": _round(high), "fill": "tonexty", "fillcolor": f"{colour}33"},
        {**common, "y": _round(marks.y), "line": {"color": colour}, "name": marks.name, "legendgroup": marks.cell},
    ]


@_traces.register
def _(marks: Means, colour: str) -> Traces:
    common = {"type": "scatter", "mode": "lines+markers", "line": {"color": colour}}
    about = {"name": marks.name} if marks.name else {"showlegend": False}
    return [{**common, **about, "x": marks.labels, "y": _round(marks.y), "error_y": _error(marks)}]


@_traces.register
def _(marks: Polyline, _colour: str) -> Traces:
    common = {"type": "scatter", "mode": "lines", "showlegend": False, "hovertemplate": "%{meta}<extra></extra>"}
    line = {"color": _shade(marks.rank), "width": 1 + 2 * marks.rank**4}
    x = list(range(len(marks.y)))
    return [{**common, "x": x, "y": _round(marks.y), "line": line, "meta": marks.cell, "name": marks.cell}]


@_traces.register
def _(marks: Bars, colour: str) -> Traces:
    about = {"type": "bar", "orientation": "h", "marker": {"color": colour}}
    return [{**about, "x": _round(marks.x), "y": marks.labels}]


def _shade(rank: float) -> str:
    """Return a colour between a light grey, for the worst, and the first of the palette."""
    low, high = (176, 176, 176), (0, 114, 178)
    return "#" + "".join(f"{round(a + (b - a) * rank):02x}" for a, b in zip(low, high, strict=True))


# -- layout -------------------------------------------------------------------------------------------------


def _layout(drawing: Drawing) -> dict[str, Any]:
    marks = drawing.panels[0].marks
    if drawing.axes:
        return _of_parallel_axes(drawing.axes)
    if isinstance(marks[0], Means):
        return _side_by_side(drawing.panels, drawing.y)
    layout: dict[str, Any] = {"xaxis": {"title": {"text": drawing.panels[0].x}}}
    if drawing.rows:
        layout |= {"yaxis": {"autorange": "reversed", "automargin": True}, "height": 130 + 30 * len(drawing.rows)}
        if isinstance(marks[0], Points):
            layout["xaxis"] |= {"zeroline": True, "zerolinewidth": 2}
        return layout
    layout["yaxis"] = {"title": {"text": drawing.y}}
    curves = [one for one in marks if isinstance(one, Band)]
    if curves:
        layout["xaxis"] |= {"tickformat": "d"} | ({"dtick": 1} if max(max(one.x) for one in curves) <= _EPOCHS else {})
        below = {"orientation": "v", "x": 0, "y": -0.25, "yanchor": "top"}
        layout |= {"height": 360 + 20 * len(curves), "legend": below}
    return layout


def _side_by_side(panels: Sequence[Panel], title: str) -> dict[str, Any]:
    """Plots that share their y axis."""
    layout: dict[str, Any] = {"yaxis": {"title": {"text": title}}}
    width = 1 / len(panels)
    for i, panel in enumerate(panels):
        labels = {label for marks in panel.marks if isinstance(marks, Means) for label in marks.labels}
        layout[f"xaxis{i + 1 if i else ''}"] = {
            "title": {"text": panel.x},
            "domain": [i * width, (i + _WIDE) * width],
            "type": "category",
            "range": [-0.6, len(labels) - 0.4],
            "anchor": "y",
            "automargin": True,
        }
    return layout


def _of_parallel_axes(axes: Sequence[Parallel]) -> dict[str, Any]:
    notes = [
        {"x": i, "y": position, "text": text, "showarrow": False, "xanchor": "left", "font": {"size": 10}}
        for i, axis in enumerate(axes)
        for position, text in axis.ticks
    ]
    line = {"type": "line", "y0": 0, "y1": 1, "line": {"color": "#888888"}}
    places = list(range(len(axes)))
    return {
        "annotations": notes,
        "shapes": [{**line, "x0": i, "x1": i} for i in places],
        "hovermode": "closest",
        "xaxis": {"tickvals": places, "ticktext": [axis.name for axis in axes], "showgrid": False},
        "yaxis": {"visible": False, "range": [-0.05, 1.05]},
    }
