"""One reader of files of weights: what it says of them, and that nobody else opens them."""

import ast

import pytest
import torch
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from PIL import Image
from safetensors.torch import save_file

from biformer_lit import Backbone, ClassificationTask, convert_checkpoint, load_task, load_weights
from biformer_lit.checkpoints import saved_weights
from biformer_lit.checkpoints.saved_weights import SavedWeights, read_weights
from biformer_lit.cli.from_checkpoint import with_settings_of
from biformer_lit.data import ClassificationDataModule
from biformer_lit.errors import CheckpointError
from biformer_lit.routing.visualize import visualize
from biformer_lit.tasks.restore import restore

SETTINGS = {"_class_path": "biformer_lit.ClassificationTask", "num_classes": 2}
PLUGINS = [{"name": "my_pattern", "digest": "ab" * 32}]
SMALL = {"depths": (1,), "dims": (32,), "attention": "bra", "topk": 1}
OPENERS = {"torch.load", "load_file", "safe_open", "pickle.load", "torch.serialization.load"}


def save(path, **entries):
    run = {"state_dict": {"net.head.weight": torch.ones(2, 3)}, "hyper_parameters": SETTINGS, "epoch": 1}
    torch.save(run | entries, path)
    return path


def called(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_nobody_else_opens_a_file_of_weights(root):
    package = root / "biformer_lit"
    opening = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if OPENERS & {*called(path)}}
    assert opening == {"checkpoints/file_contents.py"}


def test_what_a_run_s_checkpoint_says(tmp_path):
    path = save(tmp_path / "a.ckpt", class_names=["cat", "dog"], preprocessing={"image_size": 32}, plugins=PLUGINS)
    saved = read_weights(path)
    origin = saved.origin
    assert (origin.source, origin.class_names, origin.num_classes) == (str(path), ("cat", "dog"), 2)
    assert origin.preprocessing == {"image_size": 32}
    assert saved.said["plugins"] == PLUGINS
    assert origin.is_run
    assert saved.made_by == "biformer_lit.ClassificationTask"
    assert saved.settings == SETTINGS
    assert saved.shapes == {"net.head.weight": (2, 3)}
    assert saved.count_outputs() == 2
    tensors, description = saved.weights()
    assert [*tensors] == ["head.weight"]
    assert description == "the raw weights"
    with pytest.raises(CheckpointError, match=r"a\.ckpt: was saved without the optimiser's state"):
        saved.check_resumable()


def test_a_safetensors_file_keeps_what_was_said(tmp_path):
    said = {"class_names": ["cat", "dog"], "preprocessing": {"image_size": 32}, "plugins": PLUGINS}
    convert_checkpoint(save(tmp_path / "a.ckpt", **said), tmp_path / "b.safetensors")
    convert_checkpoint(tmp_path / "b.safetensors", tmp_path / "c.safetensors")
    for name in ("b", "c"):
        saved = read_weights(tmp_path / f"{name}.safetensors")
        assert saved.origin.class_names == ("cat", "dog")
        assert saved.origin.preprocessing == {"image_size": 32}
        assert saved.said["plugins"] == PLUGINS
        assert not saved.origin.is_run
        with pytest.raises(CheckpointError, match="is not a checkpoint of a training run"):
            assert saved.made_by


def test_metadata_of_other_programs_says_nothing(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", metadata={"format": "pt", "class_names": "{"})
    assert read_weights(tmp_path / "a.safetensors").origin.class_names == ()


def test_a_plugin_that_is_not_loaded_is_asked_for(tmp_path):
    saved = read_weights(save(tmp_path / "a.ckpt", plugins=PLUGINS, optimizer_states=[]))
    for refuse in (lambda: load_task(tmp_path / "a.ckpt"), lambda: restore(ClassificationTask, saved)):
        with pytest.raises(CheckpointError, match=r"a\.ckpt: .*my_pattern"):
            refuse()
    config = Namespace(subcommand="fit", fit=Namespace())
    with pytest.raises(CheckpointError, match=r"a\.ckpt: .*my_pattern"):
        with_settings_of(None, config, saved)  # asks before it parses anything


def test_weights_are_loaded_whatever_else_a_file_says():
    net = Backbone(**SMALL).build(2)
    contents = {"model": net.state_dict(), "class_names": {0: "cat"}}
    assert load_weights(net, contents).fresh == ()
    assert load_weights(net, SavedWeights(contents)).fresh == ()
    with pytest.raises(CheckpointError, match="its class_names are no list of names"):
        assert SavedWeights(contents, "a.pth").origin


@pytest.fixture
def openings(monkeypatch):
    """Files of weights in the order in which they are opened."""
    found = []
    usual = saved_weights.read_contents

    def noted(path, **options):
        found.append(str(path))
        return usual(path, **options)

    monkeypatch.setattr(saved_weights, "read_contents", noted)
    return found


def test_visualize_opens_its_checkpoint_once(tmp_path, openings):
    Image.new("RGB", (32, 32), "gray").save(tmp_path / "photo.png")
    torch.save(Backbone(**SMALL).build(2).state_dict(), tmp_path / "a.pth")
    checkpoint, photo = str(tmp_path / "a.pth"), str(tmp_path / "photo.png")
    visualize(checkpoint, photo, str(tmp_path / "out"), size=32, backbone=Backbone(**SMALL))
    assert openings == [checkpoint]


def test_a_task_opens_its_weights_once(tmp_path, openings):
    torch.save(Backbone(**SMALL).build(10).state_dict(), tmp_path / "a.pth")
    task = ClassificationTask(Backbone(**SMALL), weights=str(tmp_path / "a.pth"))
    data = ClassificationDataModule(dataset="digits", image_size=32, batch_size=4, num_workers=0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(default_root_dir=tmp_path, fast_dev_run=1, accelerator="cpu", **quiet).fit(task, data)
    assert openings == [task.weights]


def test_the_old_word_for_averaged_weights():
    contents = {"model": {"a": torch.zeros(1)}, "model_ema": {"a": torch.ones(1)}}
    with pytest.warns(FutureWarning, match=r"'ema' as a copy \(weights_copy\) will be refused .*; write 'average'"):
        old = SavedWeights(contents).weights("ema")
    assert old == SavedWeights(contents).weights("average") == ({"a": torch.ones(1)}, old[1])
    assert old[1] == "the average weights (the file has raw weights too)"
