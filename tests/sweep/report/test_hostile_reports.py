"""Reports of files from strangers, and beside files of the user's own: shown as text, refused, or left alone."""

import json
import re
import shutil
import zipfile

import pandas as pd
import pytest
from finished_studies import finished_study

from biformer_lit.cli import main
from biformer_lit.errors import ConfigError
from biformer_lit.running.history import read_epochs
from biformer_lit.sweep.report.bundle import unpacked
from biformer_lit.sweep.report.comparison import read_comparison, write_comparison
from biformer_lit.sweep.report.content import read_content
from biformer_lit.sweep.report.place import check_place
from biformer_lit.sweep.report.write import write_report
from biformer_lit.sweep.spec.study_reader import read_spec

BAD = "<a href='http://example.com'>x</a><img src=x onerror=alert(1)><script>1</script>[y](javascript:z)$x^{"
FACTORS = {"x": {"one": {"model.backbone.topk": 1}, "two": {"model.backbone.topk": 2}}}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = finished_study(
        tmp_path_factory.mktemp("exported") / "study", factors=FACTORS, baseline={"x": "one"}, seeds=[0, 1]
    )
    main(["sweep", "export", str(folder)])
    (folder / "results.parquet").unlink()
    return folder


@pytest.fixture
def study(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "study")


def change(folder, column, value, row=0):
    frame = pd.read_csv(folder / "results.csv", dtype=str, keep_default_na=False)
    frame.loc[row, column] = value
    frame.to_csv(folder / "results.csv", index=False)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("parameters", "-5"),
        ("parameters", "1" + "0" * 400),
        ("macs", "-1"),
        ("best_epoch", "-4"),
        ("wall_seconds", "-3"),
        ("wall_seconds", "1e400"),
        ("images_per_second", "-1"),
        ("cell", "n" * 300),
        ("status", "\x1b[31m"),
    ],
)
def test_figures_that_no_trial_has(study, column, value):
    change(study, column, value)
    with pytest.raises(ConfigError, match=r"results.csv: does not hold the results of a study") as refused:
        read_content(study)
    assert str(refused.value).isprintable()


def test_an_objective_beyond_what_can_be_compared_has_failed(study):
    change(study, "objective", "1e308")
    content = read_content(study)
    assert list(content.table["complete"]) == [1, 2]


@pytest.mark.parametrize("text", ["parameter,importance,trials\nx,abc,1\n", "nothing\n1\n", "parameter\n"])
def test_importances_that_are_none(study, text):
    (study / "importances.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"importances.csv: does not hold importances"):
        read_content(study)


def test_lines_of_a_run_are_bounded(tmp_path):
    path = tmp_path / "progress.jsonl"
    good = '{"epoch": 2, "metrics": {"val/acc1": 0.5}}'
    deep = '{"epoch": 1, "metrics": ' + "[" * 100_000 + "]" * 100_000 + "}"
    long = '{"epoch": 1, "metrics": {}, "x": "' + "y" * 2**21 + '"}'
    path.write_text(f'{long}\n{good}\n{deep}\n{{"epoch": 1e3, "metrics": {{}}}}\n{long}')
    assert read_epochs(path) == [json.loads(good)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("study/cells/a/progress.jsonl", b"0" * (65 * 2**20), "at most 67,108,864 are read"),
        ("study/events.out.tfevents.1", b"0" * (5 * 2**20), "as no study's files are"),
    ],
)
def test_what_is_packed_too_tightly_is_not_unpacked(tmp_path, name, content, message):
    bundle = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("study/study.yaml", "name: study")
        archive.writestr(name, content)
    with pytest.raises(ConfigError, match=message), unpacked(bundle):
        pass


def test_a_comparison_holds_no_markup_of_others(tmp_path, exported):
    folders = [shutil.copytree(exported, tmp_path / name) for name in ("a", "b")]
    for number, folder in enumerate(folders):
        text = (folder / "study.yaml").read_text()
        (folder / "study.yaml").write_text(text.replace("Which one?", json.dumps(BAD)))
        for row in range(4):
            change(folder, "host", f"{number}{BAD}", row)
    text = write_comparison(read_comparison(folders), tmp_path / "out")
    written = (tmp_path / "out" / "comparison.md").read_text().partition("\n")[2]
    assert text.strip() == written.strip()
    assert "<" not in text.replace("<!-- -->", "")
    links = re.findall(r"(?<!\\)\]\(\S*", text)
    assert links == ["](differences.png)"]


def test_charts_hold_no_markup_of_others(study):
    for row in (0, 1):
        change(study, "cell", f"x=one{BAD}", row)
    rows = pd.read_csv(study / "results.csv", dtype=str)
    named = rows.loc[rows["factor:x"] == "one"].index
    for row in named:
        change(study, "cell", f"x=one{BAD}", row)
    for row in set(rows.index) - set(named):
        change(study, "cell", f"x=two{BAD}", row)
    write_report(study, study / "report", lambda line: None)
    page = (study / "report" / "report.html").read_text()
    charts = json.loads(page.partition('id="charts" type="application/json">')[2].partition("</script>")[0])

    def texts(part):
        if isinstance(part, str):
            yield part
        for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from texts(value)

    held = [text for chart in charts for text in texts([chart["data"], chart["layout"]])]
    assert any("&lt;a href" in text for text in held)
    assert {text for text in held if "<" in text} <= {
        "%{y}: %{x:+.4g}<extra></extra>",
        "%{customdata}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
    }
    assert "form-action 'none'; base-uri 'none'" in page


def test_a_question_without_control_characters(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text('name: a\nquestion: "a \\x1b[31m b"\nbase: digits\nplan: factorial\nfactors: {}\n')
    with pytest.raises(ConfigError, match=r"question: 'a \\\\x1b\[31m b' holds control characters"):
        read_spec(path)


# -- never over the user's own files -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report.html", "table.csv", "figures"])
def test_a_report_replaces_no_files_of_others(study, tmp_path, name):
    out = tmp_path / "mine"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(ConfigError, match=rf"out={out}: {name} exists already; choose another folder"):
        main(["sweep", "report", str(study), "--out", str(out)])
    assert (out / name).read_text() == "mine"
    assert len(list(out.iterdir())) == 1


def test_a_report_replaces_the_one_before(study, tmp_path):
    write_report(study, tmp_path / "out", lambda line: None)
    check_place("out", tmp_path / "out", "report.html", ("table.csv", "figures"))
    (tmp_path / "out" / "report.html").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        check_place("out", tmp_path / "out", "report.html", ("table.csv", "figures"))


def test_a_comparison_replaces_no_files_of_others(exported, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "comparison.csv").write_text("mine")
    comparison = read_comparison([exported, exported])
    with pytest.raises(ConfigError, match=r"comparison.csv exists already"):
        write_comparison(comparison, out)
    assert (out / "comparison.csv").read_text() == "mine"
    for _ in range(2):
        write_comparison(comparison, tmp_path / "new")
