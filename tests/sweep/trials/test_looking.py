"""Looking at a study changes nothing in its folder and needs no right to; silent trials are told."""

import os
import time

import pytest
from finished_studies import finished_study
from studies import study, sweep

from biformer_lit.cli import main
from biformer_lit.errors import ConfigError
from biformer_lit.sweep.report import report_commands as command
from biformer_lit.sweep.trials import display, runner
from biformer_lit.sweep.trials.display import Line, running_table
from biformer_lit.sweep.trials.progress import ProgressFile

FACTORS = {"x": {"one": {"model.backbone.topk": 1}, "two": {"model.backbone.topk": 2}}}


def snapshot(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.is_dir() or path.read_bytes())
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture
def finished(tmp_path):
    return finished_study(tmp_path / "study", factors=FACTORS, baseline={"x": "one"}, seeds=[0, 1])


@pytest.fixture
def read_only(finished, monkeypatch):
    """A study whose folder may only be read: by the file system for a plain user, by agreement for root."""
    monkeypatch.setattr(command.os, "access", lambda path, mode: False)
    places = [finished, *finished.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    yield finished
    for place in places:
        place.chmod(0o755 if place.is_dir() else 0o644)


def test_status_writes_nothing(read_only, capsys):
    before = snapshot(read_only)
    main(["sweep", "status", str(read_only)])
    assert "4 of 4 complete" in capsys.readouterr().out
    assert snapshot(read_only) == before


def test_a_report_of_a_folder_that_may_only_be_read(read_only, tmp_path, monkeypatch):
    before = snapshot(read_only)
    monkeypatch.chdir(tmp_path)
    main(["sweep", "report", str(read_only)])
    assert (tmp_path / "study-report" / "report.html").is_file()
    assert snapshot(read_only) == before


def test_a_record_that_is_gone_is_not_made_again(finished):
    (finished / "journal.log").unlink()
    with pytest.raises(ConfigError, match=r"journal.log is gone; put it back"):
        main(["sweep", "status", str(finished)])
    assert not (finished / "journal.log").exists()


def test_how_long_a_trial_has_been_silent(tmp_path):
    (tmp_path / "progress.jsonl").write_text("")
    (tmp_path / "trial.log").write_text("")
    for name, ago in (("progress.jsonl", 5000), ("trial.log", 4000)):
        os.utime(tmp_path / name, (time.time() - ago,) * 2)
    assert 4000 <= ProgressFile(tmp_path, "val/acc1").silent_seconds() < 4900
    assert ProgressFile(tmp_path / "nowhere", "val/acc1").silent_seconds() == 0
    cells = list(
        running_table([Line("a", 9000, None, "", 4000.0), Line("b", 9000, None, "", 30.0)], "val/acc1").columns
    )
    assert list(cells[0].cells) == ["a (silent for 1:06:40)", "b"]


def test_a_running_study_tells_of_silence_once_and_then_after_twice_the_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(display, "SILENT", 0.5)
    monkeypatch.setattr(runner, "SILENT", 0.5)
    monkeypatch.setattr(runner, "_LOOK", 0.1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    study(tmp_path, cells=1, fake={0: {"fake.fail": "stubborn"}}, budget={"minutes": 0.05})
    monkeypatch.setattr(runner.TrialProcess.kill, "__defaults__", (0.2,))
    assert sweep("run", tmp_path / "study.yaml", "--folder", tmp_path / "study") == 1
    said = capsys.readouterr().out
    assert 1 <= said.count("has written nothing for 0:0") <= 3
    assert "budget.minutes would end" not in said
