"""Checkpoints that lost or changed bytes: the same as before, or one clear error."""

import io

import pytest
import torch
from fuzzing import damaged, fuzz, one_line
from safetensors.torch import save

from biformer_lit.checkpoints.saved_weights import read_weights
from biformer_lit.errors import CheckpointError

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3, dtype=torch.float16)}


def whole_files():
    run = {
        "state_dict": TENSORS,
        "hyper_parameters": {"_class_path": "x.Y", "lr": 0.1},
        "epoch": 3,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(4.0)}}, "param_groups": [{"lr": 0.1}]}],
    }
    zipped, old = io.BytesIO(), io.BytesIO()
    torch.save(run, zipped)
    torch.save({"model": TENSORS}, old, _use_new_zipfile_serialization=False)
    return {".ckpt": zipped.getvalue(), ".pth": old.getvalue(), ".safetensors": save(TENSORS)}


WHOLE = whole_files()


def check(path, content):
    path.write_bytes(content)
    try:
        weights, _ = read_weights(path).weights()
    except CheckpointError as error:
        one_line(error, str(path))
        return None
    assert all(isinstance(tensor, torch.Tensor) for tensor in weights.values())
    return weights


def same(weights):
    return weights.keys() == TENSORS.keys() and all(torch.equal(weights[key], TENSORS[key]) for key in TENSORS)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file(tmp_path, kind):
    assert same(check(tmp_path / f"w{kind}", WHOLE[kind]))


@fuzz(60, content=damaged([WHOLE[".ckpt"]]))
def test_a_damaged_checkpoint(tmp_path, content):
    """These have checksums: what can be read is what was written."""
    weights = check(tmp_path / "w.ckpt", content)
    assert weights is None or same(weights)


@fuzz(40, content=damaged([WHOLE[".pth"]]))
def test_a_damaged_checkpoint_of_old(tmp_path, content):
    """These have none, as weights that were released years ago: changed numbers cannot be told."""
    check(tmp_path / "w.pth", content)


@fuzz(40, content=damaged([WHOLE[".safetensors"]]))
def test_a_damaged_safetensors_file(tmp_path, content):
    check(tmp_path / "w.safetensors", content)
