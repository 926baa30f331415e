"""SIGTERM, Ctrl-C or a hang-up at any place: the run stops there, and goes on to the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers.launching import EMA, LAST, SAVED, assert_same_end, last

from biformer_lit.cli import main

SLOW = pytest.mark.slow
BEST = {"class_path": SAVED, "init_args": {"monitor": "val/acc1", "mode": "max", "filename": "best"}}


def arguments(root, *more, where=None):
    """The command line of a run of three epochs of four batches; with ``where``, it signals itself there."""
    signaller = {"class_path": "signaller.Signaller", "init_args": where or {"epoch": -1}}
    Path("callbacks.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [EMA, signaller, BEST, LAST]}}))
    command = ["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--config", "callbacks.yaml"]
    return [*command, "--trainer.max_epochs", "3", "--monitoring", "false", "--data.batch_size", "16", *more]


def validated():
    """After which steps there was a validation, since this was last asked."""
    lines = Path("validated.txt").read_text().split()
    Path("validated.txt").unlink()
    return lines


@pytest.mark.parametrize(
    ("where", "options", "step"),
    [
        ({"batch": 0, "times": 2}, ["--trainer.accumulate_grad_batches", "2"], 3),
        ({"batch": 1, "where": "validation"}, [], 8),
        pytest.param({"batch": 1}, [], 6, marks=SLOW),
        pytest.param({"batch": 2, "times": 2}, ["--data.num_workers", "1"], 7, marks=SLOW),
        pytest.param({"batch": 3}, [], 8, marks=SLOW),  # the last of its epoch, which is finished first
        pytest.param({"batch": 1}, ["--trainer.val_check_interval", "2"], 6, marks=SLOW),
        pytest.param({"batch": 1, "where": "validation"}, ["--trainer.val_check_interval", "2"], 7, marks=SLOW),
    ],
)
def test_goes_on_to_the_same_bits(root, tmp_path, monkeypatch, capsys, where, options, step):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    main(arguments(root, *options))
    validations = validated()
    with pytest.raises(SystemExit) as stopped:
        main(arguments(root, *options, where=where))
    assert stopped.value.code == 143
    file = "runs/tiny/version_1/checkpoints/last.ckpt"
    assert f"stopped by SIGTERM after step {step}; go on with --ckpt_path {file}\n" in capsys.readouterr().err
    assert last(tmp_path, 1)["global_step"] == step
    assert signal.getsignal(signal.SIGTERM) == before
    main(arguments(root, *options, "--ckpt_path", file))
    assert_same_end(last(tmp_path, 2), last(tmp_path, 0))
    assert validated() == validations  # none left out, none repeated


@pytest.fixture(autouse=True)
def _heard():
    """Hear the signals that a background job or nohup has made this process ignore."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("what", "status", "called"), [("SIGINT", 130, "Ctrl-C"), ("SIGHUP", 129, "SIGHUP")])
def test_other_signals_stop_it_too(root, tmp_path, monkeypatch, capfd, what, status, called):
    monkeypatch.chdir(tmp_path)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)]
    with pytest.raises(SystemExit) as stopped:
        main(arguments(root, where={"epoch": 0, "batch": 1, "what": what}))
    assert stopped.value.code == status
    said = capfd.readouterr().err
    assert f"stopped by {called} after step 2; go on with --ckpt_path runs/tiny/version_0/checkpoints/last.ckpt" in said
    assert ("press it again to end at once" in said) == (what == "SIGINT")
    assert last(tmp_path, 0)["global_step"] == 2
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)] == before


def test_a_second_ctrl_c_ends_at_once(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stopped:
        main(arguments(root, where={"epoch": 0, "batch": 1, "what": "SIGINT", "times": 2}))
    assert stopped.value.code == 130
    assert not list(tmp_path.glob("runs/**/*.ckpt"))
    signal.signal(signal.SIGINT, before)


def test_signals_that_are_ignored_stay_ignored(root, tmp_path, monkeypatch):
    """As nohup has them, and a script what it starts in the background."""
    monkeypatch.chdir(tmp_path)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        done = main(arguments(root, "--trainer.max_epochs", "1", where={"epoch": 0, "batch": 1, "what": "SIGHUP"}))
        assert done.trainer.state.finished
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_signal_in_the_last_epoch_s_validation_changes_nothing(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = main(arguments(root, where={"epoch": 2, "where": "validation"}))
    assert done.trainer.state.finished
    assert last(tmp_path, 0)["global_step"] == 12


def test_evaluation_ends_at_once(root, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    main(arguments(root, "--trainer.max_epochs", "1"))
    file = "runs/tiny/version_0/checkpoints/last.ckpt"
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)]
    for what, status, called in (("SIGTERM", 143, None), ("SIGINT", 130, "Ctrl-C"), ("SIGHUP", 129, "SIGHUP")):
        capfd.readouterr()
        config = arguments(root, where={"epoch": 0, "where": "validation", "batch": 1, "what": what})[1:5]
        with pytest.raises(SystemExit) as stopped:
            main(["validate", *config, "--ckpt_path", file])
        assert stopped.value.code == status
        said = capfd.readouterr().err
        assert "KeyboardInterrupt" not in said
        assert (f"\nstopped by {called} before the end of validate\n" in said) == (called is not None)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)] == before


def test_without_checkpoints_of_its_own(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--trainer.callbacks", "[{class_path: signaller.Signaller}]", "--trainer.logger", "false"]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments(root), *options, "--trainer.enable_checkpointing", "false"])
    assert stopped.value.code == 143
    assert "--ckpt_path checkpoints/last.ckpt" in capsys.readouterr().err.replace(f"{tmp_path}/", "")
    assert torch.load("checkpoints/last.ckpt", weights_only=True)["global_step"] == 6


@SLOW
@pytest.mark.parametrize("what", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_to_all_processes_leaves_the_data_workers_alone(root, tmp_path, monkeypatch, what):
    """As schedulers send it; a worker that ends at once would be an error of the run."""
    monkeypatch.chdir(tmp_path)
    options = ["--data.num_workers", "2", "--trainer.num_sanity_val_steps", "0"]
    command = arguments(root, *options, where={"group": True, "what": what})
    environment = os.environ | {"PYTHONPATH": str(root / "tests")}
    done = subprocess.run(
        [sys.executable, "-m", "biformer_lit", *command],
        env=environment, capture_output=True, text=True, check=False, start_new_session=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 128 + getattr(signal, what), done.stderr
    assert "Traceback" not in done.stderr
    assert last(tmp_path, 0)["global_step"] == 6
