"""Two processes on the CPU: each its own rows and its own random numbers, the same weights, the same metrics."""

import pytest
import torch
from recorder import train_two_ranks

from biformer_lit.cli import main


@pytest.fixture(scope="module")
def ranks(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    reports = train_two_ranks(root, folder, "--trainer.limit_val_batches", "1.0", "--data.eval_batch_size", "13")
    return folder, reports


def test_each_rank_has_its_own_rows_and_its_own_numbers(ranks):
    _, (first, second) = ranks
    rows = [{row for batch in report["rows"] for row in batch} for report in (first, second)]
    assert len(rows[0]) == len(rows[1]) == 4 * 64
    assert not rows[0] & rows[1]
    for step in range(4):
        assert all(a != b for a, b in zip(first["draws"][step], second["draws"][step], strict=True))


def test_the_weights_are_the_same_on_all_ranks(ranks):
    _, (first, second) = ranks
    assert first["weights"] == second["weights"]


def test_each_row_is_evaluated_once_and_the_metric_is_the_whole_set_s(ranks, root, monkeypatch):
    folder, (first, second) = ranks
    rows = [row for report in (first, second) for batch in report["evaluated"] for row in batch]
    assert len(rows) == len(set(rows)) == 200
    assert first["accuracy"] == second["accuracy"]
    monkeypatch.chdir(folder)
    last = "runs/tiny/version_0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 4
    config = ["--config", str(root / "tests/configs/tiny.yaml"), "--trainer.callbacks", "[]"]
    alone = main(["validate", *config, "--ckpt_path", last, "--trainer.limit_val_batches", "1.0"])
    assert float(alone.trainer.callback_metrics["val/acc1"]) == pytest.approx(first["accuracy"])
