"""Steps whose loss or gradient is not finite: refused with step and rows, or left out, counted, and without a trace."""

import json

import pytest
import torch
from helpers.poison import Poison

from biformer_lit.cli import main
from biformer_lit.errors import ConfigError, DivergenceError
from biformer_lit.tasks import Optimization

# Lightning's precision: 16-mixed is for GPUs only
HALF = [
    "--trainer.plugins",
    "[{class_path: lightning.pytorch.plugins.MixedPrecision, init_args: {precision: 16-mixed, device: cpu}}]",
]
FILE = "runs/tiny/version_0/bad_steps.jsonl"


@pytest.fixture
def tiny(root, tmp_path, monkeypatch):
    """Arguments of a tiny run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return ["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--monitoring", "false"]


@pytest.fixture
def poisoned(monkeypatch):
    """A function that has a run poisoned."""

    def poison(*args):
        callback = Poison(*args)
        from biformer_lit.cli import training  # noqa: PLC0415

        build = training.BiFormerCLI.instantiate_trainer

        def with_poison(self, **kwargs):
            trainer = build(self, **kwargs)
            trainer.callbacks.insert(0, callback)
            return trainer

        monkeypatch.setattr(training.BiFormerCLI, "instantiate_trainer", with_poison)
        return callback

    return poison


def finite(run):
    return all(bool(torch.isfinite(value).all()) for value in run.model.state_dict().values())


def test_the_step_and_all_rows_are_named(tiny, poisoned, tmp_path):
    poison = poisoned({2})
    with pytest.raises(
        DivergenceError, match=r"^step 2 \(epoch 0\): the loss is nan for rows \d+, .*on_bad_loss: skip"
    ):
        main(tiny)
    (line,) = [json.loads(text) for text in (tmp_path / FILE).read_text().splitlines()]
    assert line == {"step": 2, "epoch": 0, "batches": [{"rank": 0, "loss": "nan", "rows": poison.rows[0]}]}
    assert len(poison.rows[0]) == 64


def test_a_gradient_alone_is_told_apart(tiny, poisoned):
    poisoned({1}, "gradient")
    with pytest.raises(DivergenceError, match=r"step 1 .*the gradient is not finite, though all losses are"):
        main(tiny)


@pytest.mark.parametrize("where", ["image", "gradient"])
@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_skipped_steps_leave_no_trace(tiny, poisoned, tmp_path, name, where, caplog):
    """Neither in the weights nor in BatchNorm's statistics; they are counted, and the run goes on."""
    poison = poisoned({0, 2}, where)
    before = {}
    kept = {}

    def note(trainer, pl_module, batch, batch_idx):
        before.update({key: value.clone() for key, value in pl_module.net.state_dict().items()})

    def compare(trainer, pl_module, outputs, batch, batch_idx):
        now = pl_module.net.state_dict()
        same = all(torch.equal(now[key], value) for key, value in before.items())
        kept[trainer.current_epoch, batch_idx] = same

    start = poison.on_train_batch_start
    poison.on_train_batch_start = lambda *args: (note(*args), start(*args))
    poison.on_train_batch_end = compare
    run = main([*tiny, "--model.optim.on_bad_loss", "skip", "--model.optim.name", name])
    assert [place for place, same in kept.items() if same] == [(0, 0), (0, 2)]
    assert finite(run)
    assert float(run.trainer.callback_metrics["train/skipped_steps"]) == 2
    assert len((tmp_path / FILE).read_text().splitlines()) == 2
    assert "the step is left out (2 so far)" in caplog.text
    state = torch.load("runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert state["skipped_steps"] == 2
    assert run.trainer.global_step == 8


def test_one_bad_batch_of_an_accumulated_step(tiny, poisoned, tmp_path):
    poison = poisoned({0})
    run = main(
        [*tiny, "--model.optim.on_bad_loss", "skip", "--trainer.accumulate_grad_batches", "2"],
    )
    assert finite(run)
    (line,) = [json.loads(text) for text in (tmp_path / FILE).read_text().splitlines()]
    assert [batch["rows"] for batch in line["batches"]] == poison.rows


def test_a_run_of_bad_steps_ends(tiny, poisoned):
    poisoned(set(range(99)))
    options = ["--model.optim.on_bad_loss", "skip", "--trainer.limit_train_batches", "21", "--data.batch_size", "8"]
    with pytest.raises(DivergenceError, match=r"the 20th step in a row; lower"):
        main([*tiny, *options])


def test_ignored(tiny, poisoned, tmp_path):
    poisoned({0})
    run = main([*tiny, "--model.optim.on_bad_loss", "ignore"])
    assert not finite(run)
    assert not (tmp_path / FILE).exists()


def test_half_precision_s_scaler_is_left_alone(tiny, poisoned, tmp_path):
    """A gradient that overflows under 16-mixed is its ordinary way to find the scale; a loss is not."""
    poisoned({1}, "gradient")
    run = main([*tiny, *HALF])
    assert finite(run)
    assert run.trainer.precision_plugin.scaler.get_scale() < 65536
    assert not (tmp_path / FILE).exists()


def test_half_precision_s_losses_count(tiny, poisoned, tmp_path):
    poisoned({1})
    run = main([*tiny, *HALF, "--model.optim.on_bad_loss", "skip"])
    assert finite(run)
    assert len((tmp_path / FILE).read_text().splitlines()) == 1


def test_an_unknown_choice():
    with pytest.raises(ConfigError, match=r"optim\.on_bad_loss='stop' is unknown; use 'error', 'skip' or 'ignore'"):
        Optimization(on_bad_loss="stop")
