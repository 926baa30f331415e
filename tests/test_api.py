"""The public names: documented one by one, found where they are promised, and usable as the page says."""

import importlib
import re

import pytest
import torch

import biformer_lit
from biformer_lit.errors import ConfigError


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/api.md").read_text()


def test_the_page_lists_what_is_promised(page):
    documented = re.findall(r"^\| `(\w+)` \| \S.*\. \|$", page, re.MULTILINE)
    assert sorted(documented) == sorted(biformer_lit.__all__)


def test_the_names_for_plug_ins_are_there(page, root):
    documented = re.findall(r"^\| `(\w+)\.(\w+)` \| \S.*\. \|$", page, re.MULTILINE)
    assert len(documented) >= 10
    for room, name in documented:
        assert name in importlib.import_module(f"biformer_lit.{room}").__all__
    used = re.compile(r"from biformer_lit\.(attention|ops) import ([\w, ]+)")
    pages = [*root.glob("examples/*.py"), root / "docs/extending.md", root / "CONTRIBUTING.md"]
    imported = {
        (room, name)
        for path in pages
        for room, names in used.findall(path.read_text())
        for name in re.findall(r"\w+", names)
    }
    assert len(imported) >= 4
    assert imported - {("attention", "BiLevelRoutingAttention")} <= set(documented)


def test_the_example_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    short = "accelerator='cpu', limit_train_batches=2, limit_val_batches=1, limit_test_batches=1, logger=False"
    names = {}
    exec(block.replace('accelerator="cpu"', f"{short}, enable_progress_bar=False"), names)  # noqa: S102
    assert names["data"].batch_size == 32
    assert torch.isfinite(names["trainer"].callback_metrics["test/loss"])


def test_a_recipe_with_other_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {
        "model.backbone.topk": [2, 4, "all", "all"],
        "data.augmentation.rand_augment": None,
        "model.optim.lr": 1e-3,
    }
    task, data = biformer_lit.recipe("digits", settings)
    assert task.backbone.topk == [2, 4, "all", "all"]
    assert task.optim.lr == 0.001
    assert (data.augmentation.rand_augment, data.batch_size) == (None, 64)


@pytest.mark.parametrize("name", ["digit_scenes_segmentation", "digit_scenes_detection"])
def test_recipes_of_every_kind(name):
    task, data = biformer_lit.recipe(name)
    kind = name.rpartition("_")[2].capitalize()
    assert type(task) is getattr(biformer_lit, f"{kind}Task")
    assert type(data) is getattr(biformer_lit, f"{kind}DataModule")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("digitz", {}, "digitz: there is neither such a file nor such a recipe"),
        ("digits", {"model.backbone.topq": 1}, "topq"),
        ("digits", {"data.batch_size": "many"}, "batch_size"),
        ("digits", {"data.augmentation.crop": "round"}, "augmentation.crop: .*round"),
        ("digits", {"trainer.max_epochs": 1}, "trainer.max_epochs: is no setting of the task or the data; give it to"),
    ],
)
def test_what_a_recipe_refuses(name, settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        biformer_lit.recipe(name, settings)
    assert "\n" not in str(caught.value)
