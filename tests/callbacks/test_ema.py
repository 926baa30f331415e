"""The average of the weights: its warm-up, and which copy is evaluated, saved and restored."""

import pickle

import pytest
import torch

from biformer_lit.callbacks import EMA
from biformer_lit.callbacks.ema import warmup_average, warmup_decay
from biformer_lit.cli import main
from biformer_lit.errors import ConfigError


def test_warm_up_by_hand():
    assert [warmup_decay(0.9, n) for n in (0, 1, 10_000)] == [1 / 10, 2 / 11, 0.9]
    update = warmup_average(0.9)
    averages = [torch.zeros(2), torch.zeros(1)]
    update(averages, [torch.ones(2), torch.full((1,), 2.0)], torch.tensor(1))
    torch.testing.assert_close(averages, [torch.full((2,), 9 / 11), torch.full((1,), 18 / 11)])


def test_counters_are_copied():
    average = [torch.tensor(3)]
    warmup_average(0.9)(average, [torch.tensor(7)], 5)
    assert average[0].item() == 7


@pytest.mark.parametrize("decay", [0, 1, -0.1, 2])
def test_decay_out_of_range(decay):
    with pytest.raises(ConfigError, match="EMA decay="):
        EMA(decay)


def test_unknown_copy():
    with pytest.raises(ConfigError, match="evaluate='both' is unknown"):
        EMA(0.9, "both")


def config(folder, **settings):
    options = "".join(f"\n        {key}: {value}" for key, value in settings.items())
    (folder / "ema.yaml").write_text(f"""
trainer:
  callbacks:
    - class_path: biformer_lit.callbacks.EMA
      init_args:{options}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args:
        filename: last
        save_on_train_epoch_end: true
        enable_version_counter: false
""")
    return ["--config", "ema.yaml", "--monitoring", "false", "--trainer.limit_val_batches", "1.0"]


@pytest.fixture
def tiny(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ["--config", str(root / "tests/configs/tiny.yaml")]


@pytest.mark.parametrize("evaluate", ["average", "raw"])
def test_the_evaluated_copy_is_the_saved_one(tiny, tmp_path, evaluate):
    fitted = main(["fit", *tiny, *config(tmp_path, decay=0.99, evaluate=evaluate)])
    last = "runs/tiny/version_0/checkpoints/last.ckpt"
    contents = torch.load(last, weights_only=True)
    other = "current_model_state" if evaluate == "average" else "averaged_model_state"
    name = "net.head.weight"
    assert not torch.equal(contents["state_dict"][name], contents[other][name])
    assert torch.equal(fitted.model.net.head.weight, contents["state_dict"][name])
    full = ["--trainer.limit_val_batches", "1.0"]
    again = main(["validate", *tiny, *full, "--ckpt_path", last])
    for metric in ("val/acc1", "val/loss"):
        assert float(again.trainer.callback_metrics[metric]) == pytest.approx(
            float(fitted.trainer.callback_metrics[metric]), rel=1e-5
        )
    by_weights = main(["validate", *tiny, *full, "--model.weights", last])
    assert torch.equal(by_weights.model.net.head.weight, contents["state_dict"][name])
    which = ["--model.weights_copy", "raw" if evaluate == "average" else "average"]
    explicit = main(["validate", *tiny, *full, "--model.weights", last, *which])
    assert torch.equal(explicit.model.net.head.weight, contents[other][name])


@pytest.mark.parametrize("evaluate", ["average", "raw"])
def test_a_resumed_run_has_both_copies_of_the_whole_one(tiny, tmp_path, evaluate):
    options = [*config(tmp_path, decay=0.9, evaluate=evaluate), "--trainer.max_epochs", "3"]
    text = (tmp_path / "ema.yaml").read_text().replace("last\n", "'{epoch}'\n        save_top_k: -1\n")
    (tmp_path / "ema.yaml").write_text(text)
    main(["fit", *tiny, *options])
    main(["fit", *tiny, *options, "--ckpt_path", "runs/tiny/version_0/checkpoints/epoch=0.ckpt"])
    whole, resumed = (
        torch.load(f"runs/tiny/version_{i}/checkpoints/epoch=2.ckpt", weights_only=True) for i in range(2)
    )
    other = "current_model_state" if evaluate == "average" else "averaged_model_state"
    for part in ("state_dict", other):
        assert all(torch.equal(tensor, whole[part][name]) for name, tensor in resumed[part].items())


def test_a_short_run_is_not_held_back_by_its_first_weights(tiny, tmp_path):
    """Without the warm-up an average with 0.9999 over a few steps is the initial weights."""
    fitted = main(["fit", *tiny, *config(tmp_path, decay=0.9999), "--trainer.max_epochs", "3"])
    contents = torch.load("runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    first = main(["fit", *tiny, *config(tmp_path, decay=0.9999), "--trainer.max_steps", "0"]).model.net
    name = "net.stages.0.blocks.0.mlp.fc1.weight"
    trained = contents["current_model_state"][name]
    start = first.stages[0].blocks[0].mlp.fc1.weight
    average = fitted.model.net.stages[0].blocks[0].mlp.fc1.weight
    assert (average - trained).norm() < 0.7 * (start - trained).norm()


def test_it_can_be_sent_to_processes_that_are_spawned():
    sent = pickle.loads(pickle.dumps(EMA(0.9)))  # noqa: S301
    average = [torch.zeros(1)]
    sent._kwargs["multi_avg_fn"](average, [torch.ones(1)], 10_000)
    assert average[0].item() == pytest.approx(0.1)
