"""Compilation in training: whole graphs, never one too many, and the results of the same run uncompiled."""

import pytest
import torch
from recorder import train_two_ranks
from torch._dynamo.utils import counters

from biformer_lit.cli import main

COMPILED = ["--model.compile", '{"fullgraph": true, "backend": "aot_eager"}']
# SGD, since AdamW turns the rounding of a gradient of zero into a whole step; no DropPath, so that numbers that the
# compiler draws do not matter
ALIKE = ["--model.optim.name", "sgd", "--model.optim.lr", "0.05", "--model.backbone.drop_path_rate", "0"]
LAST = "checkpoints/last.ckpt"


@pytest.fixture
def tiny(root, tmp_path, monkeypatch):
    """Arguments of a tiny run with averaged weights, in a folder of its own; nothing compiled before."""
    monkeypatch.chdir(tmp_path)
    torch.compiler.reset()
    counters.clear()
    yield ["--config", str(root / "tests/configs/tiny.yaml"), *ALIKE, "--monitoring", "false"]
    torch.compiler.reset()


def check_alike(found, wanted, tolerance):
    """Both copies of the weights in two checkpoints, the evaluated and the other."""
    assert "current_model_state" in wanted
    for copy in ("state_dict", "current_model_state"):
        assert found[copy].keys() == wanted[copy].keys()
        for name, value in wanted[copy].items():
            torch.testing.assert_close(found[copy][name], value, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ([], 1e-4),
        pytest.param(["--model.grad_checkpointing", "true"], 1e-4, marks=pytest.mark.slow),
        pytest.param(["--trainer.precision", "bf16-mixed"], 1e-2, marks=pytest.mark.slow),
        (["--model.grad_checkpointing", "true", "--trainer.precision", "bf16-mixed"], 1e-2),
    ],
    ids=["averaged", "recomputed", "bfloat16", "recomputed-bfloat16"],
)
def test_two_epochs_take_one_graph_to_train_and_one_to_validate(tiny, options, tolerance):
    main(["fit", *tiny, *options])
    main(["fit", *tiny, *options, *COMPILED])
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]
    plain, compiled = (torch.load(f"runs/tiny/version_{i}/{LAST}", weights_only=True) for i in range(2))
    check_alike(compiled, plain, tolerance)


def test_another_batch_is_compiled_once_more(tiny):
    """200 images to evaluate in batches of 64, 64, 64 and 8."""
    main(["fit", *tiny, "--trainer.max_epochs", "1"])
    task = ["validate", *tiny, "--trainer.limit_val_batches", "1.0", *COMPILED]
    main([*task, "--model.weights", f"runs/tiny/version_0/{LAST}"])
    assert counters["stats"]["unique_graphs"] == 2


@pytest.fixture
def ranks(root, tmp_path):
    """A function that trains in two processes and returns what each wrote down."""
    return lambda *options: train_two_ranks(root, tmp_path, "--data.eval_batch_size", "25", *ALIKE, *options)


@pytest.mark.slow
def test_two_processes(ranks, tmp_path):
    """The network inside the data-parallel module is what is compiled."""
    plain, compiled = ranks(), ranks(*COMPILED)
    assert compiled[0]["weights"] == compiled[1]["weights"]
    assert compiled[0]["weights"] == pytest.approx(plain[0]["weights"], rel=1e-4)
    for report in compiled:
        assert report["graphs"] == 2  # to train and to validate
        assert report["breaks"] == 0
    keys = [torch.load(tmp_path / f"runs/tiny/version_{i}/{LAST}", weights_only=True)["state_dict"] for i in range(2)]
    assert keys[0].keys() == keys[1].keys()
