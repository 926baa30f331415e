"""Whose a trial's folder is: what a study has finished is never written again."""

import pytest
import yaml
from lightning.pytorch import Trainer

from biformer_lit.callbacks import TrialReport
from biformer_lit.cli import main
from biformer_lit.cli.repeating import leave_trials_alone
from biformer_lit.errors import ConfigError
from biformer_lit.running import trial_folders as trials


def wired(folder):
    """The trainer's settings of a trial, as studies write them."""
    logger = {"save_dir": str(folder.parent.parent), "name": folder.parent.name, "version": folder.name}
    return {
        "default_root_dir": str(folder),
        "logger": {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": logger},
        "callbacks": [
            {"class_path": "biformer_lit.callbacks.EMA", "init_args": {}},
            {"class_path": "biformer_lit.callbacks.TrialReport", "init_args": {"folder": str(folder)}},
        ],
    }


@pytest.mark.parametrize("form", ["one", "list"])
def test_a_trials_settings_lead_elsewhere(tmp_path, form, capsys):
    trainer = wired(tmp_path / "cells/x-12345678/seed-3")
    if form == "list":
        trainer["logger"] = [trainer["logger"], {"class_path": "CSVLogger", "init_args": {"save_dir": "mine"}}]
    logger = trainer["logger"][0] if form == "list" else trainer["logger"]
    leave_trials_alone(trainer)
    assert logger["init_args"] == {"save_dir": "runs/repeats", "name": "x-12345678/seed-3", "version": None}
    assert [callback["class_path"] for callback in trainer["callbacks"]] == ["biformer_lit.callbacks.EMA"]
    assert trainer["default_root_dir"] == "runs/repeats/x-12345678/seed-3"
    assert "belongs to a study" in capsys.readouterr().err


def test_a_trials_own_process_writes_there(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "cells/x-12345678/seed-3"
    monkeypatch.setenv(trials.VARIABLE, str(folder))
    trainer = wired(folder)
    leave_trials_alone(trainer)
    assert trainer == wired(folder)
    assert capsys.readouterr().err == ""
    other = wired(tmp_path / "cells/x-12345678/seed-4")
    leave_trials_alone(other)
    assert len(other["callbacks"]) == 1


@pytest.mark.parametrize("trainer", [{}, {"logger": True, "callbacks": None}, {"logger": False, "callbacks": []}])
def test_runs_of_nobodys_study_stay_as_they_are(trainer, capsys):
    before = dict(trainer)
    leave_trials_alone(trainer)
    assert trainer == before
    assert capsys.readouterr().err == ""


def test_in_python_a_trial_is_refused(tmp_path, monkeypatch):
    settings = {"metric": "a", "mode": "max", "epoch": "best", "digest": "x", "parameters": 1, "macs": 1}
    folder = tmp_path / "cells/x-12345678/seed-3"
    folder.mkdir(parents=True)
    TrialReport(str(folder), **settings)  # nobody's study
    (tmp_path / trials.SPEC).touch()
    with pytest.raises(ConfigError, match=r"is that of a study's trial.*config\.yaml"):
        TrialReport(str(folder), **settings)
    monkeypatch.setenv(trials.VARIABLE, str(folder))
    TrialReport(str(folder), **settings)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["config.yaml", "trial.yaml"])
def test_a_repeated_trial(name, root, tmp_path, monkeypatch):
    """fit, with a setting of its own, and test: the study's files stay as they are to the last byte."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "study/cells/x-12345678/seed-3"
    (folder / "checkpoints").mkdir(parents=True)
    (tmp_path / "study" / trials.SPEC).touch()
    config = yaml.safe_load((root / "tests/configs/tiny.yaml").read_text())
    config["monitoring"] = False
    config["trainer"] |= {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1, "limit_test_batches": 1}
    report = {"metric": "val/acc1", "mode": "max", "epoch": "best", "digest": "x", "parameters": 1, "macs": 1}
    if name == "trial.yaml":
        config["trainer"] |= wired(folder) | {"callbacks": config["trainer"]["callbacks"]}
        settings = {"folder": str(folder), **report}
        config["trainer"]["callbacks"].append({"class_path": "TrialReport", "init_args": settings})
    (folder / name).write_text(yaml.safe_dump(config))
    (folder / "result.json").write_text("{}")
    before = contents(tmp_path / "study")
    cli = main(["fit", "--config", str(folder / name), "--data.batch_size", "32"])
    assert isinstance(cli.trainer, Trainer)
    place = "runs/repeats/x-12345678/seed-3/version_0" if name == "trial.yaml" else "runs/tiny/version_0"
    assert (tmp_path / place / "config.yaml").is_file()
    checkpoint = next((tmp_path / place).glob("checkpoints/*.ckpt"))
    main(["test", "--config", str(folder / name), "--ckpt_path", str(checkpoint)])
    assert contents(tmp_path / "study") == before
