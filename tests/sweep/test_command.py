"""The command as people use it, with real training of a tiny network."""

import json

import pandas as pd
import pytest
import yaml

from biformer_lit.cli import main
from biformer_lit.sweep.results.trial_table import read_results

SMALL = ["--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"]


@pytest.fixture(scope="module")
def study_file(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "choice.yaml"
    contents = {
        "question": "Content or chance?",
        "base": str(root / "tests/configs/tiny.yaml"),
        "plan": "factorial",
        "factors": {"routing": {"key": "model.backbone.routing", "values": ["topk", "random"]}},
        "baseline": {"routing": "topk"},
        "set": {"data.num_classes": 10},
        "budget": {"epochs": 1},
    }
    path.write_text(yaml.safe_dump(contents))
    return path


@pytest.fixture(scope="module")
def finished(study_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "choice"
    main(["sweep", "run", str(study_file), "--folder", str(folder), "--workers", "2", *SMALL])
    return folder


def test_a_study_trains_its_cells_and_writes_their_results(finished):
    frame = read_results(finished)
    assert frame["cell"].tolist() == ["routing=topk", "routing=random"]
    assert frame["status"].tolist() == ["complete", "complete"]
    assert frame["baseline"].tolist() == [True, False]
    assert frame["factor:routing"].tolist() == ["topk", "random"]
    assert frame["objective"].between(0, 1).all()
    assert (frame["parameters"] > 0).all()
    assert (frame["macs"] > 0).all()
    assert frame["version:torch"].notna().all()
    assert len(pd.read_csv(finished / "summary.csv")) == 2
    assert {"routing"} <= set(pd.read_csv(finished / "effects.csv")["factors"])


def test_each_trial_has_its_config_its_log_and_its_events(finished):
    trials = sorted((finished / "cells").glob("*/seed-0"))
    assert len(trials) == 2
    configs = [yaml.safe_load((trial / "config.yaml").read_text()) for trial in trials]
    routings = {config["model"]["init_args"]["backbone"]["routing"] for config in configs}
    assert routings == {"topk", "random"}
    for trial in trials:
        assert json.loads((trial / "result.json").read_text())["status"] == "complete"
        assert (trial / "checkpoints/last.ckpt").is_file()
        assert (trial / "checkpoints/best.ckpt").is_file()
        assert list(trial.glob("events.out.tfevents.*.0"))
        assert "Seed set to 0" in (trial / "trial.log").read_text()


def test_a_finished_study_trains_nothing_again(finished, study_file, capsys):
    before = {path: path.stat().st_mtime_ns for path in (finished / "cells").rglob("*")}
    main(["sweep", "run", str(study_file), "--folder", str(finished), *SMALL])
    assert {path: path.stat().st_mtime_ns for path in (finished / "cells").rglob("*")} == before
    assert "| routing=topk |" in capsys.readouterr().out


def test_status_and_export(finished, capsys):
    main(["sweep", "status", str(finished)])
    said = capsys.readouterr().out
    assert "choice: Content or chance?" in said
    assert "2 of 2 complete" in said
    assert "journal.log" in said
    frame = read_results(finished)
    for name in ("results.csv", "results.parquet"):
        (finished / name).unlink()
    main(["sweep", "export", str(finished)])
    pd.testing.assert_frame_equal(read_results(finished), frame)


def test_a_dry_run_shows_the_plan_and_leaves_nothing(study_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["sweep", "run", str(study_file), "--dry-run", *SMALL])
    said = " ".join(capsys.readouterr().out.split())
    assert "choice: Content or chance?" in said
    assert "routing=random" in said
    assert "2 trials, 1 at a time" in said
    assert "expected time: 0:0" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_detectors_are_compared_by_their_task_s_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scenes = {"image_size": 64, "digits": [1, 2], "digit_size": [20, 32], "train": 4, "validation": 2, "test": 1}
    few = {"data.image_size": 64, "data.batch_size": 2, "data.num_workers": 0, "model.score_threshold": 0.001}
    study = {
        "question": "Masks?",
        "base": "digit_scenes_detection",
        "plan": "factorial",
        "factors": {"head": {"key": "model.head", "values": ["retinanet", "mask_rcnn"]}},
        "set": {**{f"data.scenes.{name}": value for name, value in scenes.items()}, **few},
        "budget": {"epochs": 2},
    }
    (tmp_path / "masks.yaml").write_text(yaml.safe_dump(study))
    main(["sweep", "run", "masks.yaml", "--dry-run"])
    assert "expected time: 0:0" in capsys.readouterr().out
    main(["sweep", "run", "masks.yaml"])
    folder = tmp_path / "runs/sweeps/masks"
    assert yaml.safe_load((folder / "study.yaml").read_text())["objective"]["metric"] == "val/map"
    frame = read_results(folder)
    assert frame["status"].tolist() == ["complete", "complete"]
    assert frame["objective"].between(0, 1).all()
    assert frame["best:val/mask_map"].notna().tolist() == [False, True]
    main(["sweep", "report", str(folder)])
    assert "val/map" in (folder / "report/report.md").read_text()


@pytest.mark.slow
def test_trials_with_two_processes_each(study_file, tmp_path):
    ddp = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    main(["sweep", "run", str(study_file), "--folder", str(tmp_path / "ddp"), "--workers", "2", *SMALL, *ddp])
    assert read_results(tmp_path / "ddp")["status"].tolist() == ["complete", "complete"]
