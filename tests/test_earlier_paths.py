"""Import paths of version 0.1, which stand in configs, checkpoints and scripts, lead to what has moved."""

import importlib

import pytest

import biformer_lit
from biformer_lit.cli import parse_fit
from biformer_lit.tasks.saved_task import known_task

KINDS = ["classification", "segmentation", "detection"]


@pytest.mark.parametrize("kind", KINDS)
def test_modules_are_found(kind):
    task, data = (importlib.import_module(f"biformer_lit.{room}.{kind}") for room in ("tasks", "data"))
    name = kind.capitalize()
    assert getattr(task, f"{name}Task") is getattr(biformer_lit, f"{name}Task")
    assert getattr(data, f"{name}DataModule") is getattr(biformer_lit, f"{name}DataModule")


@pytest.mark.parametrize("kind", KINDS)
def test_configs_may_name_them(kind):
    name = kind.capitalize()
    named = ("--model", f"biformer_lit.tasks.{kind}.{name}Task", "--data", f"biformer_lit.data.{kind}.{name}DataModule")
    config = parse_fit(named)
    assert config["model"]["class_path"].endswith(f".{name}Task")
    assert known_task(config["model"]["class_path"]) is getattr(biformer_lit, f"{name}Task")
    short = parse_fit(["--model", f"{name}Task", "--data", f"{name}DataModule"])
    assert short["model"]["init_args"] == config["model"]["init_args"]


@pytest.mark.parametrize("room", ["tasks", "data", "callbacks"])
def test_packages_offer_what_they_offered(room):
    package = importlib.import_module(f"biformer_lit.{room}")
    assert all(getattr(package, name).__name__ == name for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match=f"module 'biformer_lit.{room}' has no attribute 'nothing'"):
        _ = package.nothing


def test_a_checkpoint_names_its_task_by_any_of_them():
    for path in ("biformer_lit.tasks.classification.ClassificationTask", "biformer_lit.ClassificationTask"):
        assert known_task(path) is biformer_lit.ClassificationTask
    for path in ("elsewhere.ClassificationTask", "biformer_lit.tasks.classification.Mixing", "os.system"):
        assert known_task(path) is None
