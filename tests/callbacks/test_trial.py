"""A run's report on itself: its lines, its result over several sessions, its failure, and that it is not disturbed."""

import errno
import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from biformer_lit.callbacks import DivergenceError, TrialReport
from biformer_lit.callbacks import trial as trial_module
from biformer_lit.callbacks.trial import failure_kind
from biformer_lit.cli import main
from biformer_lit.errors import ConfigError, DiskFullError
from biformer_lit.running import history, provenance

SETTINGS = {"metric": "val/acc1", "mode": "max", "epoch": "best", "digest": "0a1b", "parameters": 12, "macs": 34}
LAST = "runs/tiny/version_0/checkpoints/last.ckpt"


@pytest.fixture
def tiny(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--monitoring", "false"]


def with_report(folder="trial", **settings):
    """Arguments that append the callback, after the one that it reports images/s of."""
    arguments = [f"--trainer.callbacks+=biformer_lit.callbacks.{name}" for name in ("Throughput", "TrialReport")]
    settings = {"folder": folder, **SETTINGS, **settings}
    return arguments + [f"--trainer.callbacks.{name}={value}" for name, value in settings.items()]


def report(tmp_path, name="result.json"):
    return json.loads((tmp_path / "trial" / name).read_text())


def progress(tmp_path):
    return [json.loads(line) for line in (tmp_path / "trial/progress.jsonl").read_text().splitlines()]


# -- lines and result ----------------------------------------------------------------------------------------


def test_a_line_for_each_epoch_and_a_result(tiny, tmp_path):
    cli = main([*tiny, *with_report(), "--trainer.max_epochs", "3", "--seed_everything", "5"])
    lines = progress(tmp_path)
    assert [(line["epoch"], line["epochs"], line["step"]) for line in lines] == [(1, 3, 4), (2, 3, 8), (3, 3, 12)]
    names = ["train/images_per_second", "train/loss", "val/acc1", "val/acc5", "val/loss"]
    for line in lines:
        assert list(line["metrics"]) == names
    for name, value in lines[-1]["metrics"].items():
        assert value == float(cli.trainer.callback_metrics[name])
    assert 0 < lines[0]["wall_seconds"] < lines[1]["wall_seconds"]
    result = report(tmp_path)
    scores = [line["metrics"]["val/acc1"] for line in lines]
    best = scores.index(max(scores))
    wanted = {"status": "complete", "seed": 5, "digest": "0a1b", "epochs": 3, "parameters": 12, "macs": 34}
    wanted |= {"best_epoch": best + 1, "last_epoch": 3, "sessions": 1, "device": "cpu"}
    wanted["metrics"] = {"best": lines[best]["metrics"], "last": lines[2]["metrics"]}
    wanted["objective"] = {"metric": "val/acc1", "mode": "max", "epoch": "best", "value": max(scores)}
    wanted["images_per_second"] = sorted(line["metrics"]["train/images_per_second"] for line in lines)[1]
    assert {name: result[name] for name in wanted} == wanted
    assert result["peak_memory_bytes"] >= lines[-1]["peak_memory_bytes"] > 2**20
    assert result["wall_seconds"] > lines[-1]["wall_seconds"]
    assert {"python", "torch", "lightning", "timm", "biformer_lit"} <= result["versions"].keys()
    assert not list((tmp_path / "trial").glob(".*"))


def test_epochs_without_validation_do_not_repeat_an_earlier_one(tiny, tmp_path):
    rare = ["--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "2"]
    main([*tiny, *with_report(epoch="last"), *rare])
    lines = progress(tmp_path)
    assert ["val/acc1" in line["metrics"] for line in lines] == [False, True, False]
    result = report(tmp_path)
    assert (result["epochs"], result["best_epoch"], result["last_epoch"]) == (3, 2, 2)
    assert result["objective"]["value"] == lines[1]["metrics"]["val/acc1"]


def test_epochs_that_max_steps_allows(tiny, tmp_path):
    main([*tiny, *with_report(), "--trainer.max_epochs", "9", "--trainer.max_steps", "5"])
    assert [(line["epoch"], line["epochs"], line["step"]) for line in progress(tmp_path)] == [(1, 2, 4), (2, 2, 5)]


def test_the_run_does_not_notice(tiny, tmp_path):
    few = ["--data.augmentation.erasing", "0.5", "--trainer.callbacks+=biformer_lit.callbacks.Throughput"]
    plain = main([*tiny, *few])
    watched = main([*tiny, *few, *with_report()])
    for name, wanted in plain.model.state_dict().items():
        assert torch.equal(watched.model.state_dict()[name], wanted), name
    for name in ("train/loss", "val/loss"):
        assert watched.trainer.callback_metrics[name] == plain.trainer.callback_metrics[name]
    assert not any("TrialReport" in name for name in torch.load(LAST, weights_only=True)["callbacks"])


def test_the_line_is_there_before_the_checkpoint_that_is_resumed_from(tiny, tmp_path, monkeypatch):
    """Otherwise a run killed between the two would never have a line for that epoch."""
    seen = []
    save = ModelCheckpoint._save_checkpoint

    def spy(self, trainer, path):
        if path.endswith("last.ckpt"):
            seen.append(len(progress(tmp_path)))
        save(self, trainer, path)

    monkeypatch.setattr(ModelCheckpoint, "_save_checkpoint", spy)
    main([*tiny, *with_report()])
    assert seen == [1, 2]


@pytest.mark.parametrize("command", ["fast_dev_run", "validate"])
def test_nothing_is_written_but_in_training(tiny, tmp_path, command):
    if command == "validate":
        main([*tiny, "--trainer.max_epochs", "1"])
        main(["validate", *tiny[1:], *with_report(), "--ckpt_path", LAST])
    else:
        main([*tiny, *with_report(), "--trainer.fast_dev_run", "true"])
    assert not (tmp_path / "trial").exists()


@pytest.mark.parametrize("settings", [{"mode": "most"}, {"epoch": "first"}])
def test_unknown_choices(settings):
    with pytest.raises(ConfigError, match=r"TrialReport .* is unknown; use"):
        TrialReport("trial", **{**SETTINGS, **settings})


# -- pruning -------------------------------------------------------------------------------------------------


def test_pruned(tiny, tmp_path):
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/prune").touch()
    # the first validations are a check of the code and in epoch 1 there is none: the run stops after epoch 2
    rare = ["--trainer.check_val_every_n_epoch", "2", "--trainer.num_sanity_val_steps", "1"]
    main([*tiny, *with_report(), *rare, "--trainer.max_epochs", "5"])
    assert [line["epoch"] for line in progress(tmp_path)] == [1, 2]
    result = report(tmp_path)
    assert (result["status"], result["epochs"], result["best_epoch"]) == ("pruned", 2, 2)


def test_pruned_when_it_was_over_anyway(tiny, tmp_path):
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/prune").touch()
    main([*tiny, *with_report(), "--trainer.max_epochs", "1"])
    assert report(tmp_path)["status"] == "complete"


# -- resuming ------------------------------------------------------------------------------------------------


def untimed(value):
    """A result or a line without what depends on the clock."""
    if not isinstance(value, dict):
        return value
    timing = ("wall_seconds", "images_per_second", "peak_memory_bytes", "sessions", "session")
    return {name: untimed(part) for name, part in value.items() if name.rpartition("/")[2] not in timing}


def test_killed_and_resumed(root, tiny, tmp_path):
    epochs = ["--trainer.max_epochs", "4"]
    killer = ["--trainer.callbacks+=killer.Killer", "--trainer.callbacks.epoch=2", "--trainer.callbacks.batch=2"]
    environment = os.environ | {"PYTHONPATH": str(root / "tests")}
    command = [sys.executable, "-m", "biformer_lit", *tiny, *with_report(), *epochs, *killer]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [line["epoch"] for line in progress(tmp_path)] == [1, 2]
    with (tmp_path / "trial/progress.jsonl").open("a") as file:
        file.write('{"epoch": 3, "metrics": {"val/ac')  # as if it had been killed here
    (tmp_path / "trial/failure.json").write_text("{}")

    main([*tiny, *with_report(), *epochs, "--ckpt_path", LAST])
    result = report(tmp_path)
    assert result["sessions"] == 2
    assert not (tmp_path / "trial/failure.json").exists()
    lines = history.read_lines(tmp_path / "trial/progress.jsonl")
    assert [(line["epoch"], line["session"]) for line in lines] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert result["wall_seconds"] > lines[1]["wall_seconds"] + lines[3]["wall_seconds"]
    assert result["peak_memory_bytes"] >= max(line["peak_memory_bytes"] for line in lines)

    main([*tiny, *with_report("whole"), *epochs])
    whole = json.loads((tmp_path / "whole/result.json").read_text())
    assert untimed(result) == untimed(whole)
    assert list(map(untimed, lines)) == list(map(untimed, history.read_lines(tmp_path / "whole/progress.jsonl")))


def test_killed_between_the_last_checkpoint_and_the_result(tiny, tmp_path):
    main([*tiny, *with_report()])
    first = report(tmp_path)
    (tmp_path / "trial/result.json").unlink()
    main([*tiny, *with_report(), "--ckpt_path", LAST])
    again = report(tmp_path)
    assert untimed(again) == untimed(first)
    assert again["sessions"] == 2
    assert len(progress(tmp_path)) == 2


def test_begun_anew(tiny, tmp_path):
    main([*tiny, *with_report(), "--trainer.max_epochs", "3"])
    main([*tiny, *with_report(), "--trainer.max_epochs", "1"])
    result = report(tmp_path)
    assert (result["epochs"], result["last_epoch"], result["sessions"]) == (1, 1, 2)
    assert [line["epoch"] for line in progress(tmp_path)] == [1, 2, 3, 1]


def line(epoch, value=None, session=1, seconds=1.0):
    metrics = {"train/loss": 1.0} if value is None else {"train/loss": 1.0, "x": value}
    return {"epoch": epoch, "metrics": metrics, "session": session, "wall_seconds": seconds}


def test_lines_that_are_taken_back():
    lines = [line(1, 5), line(2, 9), line(3, 8, seconds=7), line(2, 4, session=2), line(3, session=2, seconds=3)]
    epochs = history.standing_epochs(lines)
    assert epochs == [lines[0], lines[3], lines[4]]
    assert history.wall_seconds(lines) == {1: 7, 2: 3}
    for mode, epoch, best, value in (("max", "best", 1, 5), ("min", "best", 2, 4), ("max", "last", 1, 4)):
        summary = history.summarize(epochs, "x", mode, epoch)
        assert (summary["best_epoch"], summary["last_epoch"], summary["epochs"]) == (best, 2, 3)
        assert summary["objective"]["value"] == value
        assert summary["images_per_second"] is None
    assert history.summarize(epochs, "y", "max", "best") is None


def test_the_first_of_equally_good_epochs_is_the_best():
    assert history.summarize([line(1, 3), line(2, 4), line(3, 4)], "x", "max", "best")["best_epoch"] == 2


def test_half_a_line(tmp_path):
    path = tmp_path / "lines"
    assert history.read_lines(path) == []
    path.write_bytes(b'{"epoch": 1}\n{"epo\xff')
    history.append_line(path, {"epoch": 2})
    history.append_line(path, {"epoch": 3})
    assert history.read_lines(path) == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3}]


# -- failure -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"step \d+ \(epoch 0\): the loss is \S+ for rows \d+, "),
        (["--model.optim.on_bad_loss", "ignore"], r"loss=\S+ in epoch 1: training has diverged"),
    ],
    ids=["in-a-step", "in-validation"],
)
def test_diverged(tiny, tmp_path, options, message):
    with pytest.raises(DivergenceError, match=message):
        main([*tiny, *with_report(), "--model.optim.lr", "1e38", *options])
    failure = report(tmp_path, "failure.json")
    assert failure["kind"] == "nan"
    assert failure["message"].startswith("DivergenceError: ")
    assert not (tmp_path / "trial/result.json").exists()
    assert not (tmp_path / LAST).exists()


@pytest.mark.parametrize("more", [[], ["--trainer.limit_val_batches", "0"]])
def test_an_objective_that_is_not_logged(tiny, tmp_path, more):
    name = "val/accuracy" if not more else "val/acc1"
    with pytest.raises(ConfigError, match=f"metric='{name}' is not logged; use one that is: train/images_per_second"):
        main([*tiny, *with_report(metric=name), *more, "--trainer.max_epochs", "9"])
    assert (tmp_path / "runs/tiny/version_0").exists()
    assert not (tmp_path / "trial/progress.jsonl").exists()
    assert report(tmp_path, "failure.json")["kind"] == "error"


def test_an_objective_that_is_validated_too_rarely(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"metric='val/acc1' is not logged; use one that is: .*train/loss"):
        main([*tiny, *with_report(), "--trainer.check_val_every_n_epoch", "3"])
    assert not (tmp_path / "trial/result.json").exists()


def test_a_full_disk(tiny, tmp_path):
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/progress.jsonl").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match=r"no space left on device: the run.s files cannot be written"):
        main([*tiny, *with_report()])
    assert report(tmp_path, "failure.json") == {
        "kind": "disk",
        "message": "OSError: [Errno 28] No space left on device",
    }


def from_cause(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "oom"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), "oom"),
        (MemoryError(), "oom"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (RuntimeError("unable to write to file </torch_1>: No space left on device (28)"), "disk"),
        (from_cause(RuntimeError("could not save"), OSError(errno.EDQUOT, "Disk quota exceeded")), "disk"),
        (DivergenceError("train/loss=nan"), "nan"),
        (OSError(errno.EACCES, "Permission denied"), "error"),
        (RuntimeError("shapes differ"), "error"),
        (ConfigError("this size would run out of memory"), "error"),
    ],
)
def test_kinds(error, kind):
    assert failure_kind(error) == kind


def fake_trainer(**settings):
    return SimpleNamespace(
        **{"state": SimpleNamespace(fn="fit"), "fast_dev_run": False, "received_sigterm": False, **settings}
    )


def test_an_interruption_is_no_failure(tmp_path):
    callback = TrialReport(str(tmp_path), **SETTINGS)
    for error in (KeyboardInterrupt(), SIGTERMException(), SystemExit(1)):
        callback.on_exception(fake_trainer(), None, error)
    # what SIGTERM in another rank leads to
    callback.on_exception(fake_trainer(received_sigterm=True), None, RuntimeError("connection closed by peer"))
    callback.on_exception(fake_trainer(state=SimpleNamespace(fn="validate")), None, RuntimeError())
    assert list(tmp_path.iterdir()) == []


def test_the_first_failure_counts(tmp_path):
    callback = TrialReport(str(tmp_path / "trial"), **SETTINGS)
    callback.on_exception(fake_trainer(), None, torch.OutOfMemoryError("CUDA\nout of memory"))
    callback.on_exception(fake_trainer(), None, RuntimeError("connection closed by peer"))
    assert report(tmp_path, "failure.json") == {"kind": "oom", "message": "OutOfMemoryError: CUDA out of memory"}


def test_a_failure_that_cannot_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trial_module, "write_json", full)
    TrialReport(str(tmp_path), **SETTINGS).on_exception(fake_trainer(), None, RuntimeError("the cause"))
    assert list(tmp_path.iterdir()) == []


# -- where it comes from -------------------------------------------------------------------------------------


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_commit(tmp_path, monkeypatch):
    package = tmp_path / "checkout/package"
    file = package / "running/provenance.py"
    file.parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(provenance, "__file__", str(file))
    assert provenance.git_commit() is None
    git(package.parent, "init", "-q")
    git(package.parent, "commit", "-q", "--allow-empty", "-m", "nothing")
    assert provenance.git_commit() is None  # an environment inside somebody else's checkout
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "everything")
    commit = git(package.parent, "rev-parse", "HEAD")
    assert provenance.git_commit() == commit
    (package / "__init__.py").write_text("changed = True\n")
    assert provenance.git_commit() == f"{commit}-dirty"


def test_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.git_commit() is None


def test_device_names(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert provenance.device_name(torch.device("cpu"), 1) == "cpu"
    assert provenance.device_name(torch.device("cuda", 0), 2) == "2 x NVIDIA H200"


# -- two processes -------------------------------------------------------------------------------------------


def test_two_processes_write_one_report(tiny, tmp_path):
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/prune").touch()
    two = ["--trainer.strategy", "ddp", "--trainer.devices", "2", "--trainer.max_epochs", "3"]
    command = [sys.executable, "-m", "biformer_lit", *tiny, *with_report(), *two]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (only,) = progress(tmp_path)  # had one rank alone seen the file, the other would still wait for it
    assert only["epoch"] == 1
    assert {"train/images_per_second", "train/loss", "val/acc1"} <= only["metrics"].keys()
    result = report(tmp_path)
    assert (result["status"], result["sessions"], result["device"]) == ("pruned", 1, "2 x cpu")
    assert not (tmp_path / "trial/failure.json").exists()
