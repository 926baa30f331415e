"""One description of each chart, drawn twice: the page and the picture show the same numbers."""

import math

import numpy as np
import pytest
from finished_studies import finished_study

from biformer_lit.sweep.report.charts import COLOURS, chart
from biformer_lit.sweep.report.content import read_content
from biformer_lit.sweep.report.drawings import Band, Drawing, Means, Panel, Points, drawings
from biformer_lit.sweep.report.figures import picture
from biformer_lit.sweep.report.series import learning_curves
from biformer_lit.sweep.results.export import export_study


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Drawings of a factorial study by their names."""
    factors = {name: {f"{name}{i}": {f"model.backbone.{name}": i} for i in range(3)} for name in "ab"}
    folder = finished_study(
        tmp_path_factory.mktemp("drawn") / "s", factors=factors, baseline={"a": "a0", "b": "b0"}, seeds=[0, 1, 2]
    )
    export_study(str(folder))
    content = read_content(folder)
    return {one.name: one for one in drawings(content, learning_curves(content))}


def test_what_a_factorial_study_has(drawn):
    names = ["differences", "objective_macs", "objective_throughput", "learning_curves", "main_effects", "interactions"]
    assert list(drawn) == names


@pytest.mark.parametrize("name", ["differences", "objective_macs", "learning_curves", "main_effects", "interactions"])
def test_both_forms_show_the_same_numbers(drawn, name):
    page = [[np.nan if x is None else x for x in trace["y"]] for trace in chart(drawn[name])["data"]]
    if name == "differences":
        page = [chart(drawn[name])["data"][0]["x"]]
    figure = picture(drawn[name])
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    shown = [line.get_xdata() if name == "differences" else line.get_ydata() for line in lines]
    for values in page[2::3] if name == "learning_curves" else page:  # the others are the edges of bands
        same = [len(one) == len(values) and np.allclose(one, values, rtol=1e-5) for one in shown]
        assert any(same), values


def test_titles_and_legends(drawn):
    figure = picture(drawn["interactions"])
    assert figure.get_supylabel() == "val/acc1 (%)"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["b=b0", "b=b1", "b=b2"]
    assert [axes.get_xlabel() for axes in picture(drawn["main_effects"]).axes] == ["a", "b"]
    assert picture(drawn["differences"]).axes[0].get_xlabel() == "difference in val/acc1 to a=a0,b=b0 (points)"
    assert chart(drawn["differences"])["layout"]["xaxis"]["title"]["text"] == "difference in val/acc1 (points)"


def test_more_labels_than_colours():
    marks = [Means(["one", "two"], [float(i), 1.0], [0.1, 0.1], [0.1, 0.1], f"b={i}") for i in range(11)]
    drawing = Drawing("interactions", "", "", "", [Panel("a by b", "a", marks)], "val/acc1")
    traces = chart(drawing)["data"]
    assert [trace["line"]["color"] for trace in traces] == [COLOURS[i % len(COLOURS)] for i in range(11)]
    assert len(picture(drawing).axes[0].get_legend().get_texts()) == 11


def test_what_is_not_known_has_no_bar():
    """One seed has no deviation: neither form draws a bar, nor a band, of no length as if it were known."""
    points = Points([1.0, 2.0], [0.5, 0.6], ["one", "two"], [math.nan, 0.1], [math.nan, 0.1], "cells")
    drawing = Drawing("objective_macs", "", "", "", [Panel("MACs", "MACs", [points])], "val/acc1")
    assert chart(drawing)["data"][0]["error_y"]["array"] == [None, 0.1]
    (bars,) = (one for one in picture(drawing).axes[0].collections)
    assert [bool(np.isfinite(path.vertices).all()) for path in bars.get_paths()] == [False, True]
    band = Band([1, 2], [0.5, 0.6], [math.nan, math.nan], "one", "one (n=1)")
    low, high, middle = chart(Drawing("c", "", "", "", [Panel("epoch", "epoch", [band])], "val/acc1"))["data"]
    assert low["y"] == high["y"] == middle["y"] == [0.5, 0.6]
