"""The report's words, tables and files, from studies whose answers are known."""

import csv
import json
import math
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser

import finished_studies
import numpy as np
import pandas as pd
import pytest
from finished_studies import finished_study, grid

from biformer_lit.cli import main
from biformer_lit.errors import ConfigError
from biformer_lit.sweep.report.answer import answer
from biformer_lit.sweep.report.bundle import unpacked
from biformer_lit.sweep.report.content import read_content
from biformer_lit.sweep.report.series import COSTS, learning_curves, pareto
from biformer_lit.sweep.report.text import latex_table
from biformer_lit.sweep.report.unit import Unit, unit_of
from biformer_lit.sweep.results.trial_table import read_results
from biformer_lit.sweep.spec.quantities import count

TOPK = {"topk": {"one": {"model.backbone.topk": 1}, "four": {"model.backbone.topk": 4}}}


def constant(**means):
    """Accuracies by label, with noise that the cells of a seed share, and less that they do not; its mean is zero."""

    def value(cell, seed, epochs):
        mean = means[cell.factors["topk"]]
        own = 0.001 * (1, -1, 0, 2, -2)[seed] * (cell.factors["topk"] == "four")
        return [mean + 0.01 * seed + own] * epochs

    return value


def study(tmp_path, seeds=(0, 1, 2, 3, 4), baseline="one", **changes):
    value = constant(**changes.pop("means", {"one": 0.70, "four": 0.72}))
    contents = {"factors": TOPK, "baseline": {"topk": baseline} if baseline else None, "seeds": list(seeds)}
    return finished_study(tmp_path / changes.pop("name", "study"), value=value, **{**contents, **changes})


def report(folder, *options):
    main(["sweep", "report", str(folder), *map(str, options)])
    return folder / "report"


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A study with nothing missing, and its report."""
    folder = study(tmp_path_factory.mktemp("reported"), epochs=4)
    report(folder)
    return folder


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """A study of which two trials failed, with a question that would be code on a careless page; and its report."""
    question = "<script>alert(1)</script> </script> & {{ 7*7 }}"
    folder = study(tmp_path_factory.mktemp("troubled"), failed=[("topk=four", 1), ("topk=four", 3)], question=question)
    with pytest.raises(SystemExit) as end:
        main(["sweep", "export", str(folder)])
    assert end.value.code == 1
    report(folder)
    return folder


def said(folder):
    main(["sweep", "export", str(folder)])
    return answer(read_content(folder))


def test_the_files(reported):
    out = reported / "report"
    names = {path.name for path in out.iterdir()}
    assert names == {"report.html", "report.md", "table.tex", "table.csv", "figures"}
    figures = {path.name for path in (out / "figures").iterdir()}
    assert figures == {
        f"{name}.{kind}"
        for name in ("differences", "objective_macs", "objective_throughput", "learning_curves", "main_effects")
        for kind in ("png", "svg")
    }
    text = (out / "report.md").read_text()
    assert "**topk=four beats the baseline topk=one by +2.00 points" in text
    for name in ("differences", "main_effects"):
        assert f"(figures/{name}.png)" in text
    assert "python -m biformer_lit sweep run study.yaml" in text
    assert "c0ffee" in text


def test_a_difference_comes_with_its_interval_and_seeds(tmp_path):
    sentence = said(study(tmp_path)).sentence
    found = re.search(
        r"topk=four beats the baseline topk=one by \+2\.00 points \(95 % interval \[(.*), (.*)\], 5 paired", sentence
    )
    assert found, sentence
    low, high = (float(text) for text in found.groups())
    assert 1.5 < low < 2 < high < 2.5


def test_one_seed_makes_no_claim(tmp_path):
    sentence = said(study(tmp_path, seeds=[0])).sentence
    assert sentence.startswith("With one seed no claim can be made")
    assert "+2.10 points" in sentence


def test_equal_cells_are_not_told_apart(tmp_path):
    sentence = said(study(tmp_path, means={"one": 0.7, "four": 0.7001})).sentence
    assert sentence.startswith("No cell can be told from the baseline topk=one")


def test_worse_cells(tmp_path):
    sentence = said(study(tmp_path, baseline="four")).sentence
    assert sentence.startswith(
        "No cell beats the baseline topk=four; 1 of 1 does worse, topk=one most, by \N{MINUS SIGN}2.00"
    )


def test_no_baseline(tmp_path):
    sentence = said(study(tmp_path, baseline=None)).sentence
    assert "no baseline" in sentence
    assert "topk=four with 7" in sentence


def test_what_is_missing_is_shown(troubled):
    out = troubled / "report"
    for name in ("report.html", "report.md"):
        text = (out / name).read_text()
        assert "topk=four seed 1: failed: nan" in text
        assert "2 of 10 trials are not complete" in text
    assert "3/5" in (out / "report.md").read_text()


def test_nothing_complete(tmp_path):
    folder = study(tmp_path, failed=[(f"topk={label}", seed) for label in TOPK["topk"] for seed in range(5)])
    out = report(folder)
    assert "No trial is complete, so nothing can be said yet." in (out / "report.md").read_text()


def test_the_correction_for_many_cells_is_named(tmp_path):
    """Of several cells the best may look better alone, and not after the correction."""
    labels = {f"k{i}": {"model.backbone.topk": i} for i in range(12)}

    def value(cell, seed, epochs):
        gains = {"k0": (0, 0, 0), "k3": (0.02, 0.03, 0.025)}.get(cell.factors["topk"], (0.01, -0.01, 0.0))
        return [0.7 + gains[seed]] * epochs

    folder = finished_study(
        tmp_path / "many", factors={"topk": labels}, baseline={"topk": "k0"}, seeds=[0, 1, 2], value=value
    )
    found = said(folder)
    table = read_content(folder).table
    alone = table[table["p"] < 0.05]
    assert len(alone) == 1  # its interval leaves out 0
    assert alone["p_holm"].iloc[0] > 0.05
    assert set(table["claim"]) == {"baseline", "undecided"}
    assert found.sentence.startswith(
        "No cell can be told from the baseline topk=k0 after correction for 11 comparisons"
    )
    out = report(folder)
    for name in ("table.csv", "table.tex", "report.md"):
        assert "better" not in (out / name).read_text()
        assert "undecided" in (out / name).read_text()


@pytest.mark.parametrize(
    ("gain", "start"), [(0.05, "Factors interact: the clearest is a=a"), (0.0, "No interaction is told from zero;")]
)
def test_a_question_about_an_interaction(tmp_path, gain, start):
    """It is answered from the interaction, whatever single cells do against the baseline."""

    def value(cell, seed, epochs):
        noise = np.random.default_rng([seed, *cell.name.encode()]).normal(0, 0.002)
        both = cell.factors == {"a": "a1", "b": "b1"}
        return [0.7 + noise + 0.05 * (cell.factors["a"] == "a1") + gain * both] * epochs

    factors = {name: {f"{name}{i}": {f"model.backbone.{name}": i} for i in range(2)} for name in "ab"}
    baseline = {"a": "a0", "b": "b0"}
    folder = finished_study(
        tmp_path / "s", factors=factors, baseline=baseline, seeds=[0, 1, 2], value=value,
        question="Do a and b depend on each other?",
    )  # fmt: skip
    found = said(folder)
    assert found.sentence.startswith(start)
    assert found.notes[0].startswith("Main effects: the clearest is a=a")
    assert found.notes[1].startswith("a=a1,b=b")


class Tables(HTMLParser):
    """Cells of the page's tables: table's id to rows of (text, data-value)."""

    def __init__(self):
        super().__init__()
        self.tables, self.table, self.cell, self.links = {}, None, None, []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs[name] for name in ("src", "href") if name in attrs]
        if tag == "table":
            self.table = self.tables.setdefault(attrs["id"], [])
        elif tag == "tr":
            self.table.append([])
        elif tag == "td":
            self.cell = ["", attrs.get("data-value")]
            self.table[-1].append(self.cell)

    def handle_data(self, data):
        if self.cell is not None:
            self.cell[0] += data

    def handle_endtag(self, tag):
        if tag == "td":
            self.cell = None


def read_page(out):
    page = Tables()
    page.feed((out / "report.html").read_text())
    return page


def test_the_page_has_the_numbers_of_the_results(troubled):
    page = read_page(troubled / "report")
    frame = read_results(troubled)
    trials = [row for row in page.tables["trials"] if row]
    assert len(trials) == len(frame) == 10
    for row, (_, trial) in zip(trials, frame.iterrows(), strict=True):
        assert row[0][0] == trial["cell"]
        assert int(row[1][1]) == trial["seed"]
        shown = float(row[3][1]) if row[3][1] else math.nan
        assert shown == pytest.approx(trial["objective"], rel=0, abs=0, nan_ok=True)
    means = frame[frame["status"] == "complete"].groupby("cell")["objective"].mean()
    for row in (row for row in page.tables["cells"] if row):
        assert float(row[1][1]) == pytest.approx(means[row[0][0]], rel=1e-12)


def test_the_page_needs_nothing_else(reported):
    page = read_page(reported / "report")
    assert all(link.startswith("data:") for link in page.links)


def test_strangers_texts_stay_text(troubled):
    """A question from somebody's study file is no part of the page's code."""
    text = (troubled / "report/report.html").read_text()
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7*7 }}" in text


def test_latex_is_escaped_and_uses_booktabs(reported):
    text = latex_table(read_content(reported))
    assert r"\toprule" in text
    assert r"\bottomrule" in text
    assert r"val/acc1 (\%)" in text
    assert r"$\pm$" in text
    assert not re.search(r"(?<!\\)%(?! \\usepackage)", text)


def test_the_csv_is_the_table(reported):
    with (reported / "report/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["cell"] for row in rows] == ["topk=one", "topk=four"]
    assert rows[0]["n"] == "5/5"


def test_a_report_is_the_same_twice(reported, tmp_path):
    report(reported, "--out", tmp_path / "again")
    for path in (reported / "report").rglob("*"):
        if path.is_file():
            other = tmp_path / "again" / path.relative_to(reported / "report")
            assert path.read_bytes() == other.read_bytes(), path.name


def test_the_pareto_front():
    rows = pd.DataFrame({"macs": [1, 2, 3, 4], "images_per_second": [40.0, 30, 20, 10], "mean": [0.5, 0.7, 0.6, 0.8]})
    (macs, _), (speed, _) = COSTS
    assert pareto(rows, macs, "max") == [0, 1, 3]
    assert pareto(rows, speed, "max") == [3, 1, 0]
    assert pareto(rows, macs, "min") == [0]


def test_curves_have_a_band_over_seeds(reported):
    curves = learning_curves(read_content(reported))
    assert [curve.cell for curve in curves] == ["topk=one", "topk=four"]
    for curve in curves:
        assert curve.epochs == [1, 2, 3, 4]
        assert curve.seeds == 5
        assert all(sd > 0 for sd in curve.sd)


def test_units():
    assert unit_of("val/acc1", [0.1, 0.9]).symbol == " %"
    assert unit_of("val/acc1", [0.1, 90.0]).symbol == ""
    assert unit_of("val/loss", [0.1]).symbol == ""
    unit = Unit("val/acc1", 100, 2, " %", " points")
    assert unit.number(0.4860) == "48.60"
    assert unit.signed(-0.00001) == "0.00"
    assert unit.signed(-0.0123) == "\N{MINUS SIGN}1.23"
    assert unit.number(math.nan) == unit.signed(math.nan) == unit.interval(math.nan, 1) == ""
    assert count(1_459_338) == "1.46 M"
    assert count(math.nan) == ""


def test_a_bundle_is_enough(tmp_path, capsys):
    folder = study(tmp_path)
    (folder / "cells/topk=one-x").mkdir()
    checkpoint = next(folder.glob("cells/*/seed-0")) / "checkpoints/last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"weights")
    bundle = tmp_path / "study.zip"
    main(["sweep", "export", str(folder), "--bundle", str(bundle)])  # with the report, made anew
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = bundle.rename(elsewhere / "study.zip")
    folder.rename(tmp_path / "gone")
    names = zipfile.ZipFile(moved).namelist()
    assert "study/study.yaml" in names
    assert "study/report/report.html" in names
    assert not any("checkpoints" in name for name in names)
    assert sum(name.endswith("config.yaml") for name in names) == 10
    capsys.readouterr()
    main(["sweep", "report", str(moved)])
    assert "topk=four beats" in capsys.readouterr().out
    own = (elsewhere / "study-report/report.md").read_text()
    assert own == (tmp_path / "gone/report/report.md").read_text()
    main(["sweep", "export", str(tmp_path / "gone"), "--bundle", str(tmp_path / "all.zip"), "--checkpoints"])
    assert any("checkpoints/last.ckpt" in name for name in zipfile.ZipFile(tmp_path / "all.zip").namelist())


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:/evil", "..\\evil"])
def test_a_bundle_writes_nowhere_else(tmp_path, name):
    bundle = tmp_path / "bad.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("study/study.yaml", "name: study")
        archive.writestr(zipfile.ZipInfo(name), "x")
    with pytest.raises(ConfigError, match=r"outside of the folder"), unpacked(bundle):
        pass


def test_a_bundle_holds_no_links(tmp_path):
    bundle = tmp_path / "link.zip"
    link = zipfile.ZipInfo("study/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ConfigError, match=r"outside of the folder"), unpacked(bundle):
        pass


def test_a_bundle_that_would_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("biformer_lit.sweep.report.bundle._MOST_BYTES", 1000)
    bundle = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("study/study.yaml", b"0" * 10_000)
    with pytest.raises(ConfigError, match=r"too many"), unpacked(bundle):
        pass


def test_comparing_studies(tmp_path, capsys):
    one = study(tmp_path, name="one")
    other = study(tmp_path, name="other", means={"one": 0.60, "four": 0.66})
    main(["sweep", "compare", str(one), str(other), "--out", str(tmp_path / "out")])
    text = capsys.readouterr().out
    assert "one: val/acc1 (%)" in text
    row = next(line for line in text.splitlines() if line.startswith("| topk=four | other |"))
    assert "\N{MINUS SIGN}6.00" in row
    assert row.rstrip().endswith("| 5 |")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "comparison.md", "comparison.csv", "differences.png", "differences.svg",
    }  # fmt: skip
    frame = pd.read_csv(tmp_path / "out/comparison.csv")
    assert list(frame["study"]) == ["one", "one", "other", "other"]


def test_comparing_what_has_nothing_in_common(tmp_path):
    one = study(tmp_path, name="one")
    other = finished_study(tmp_path / "other", factors=grid(4))
    with pytest.raises(ConfigError, match="no cell is in all of one, other"):
        main(["sweep", "compare", str(one), str(other), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_large_study_fits_in_a_page(tmp_path):
    """500 trials of 100 epochs; the library that draws is most of it."""
    folder = finished_study(
        tmp_path / "large", factors=grid(100), baseline={"a": "a0", "b": "b0"}, seeds=list(range(5)), epochs=100
    )
    out = report(folder)
    assert (out / "report.html").stat().st_size < 8e6
    assert len([row for row in read_page(out).tables["trials"] if row]) == 500


@pytest.mark.slow
def test_the_builder_is_a_program(tmp_path):
    code = [sys.executable, str(finished_studies.__file__), str(tmp_path / "s")]
    subprocess.run([*code, "4", "1", "2"], check=True)
    assert len(list((tmp_path / "s/cells").glob("*/seed-0"))) == 4
    result = json.loads(next((tmp_path / "s/cells").glob("*/seed-0/result.json")).read_text())
    assert result["epochs"] == 2
