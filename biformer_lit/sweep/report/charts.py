"""The figures as data for plotly in the page; what is drawn is that of the pictures."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import pandas as pd

from biformer_lit.sweep.report.content import Content
from biformer_lit.sweep.report.load import uneven_load
from biformer_lit.sweep.report.series import (
    COSTS,
    ROWS,
    Curve,
    compared,
    interactions,
    main_effects,
    parallel_axes,
    pareto,
    scale_of,
)
from biformer_lit.sweep.spec.quantities import Axis, Quantity
from biformer_lit.text.escaping import for_plotly

Chart: TypeAlias = dict[str, Any]
"""``id``, ``title``, ``text`` (what a reader who does not see it needs), ``data`` and ``layout``."""

# readable on white and on black, and told apart without colour vision (after Okabe and Ito)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#888888")
_DIGITS = 6  # significant digits: what a screen cannot show need not be sent


def charts(content: Content, curves: Sequence[Curve]) -> list[Chart]:
    """Every chart that a study with these learning curves has."""
    found = [
        _differences(content),
        *(_against_cost(content, cost, axis) for cost, axis in COSTS),
        _curves(content, curves),
    ]
    found += [_main_effects(content), _interactions(content), _parallel(content), _importances(content)]
    return [chart for chart in found if chart is not None]


def _chart(name: str, title: str, text: str, data: list[Any], **layout: Any) -> Chart:
    return {"id": name, "title": title, "text": text, "data": _plain(data), "layout": _plain(layout)}


def _plain(part: Any, key: str = "") -> Any:
    """The same part of a figure with all its texts as plain ones; the templates are ours and hold no other text."""
    if isinstance(part, str):
        return part if key == "hovertemplate" else for_plotly(part)
    if isinstance(part, dict):
        return {name: _plain(value, name) for name, value in part.items()}
    return [_plain(value, key) for value in part] if isinstance(part, list | tuple) else part


def _round(values: Any) -> list[float | None]:
    return [None if value is None or math.isnan(value) else float(f"{value:.{_DIGITS}g}") for value in values]


def _error(sizes: Any) -> dict[str, Any]:
    return {"type": "data", "array": _round(sizes), "thickness": 1.2, "width": 4}


def _differences(content: Content) -> Chart | None:
    rows = compared(content)
    baseline = content.baseline
    if rows.empty or baseline is None:
        return None
    scale = content.unit.scale
    middle = scale * rows["difference"]
    error = _error(scale * rows["high"] - middle) | {
        "arrayminus": _round(middle - scale * rows["low"]),
        "symmetric": False,
    }
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": _round(middle),
        "y": list(rows["cell"]),
        "error_x": error,
        "customdata": list(rows["cell"]),
        "marker": {"color": COLOURS[0], "size": 9},
        "hovertemplate": "%{y}: %{x:+.4g}<extra></extra>",
    }
    text = f"Difference of each cell to {baseline['cell']} with its t interval; the table has the numbers."
    if content.table["pairs"].gt(0).sum() > ROWS:
        text += f" Shown are the {ROWS} cells with the best means."
    return _chart(
        "differences", "Difference to the baseline", text, [trace], height=130 + 30 * len(rows),
        xaxis={"title": {"text": content.unit.difference_title}, "zeroline": True, "zerolinewidth": 2},
        yaxis={"autorange": "reversed", "automargin": True},
    )  # fmt: skip


def _against_cost(content: Content, cost: Quantity, axis: Axis) -> Chart | None:
    rows = content.table.dropna(subset=[cost.name, "mean"])
    if rows.empty:
        return None
    scale = content.unit.scale
    front = rows.loc[pareto(rows, cost, content.spec.objective.mode)]
    by, named = scale_of(axis, rows[cost.name])
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": _round(by * front[cost.name].astype(float)),
        "y": _round(scale * front["mean"]),
        "line": {"color": "#999999", "dash": "dot"},
        "hoverinfo": "skip",
        "name": "Pareto front",
    }
    traces = [line]
    for name, part, colour, symbol in (
        ("cells", rows[~rows["baseline"].fillna(False)], COLOURS[0], "circle"),
        ("baseline", rows[rows["baseline"].fillna(False)], COLOURS[1], "star"),
    ):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": _round(by * part[cost.name].astype(float)),
                "y": _round(scale * part["mean"]),
                "error_y": _error(scale * part["sd"]),
                "customdata": list(part["cell"]),
                "marker": {"color": colour, "symbol": symbol, "size": 13 if symbol == "star" else 9},
                "hovertemplate": "%{customdata}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
                "name": name,
            }
        )
    names = ", ".join(front["cell"].head(ROWS))
    text = f"Cells that none beats without costing more (Pareto front): {names}. Bars: standard deviation over seeds."
    if cost.by_load and (load := uneven_load(content)):
        text = f"{load} {text}"
    title = f"{content.unit.metric} against {axis.title}"
    return _chart(
        axis.figure, title, text, traces,
        xaxis={"title": {"text": named}}, yaxis={"title": {"text": content.unit.title}},
    )  # fmt: skip


def _curves(content: Content, curves: Sequence[Curve]) -> Chart | None:
    if not any(len(curve.epochs) > 1 for curve in curves):
        return None
    data = [trace for colour, curve in zip(COLOURS, curves, strict=False) for trace in _curve(content, curve, colour)]
    text = "The baseline and the best cells; bands are one standard deviation over seeds to either side."
    return _chart(
        "learning_curves", "Learning curves", text, data,
        height=360 + 20 * len(curves), legend={"orientation": "v", "x": 0, "y": -0.25, "yanchor": "top"},
        xaxis={"title": {"text": "epoch"}, "tickformat": "d", **_whole_epochs(curves)},
        yaxis={"title": {"text": content.unit.title}},
    )  # fmt: skip


def _whole_epochs(curves: Sequence[Curve]) -> dict[str, Any]:
    """A mark at every epoch where there are few, which plotly would divide further."""
    last = max(epoch for curve in curves for epoch in curve.epochs)
    return {"dtick": 1} if last <= 10 else {}


def _curve(content: Content, curve: Curve, colour: str) -> list[dict[str, Any]]:
    scale = content.unit.scale
    low, high = (
        [m if math.isnan(s) else m + sign * s for m, s in zip(curve.mean, curve.sd, strict=True)] for sign in (-1, 1)
    )
    common: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": curve.epochs, "meta": curve.cell}
    edge = {**common, "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "legendgroup": curve.cell}
    return [
        {**edge, "y": _round(scale * value for value in low)},
        {**edge, "y": _round(scale * value for value in high), "fill": "tonexty", "fillcolor": f"{colour}33"},
        {
            **common,
            "y": _round(scale * value for value in curve.mean),
            "line": {"color": colour},
            "name": f"{curve.cell} (n={curve.seeds})",
            "legendgroup": curve.cell,
        },
    ]


def _means(rows: pd.DataFrame, labels: list[str], scale: float, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": labels,
        "y": _round(scale * rows["mean"]),
        "error_y": _error(scale * (rows["mean_high"] - rows["mean"])),
        "line": {"color": colour},
    }


def _panels(names: list[str], labels: list[int], title: str) -> dict[str, Any]:
    """Layout of plots side by side that share their y axis."""
    layout: dict[str, Any] = {"yaxis": {"title": {"text": title}}}
    width = 1 / len(names)
    for i, name in enumerate(names):
        axis = f"xaxis{i + 1 if i else ''}"
        layout[axis] = {
            "title": {"text": name},
            "domain": [i * width, (i + 0.88) * width],
            "type": "category",
            "range": [-0.6, labels[i] - 0.4],
            "anchor": "y",
            "automargin": True,
        }
    return layout


def _main_effects(content: Content) -> Chart | None:
    found = main_effects(content)
    if not found:
        return None
    data = []
    for i, rows in enumerate(found.values()):
        trace = _means(rows, list(rows["labels"]), content.unit.scale, COLOURS[0])
        data.append({**trace, "xaxis": f"x{i + 1 if i else ''}", "showlegend": False})
    text = "Mean of each label over all labels of the other factors, with its interval."
    return _chart(
        "main_effects",
        "Main effects",
        text,
        data,
        **_panels(list(found), [len(rows) for rows in found.values()], content.unit.title),
    )


def _interactions(content: Content) -> Chart | None:
    found = interactions(content)
    if not found:
        return None
    data = []
    for i, ((_, second), rows) in enumerate(found.items()):
        for colour, (label, part) in zip(COLOURS, rows.groupby("second", sort=False), strict=False):
            trace = _means(part, list(part["first"]), content.unit.scale, colour)
            data.append({**trace, "xaxis": f"x{i + 1 if i else ''}", "name": f"{second}={label}"})
    names = [f"{first} by {second}" for first, second in found]
    labels = [rows["first"].nunique() for rows in found.values()]
    text = "Mean of each pair of labels: lines that are not parallel show an interaction."
    return _chart("interactions", "Two-way interactions", text, data, **_panels(names, labels, content.unit.title))


def _parallel(content: Content) -> Chart | None:
    if content.spec.plan != "search":
        return None
    rows, axes = parallel_axes(content)
    if rows.empty:
        return None
    ranks = (rows["mean"] * (1 if content.spec.objective.mode == "max" else -1)).rank(pct=True)
    data = []
    for order, (cell, rank) in enumerate(zip(rows["cell"], ranks, strict=True)):
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": list(range(len(axes))),
                "y": _round(axis.positions[order] for axis in axes),
                "line": {"color": _shade(rank), "width": 1 + 2 * rank**4},
                "meta": cell,
                "name": cell,
                "showlegend": False,
                "hovertemplate": "%{meta}<extra></extra>",
            }
        )
    notes = [
        {"x": i, "y": position, "text": text, "showarrow": False, "xanchor": "left", "font": {"size": 10}}
        for i, axis in enumerate(axes)
        for position, text in axis.ticks
    ]
    bars = [
        {"type": "line", "x0": i, "x1": i, "y0": 0, "y1": 1, "line": {"color": "#888888"}} for i in range(len(axes))
    ]
    text = "A line for each cell of the search, through its parameters to its result; better ones are darker blue."
    return _chart(
        "parallel_coordinates", "All cells of the search", text, data,
        annotations=notes, shapes=bars, hovermode="closest",
        xaxis={"tickvals": list(range(len(axes))), "ticktext": [axis.name for axis in axes], "showgrid": False},
        yaxis={"visible": False, "range": [-0.05, 1.05]},
    )  # fmt: skip


def _shade(rank: float) -> str:
    """From a light grey, for the worst, to the first colour."""
    low, high = (176, 176, 176), (0, 114, 178)
    return "#" + "".join(f"{round(a + (b - a) * rank):02x}" for a, b in zip(low, high, strict=True))


def _importances(content: Content) -> Chart | None:
    found = content.importances
    if found is None or found.empty:
        return None
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": _round(found["importance"]),
        "y": list(found["parameter"]),
        "marker": {"color": COLOURS[0]},
    }
    text = f"Share of the variance that each parameter explains, by fANOVA over {found['trials'].iloc[0]} trials."
    return _chart(
        "importances", "Importance of the parameters", text, [bars],
        xaxis={"title": {"text": "share of the variance"}}, yaxis={"autorange": "reversed", "automargin": True},
        height=130 + 30 * len(found),
    )  # fmt: skip
