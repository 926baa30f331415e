"""A folder for each run, and the checkpoints that earlier ones left."""

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from biformer_lit.cli import main
from biformer_lit.cli.run_folder import claim_versions, newest_checkpoint
from biformer_lit.errors import ConfigError


@pytest.mark.parametrize("kind", [TensorBoardLogger, CSVLogger])
def test_runs_started_together_have_folders_of_their_own(tmp_path, kind):
    loggers = [kind(tmp_path, name="x") for _ in range(8)]
    claim_versions(loggers)
    start, found = threading.Barrier(len(loggers)), []

    def claim(logger):
        start.wait()
        found.append(logger.log_dir)

    threads = [threading.Thread(target=claim, args=(logger,)) for logger in loggers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [str(tmp_path / f"x/version_{i}") for i in range(8)]
    assert all(Path(one).is_dir() for one in found)
    assert loggers[0].log_dir == loggers[0].log_dir  # once


def test_the_next_number(tmp_path):
    (tmp_path / "x/version_3").mkdir(parents=True)
    (tmp_path / "x/version_4").write_text("a file")
    logger = TensorBoardLogger(tmp_path, name="x")
    claim_versions([logger])
    assert logger.version == 5
    again = pickle.loads(pickle.dumps(logger))  # noqa: S301  # as ddp_spawn does
    assert again.log_dir == logger.log_dir
    fixed = TensorBoardLogger(tmp_path, name="x", version="mine")
    claim_versions([fixed])
    assert Path(fixed.log_dir).name == "mine"


def test_an_unused_logger_makes_no_folder(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="x")
    claim_versions([logger])
    other = pickle.loads(pickle.dumps(logger))  # noqa: S301
    assert not (tmp_path / "x").exists()
    assert (logger.version, other.version) == (0, 1)


def test_other_ranks_make_none(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = TensorBoardLogger(tmp_path, name="x")
    claim_versions([logger])
    assert logger.version == 0
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_three_commands_at_once(root, tmp_path):
    """Each has its config, its log and its checkpoints; the two ranks of the last one share a folder."""
    command = [sys.executable, "-m", "biformer_lit", "fit", "--config", str(root / "tests/configs/tiny.yaml")]
    ranks = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    runs = [
        subprocess.Popen([*command, "--seed_everything", str(seed), *(ranks if seed == 3 else ())], cwd=tmp_path)
        for seed in (1, 2, 3)
    ]
    assert [run.wait() for run in runs] == [0, 0, 0]
    folders = sorted((tmp_path / "runs/tiny").iterdir())
    assert [one.name for one in folders] == ["version_0", "version_1", "version_2"]
    assert sorted(yaml.safe_load((one / "config.yaml").read_text())["seed_everything"] for one in folders) == [1, 2, 3]
    assert all((one / "checkpoints/best.ckpt").is_file() for one in folders)


# -- last, best and hpc ----------------------------------------------------------------------------------


def write(path, when):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    os.utime(path, (when, when))
    return str(path)


def settings(**trainer):
    def read(value):
        if isinstance(value, dict):
            return Namespace({key: read(one) for key, one in value.items()})
        return [read(one) for one in value] if isinstance(value, list) else value

    return read(trainer)


LOGGERS = "lightning.pytorch.loggers"
TENSORBOARD = {"class_path": f"{LOGGERS}.TensorBoardLogger", "init_args": {"save_dir": "runs", "name": "a"}}
WANDB = {"class_path": f"{LOGGERS}.WandbLogger", "init_args": {"save_dir": "w", "project": "p", "name": None}}
KEPT = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"dirpath": "kept"}}


def numbered(version):
    return {**TENSORBOARD, "init_args": {**TENSORBOARD["init_args"], "version": version}}


@pytest.mark.parametrize(
    ("trainer", "folder"),
    [
        ({"logger": TENSORBOARD}, "runs/a/version_0/checkpoints"),
        ({"logger": [TENSORBOARD, WANDB]}, "runs/a/version_7/checkpoints"),
        (
            {"logger": numbered(2)},
            "runs/a/version_2/checkpoints",
        ),
        (
            {"logger": numbered("v")},
            "runs/a/v/checkpoints",
        ),
        ({"logger": WANDB}, "w/p/xyz/checkpoints"),
        ({"logger": None, "default_root_dir": "root"}, "root/lightning_logs/version_1/checkpoints"),
        ({"logger": True}, "lightning_logs/version_1/checkpoints"),
        ({"logger": False, "default_root_dir": "root"}, "root/checkpoints"),
        ({"logger": TENSORBOARD, "callbacks": [KEPT]}, "kept"),
    ],
)
def test_where_runs_of_a_config_keep_their_checkpoints(tmp_path, monkeypatch, capsys, trainer, folder):
    monkeypatch.chdir(tmp_path)
    write(Path("runs/other/version_9/checkpoints/last.ckpt"), 99)
    with pytest.raises(ConfigError, match=r"ckpt_path=last: no run of this config has left a last.ckpt in"):
        newest_checkpoint("last", settings(**trainer))
    write(Path(folder, "lasting.ckpt"), 9)
    write(Path(folder, "last.ckpt.previous"), 9)
    path = write(Path(folder, "last.ckpt"), 5)
    assert newest_checkpoint("last", settings(**trainer)) == path
    assert f"--ckpt_path last: {path}" in capsys.readouterr().err
    path = write(Path(folder, "last-v1.ckpt"), 6)
    assert newest_checkpoint("last", settings(**trainer)) == path
    with pytest.raises(ConfigError, match=r"a best.ckpt in"):
        newest_checkpoint("best", settings(**trainer))


def test_the_newest_of_several_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    newest = [write(Path(f"runs/a/version_{i}/checkpoints/last.ckpt"), when) for i, when in ((0, 3), (1, 9), (2, 6))][1]
    assert newest_checkpoint("last", settings(logger=TENSORBOARD)) == newest
    write(Path("hpc_ckpt_1.ckpt"), 1)
    path = write(Path("hpc_ckpt_2.ckpt"), 2)
    assert newest_checkpoint("hpc", settings(logger=TENSORBOARD)) == path


def test_a_launched_rank_is_told(tmp_path, monkeypatch):
    """The first may have saved another one since, where the second would look."""
    monkeypatch.chdir(tmp_path)
    path = write(Path("runs/a/version_0/checkpoints/last.ckpt"), 1)
    assert newest_checkpoint("last", settings(logger=TENSORBOARD)) == path
    write(Path("runs/a/version_1/checkpoints/last.ckpt"), 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(os, "getppid", os.getpid)
    assert newest_checkpoint("last", settings(logger=TENSORBOARD)) == path


def test_a_run_goes_on_from_last(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny = ["--config", str(root / "tests/configs/tiny.yaml"), "--monitoring", "false"]
    main(["fit", *tiny, "--trainer.max_epochs", "1"])
    cli = main(["fit", *tiny, "--ckpt_path", "last"])
    assert "--ckpt_path last: runs/tiny/version_0/checkpoints/last.ckpt" in capsys.readouterr().err
    assert (cli.trainer.global_step, cli.trainer.current_epoch) == (8, 2)
    assert cli.trainer.ckpt_path == "runs/tiny/version_0/checkpoints/last.ckpt"
    cli = main(["test", *tiny, "--ckpt_path", "best"])
    assert cli.trainer.ckpt_path == "runs/tiny/version_1/checkpoints/best.ckpt"
    said = yaml.safe_load(Path("runs/tiny/version_1/config.yaml").read_text())["ckpt_path"]
    assert said == "runs/tiny/version_0/checkpoints/last.ckpt"
