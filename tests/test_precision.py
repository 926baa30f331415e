"""Precisions with clipped gradients, averaged weights and each optimiser."""

import itertools

import pytest
import torch

from biformer_lit.cli import main
from biformer_lit.errors import ConfigError

SLOW = pytest.mark.slow
FILE = "runs/tiny/version_0/checkpoints/last.ckpt"


@pytest.fixture
def fit(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(precision, *options):
        short = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--trainer.limit_val_batches", "1"]
        command = ["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--monitoring", "false", *short]
        return main([*command, "--trainer.precision", precision, *options])

    return run


PRECISIONS = ["32", "bf16-mixed", "bf16-true", "16-true", "64-true"]
COMBINATIONS = list(itertools.product(PRECISIONS, ["adamw", "sgd", "muon"], ["norm", "value"]))
QUICK = {("bf16-mixed", "adamw", "norm"), ("64-true", "muon", "value")}


@pytest.mark.parametrize(
    ("precision", "optimiser", "algorithm"),
    [pytest.param(*one, marks=[] if one in QUICK else [SLOW]) for one in COMBINATIONS],
)
def test_gradients_are_clipped(fit, precision, optimiser, algorithm):
    clip = ["--trainer.gradient_clip_val", "1e-8", "--trainer.gradient_clip_algorithm", algorithm]
    options = [*clip, "--model.optim.name", optimiser, "--model.optim.weight_decay", "0"]
    if (precision, optimiser) == ("16-true", "muon"):
        with pytest.raises(ConfigError, match=r"optim.name='muon' with trainer.precision=16-true would divide by zero"):
            fit(precision, *options)
        return
    done = fit(precision, *options)
    assert float(done.trainer.callback_metrics["train/loss"]) == pytest.approx(2.3, abs=0.1)


def test_the_average_of_half_precision_is_in_float32(fit):
    """In bfloat16 it would stay where it began: a step adds less to it than the last digit is worth."""
    done = fit("bf16-true")
    contents = torch.load(FILE, weights_only=True)
    name = "net.stages.0.blocks.0.mlp.fc1.weight"
    average, current = contents["state_dict"][name], contents["current_model_state"][name]
    assert (average.dtype, current.dtype) == (torch.float32, torch.bfloat16)
    assert not torch.equal(average, average.bfloat16().float())
    assert torch.equal(done.model.net.stages[0].blocks[0].mlp.fc1.weight, average.bfloat16())
    again = fit("bf16-true", "--trainer.max_epochs", "2", "--ckpt_path", FILE)
    assert again.trainer.global_step == 6


def test_adamw_that_is_not_fused_is_refused_in_float16(fit):
    with pytest.raises(ConfigError, match=r"optim.fused=False with trainer.precision=16-true would divide by zero"):
        fit("16-true", "--model.optim.fused", "false")
