"""Speeds that were measured beside different numbers of trials are marked as not comparable."""

import json

import pytest
from finished_studies import finished_study

from biformer_lit.cli import main
from biformer_lit.sweep.report.answer import answer
from biformer_lit.sweep.report.content import read_content
from biformer_lit.sweep.report.drawings import drawings
from biformer_lit.sweep.report.load import trials_beside, uneven_load

FACTORS = {"x": {name: {"model.backbone.topk": i} for i, name in enumerate(("one", "two", "three"), 1)}}


@pytest.fixture
def content(tmp_path):
    folder = finished_study(tmp_path / "study", factors=FACTORS, baseline={"x": "one"}, epochs=6)
    main(["sweep", "export", str(folder)])
    return read_content(folder)


def ran(content, **starts):
    """Note when and where each trial, of ten seconds, was started."""
    for label, (start, host) in starts.items():
        (folder,) = content.trial_folders(f"x={label}").values()
        (folder / "sessions.jsonl").write_text(json.dumps({"started": start, "host": host}) + "\n")


def test_trials_one_after_the_other(content):
    ran(content, one=(0, "a"), two=(20, "a"), three=(40, "a"))
    assert trials_beside(content) == {"x=one": 0, "x=two": 0, "x=three": 0}
    assert uneven_load(content) == ""


def test_trials_that_shared_a_machine_for_a_part_of_their_time(content):
    ran(content, one=(0, "a"), two=(5, "a"), three=(5, "b"))
    assert trials_beside(content) == {"x=one": 0.5, "x=two": 0.5, "x=three": 0}
    said = uneven_load(content)
    assert said.startswith("images/s were measured while 0.0 to 0.5 other trials")
    assert said in answer(content).notes
    (chart,) = [one for one in drawings(content, []) if one.name == "objective_throughput"]
    assert chart.text.startswith(said)


def test_trials_that_all_had_the_same_company(content):
    ran(content, one=(0, "a"), two=(0, "a"), three=(0, "a"))
    assert set(trials_beside(content).values()) == {2}
    assert uneven_load(content) == ""


@pytest.mark.parametrize("text", ["", "[]\n", '{"started": "x"}\n', '{"started": 1e999, "host": 3}\n', "\x00"])
def test_files_that_do_not_tell(content, text):
    for label in ("one", "two", "three"):
        (folder,) = content.trial_folders(f"x={label}").values()
        (folder / "sessions.jsonl").write_text(text)
    assert trials_beside(content) == {}
    assert uneven_load(content) == ""
