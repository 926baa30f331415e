"""Configs and checkpoints with the flat settings of earlier versions: they load, and compute what they computed."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from biformer_lit import ClassificationTask, convert_checkpoint, load_task, load_weights
from biformer_lit.cli import main

FLAT = Path(__file__).parent / "fixtures/flat_settings"
KINDS = ["routed", "patterns", "segmentation", "detection"]


def read_outputs(task):
    """Some numbers that the network of a task makes of two fixed images."""
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 64))
    images = torch.tensor(images, dtype=torch.float32)
    task.eval()
    with torch.no_grad():
        if task.kind == "detection":
            found = task(images, [(64, 64), (48, 60)])
            return {name: torch.cat([one[name][:5] for one in found]).tolist() for name in ("boxes", "scores")}
        logits = task(images)
    return {"logits": logits.tolist()} if logits.ndim == 2 else {"logits": logits[:, :4, ::16, ::16].tolist()}


def run_test(kind):
    """The figures of ``test`` with the config and the checkpoint of a folder, as a user would call it."""
    quiet = ["--trainer.callbacks", "[]", "--trainer.enable_checkpointing", "false"]
    folder = FLAT / kind
    ran = main(["test", "--config", str(folder / "config.yaml"), "--ckpt_path", str(folder / "best.ckpt"), *quiet])
    return {name: float(value) for name, value in ran.trainer.callback_metrics.items()}


@pytest.fixture(scope="module")
def expected():
    return json.loads((FLAT / "expected.json").read_text())


@pytest.fixture
def here(root, tmp_path, monkeypatch):
    """A folder with the images that the classifiers know."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(root / "tests/fixtures/v0_1/make_pets.py"))["make_pets"]("pets", train=2, test=6)


def approx(values):
    return pytest.approx(np.array(values), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_computes_what_it_computed(kind, expected):
    outputs = read_outputs(load_task(FLAT / kind / "best.ckpt"))
    assert outputs.keys() == expected[kind]["outputs"].keys()
    for name, values in outputs.items():
        assert np.array(values) == approx(expected[kind]["outputs"][name])


@pytest.mark.filterwarnings("ignore:--ckpt_path brings")
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", KINDS)
def test_a_config_and_its_checkpoint_give_the_same_figures(kind, expected):
    figures = run_test(kind)
    assert figures.keys() == expected[kind]["figures"].keys()
    for name, value in figures.items():
        assert value == pytest.approx(expected[kind]["figures"][name], rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize("kind", ["routed", "patterns"])
def test_its_weights_go_through_safetensors(kind, tmp_path, expected):
    convert_checkpoint(FLAT / kind / "best.ckpt", tmp_path / "best.safetensors")
    known = torch.load(FLAT / kind / "best.ckpt", weights_only=True)["hyper_parameters"]
    task = ClassificationTask(known["backbone"], num_classes=3)
    task.configure_model()
    load_weights(task.net, tmp_path / "best.safetensors")
    assert np.array(read_outputs(task)["logits"]) == approx(expected[kind]["outputs"]["logits"])
