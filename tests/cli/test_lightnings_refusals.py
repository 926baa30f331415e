"""What Lightning refuses is one line, whatever it raises, and what it offers can be named."""

import sys

import pytest
import yaml
from lightning.pytorch.callbacks.timer import Interval

from biformer_lit.cli import run, training

CHECKPOINT = [
    "--trainer.callbacks+=ModelCheckpoint",
    "--trainer.callbacks.every_n_epochs=1",
    "--trainer.callbacks.save_top_k=-1",
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*CHECKPOINT, *CHECKPOINT], "Found more than one stateful callback of type `ModelCheckpoint`"),  # RuntimeError
        (["--trainer.accelerator=tpu"], "Requirement 'torch_xla"),  # ModuleNotFoundError
    ],
)
def test_what_the_trainer_refuses(arguments, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["biformer-lit", "fit", "--config", "digits", *arguments])
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert f"error: trainer: {message}" in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_timers_interval_can_be_saved():
    assert training.SETTINGS  # importing the command line is what makes it so
    assert yaml.safe_dump({"interval": Interval.step}) == "interval: step\n"
