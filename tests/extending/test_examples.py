"""The examples as their users use them: in help, training, checkpoints, studies and reports."""

import hashlib
import json
import sys

import pandas as pd
import pytest
import torch
from PIL import Image

from biformer_lit import CheckpointError, load_plugin, load_task
from biformer_lit.cli import main
from biformer_lit.extending import plugin_loading
from biformer_lit.sweep.trials.study_plugins import read_plugins

EXAMPLES = ["routing_hashing", "attention_halves"]


@pytest.fixture
def rule(root):
    return root / "examples/routing_hashing.py"


@pytest.fixture
def trained(rule, root, tmp_path, monkeypatch, capsys):
    """A checkpoint of a network that routes by the rule of the example; afterwards nothing is loaded."""
    monkeypatch.chdir(tmp_path)
    config = ["--config", str(root / "tests/configs/tiny.yaml"), "--model.backbone.routing", "hashing"]
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--monitoring=false"]
    main(["fit", *config, *short, "--model.backbone.hash_bits", "4", "--plugin", str(rule)])
    restart()
    capsys.readouterr()
    return tmp_path / "runs/tiny/version_0/checkpoints/last.ckpt"


def restart():
    """As another process begins: nothing is loaded, and nothing but the package's own is registered."""
    for name in plugin_loading._plugins:
        plugin_loading.Registry._forget(name)
        sys.modules.pop(name, None)
    plugin_loading._plugins.clear()


def test_the_help_lists_its_names_and_settings(rule, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["profile", "--plugin", str(rule), "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--backbone.hash_bits" in said
    assert "hashing" in said


def test_profile_counts_it(rule, capsys):
    main(["profile", "--plugin", str(rule), "--backbone.routing", "hashing", "--size", "64", "--measure", "false"])
    assert "MACs" in capsys.readouterr().out


def test_its_settings_are_checked(rule, root, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "digits", "--plugin", str(rule), "--model.backbone.hash_bits", "many"])
    assert "hash_bits: 'many' is not allowed" in capsys.readouterr().err


def test_the_checkpoint_names_it(trained, rule):
    (named,) = torch.load(trained, weights_only=True)["plugins"]
    assert named == {
        "name": "routing_hashing",
        "label": "routing_hashing.py",
        "digest": hashlib.sha256(rule.read_bytes()).hexdigest(),
        "uses": [["routing rule", "hashing"]],
    }


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_the_checkpoint_asks_for_it(trained, root, command):
    config = ["--config", str(root / "tests/configs/tiny.yaml")]
    asks = (
        r"last.ckpt: needs the plug-in routing_hashing.py for routing rule 'hashing': give --plugin routing_hashing.py"
    )
    with pytest.raises(CheckpointError, match=asks):
        main([command, *config, "--ckpt_path", str(trained)])


def test_the_checkpoint_asks_for_it_in_python_and_where_it_is_drawn(trained, rule, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    draw = ["visualize", "--checkpoint", str(trained), "--image", str(tmp_path / "photo.png"), "--out"]
    with pytest.raises(CheckpointError, match="needs the plug-in"):
        main([*draw, str(tmp_path / "without")])
    with pytest.raises(CheckpointError, match="needs the plug-in"):
        load_task(trained)
    main([*draw, str(tmp_path / "with"), "--plugin", str(rule)])
    assert list((tmp_path / "with").glob("*.png"))
    assert load_task(trained).backbone.hash_bits == 4


def test_with_it_the_checkpoint_is_used(trained, rule, root):
    config = ["--config", str(root / "tests/configs/tiny.yaml"), "--trainer.logger=false"]
    main(["validate", *config, "--ckpt_path", str(trained), "--plugin", str(rule)])
    main(["fit", *config, "--ckpt_path", str(trained), "--plugin", str(rule), "--trainer.limit_train_batches=1"])


def test_other_source_is_warned_of(trained, rule, tmp_path):
    (tmp_path / rule.name).write_text(rule.read_text() + "# a remark\n")
    load_plugin(tmp_path / rule.name)
    with pytest.warns(UserWarning, match=r"with other source of the plug-in routing_hashing.py"):
        load_task(trained)


def test_its_weights_alone_need_no_plugin_until_they_do_not_fit(trained, root, tmp_path):
    config = ["--config", str(root / "tests/configs/tiny.yaml"), "--trainer.logger=false", "--model.weights"]
    with pytest.raises(
        CheckpointError, match=r"they are from a network with the plug-in routing_hashing.py for routing"
    ):
        main(["validate", *config, str(trained)])
    main(["convert", str(trained), str(tmp_path / "weights.safetensors")])
    with pytest.raises(
        CheckpointError, match=r"they are from a network with the plug-in routing_hashing.py for routing"
    ):
        main(["validate", *config, str(tmp_path / "weights.safetensors")])


def test_a_plugin_that_is_not_used_ties_no_checkpoint(rule, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--monitoring=false"]
    main(["fit", "--config", str(root / "tests/configs/tiny.yaml"), *short, "--plugin", str(rule)])
    assert "plugins" not in torch.load(tmp_path / "runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_plan_of_its_study(root, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = str(root / "examples" / name)
    main(["sweep", "run", f"{example}.yaml", "--plugin", f"{example}.py", "--dry-run"])
    said = capsys.readouterr().out
    assert "topk" in said
    assert name.partition("_")[2] in said
    assert "in runs/sweeps/" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_its_study_and_report(root, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = root / "examples" / name
    words = ["sweep", "run", f"{example}.yaml", "--plugin", f"{example}.py", "--workers", "2"]
    main(words)
    folder = tmp_path / "runs/sweeps" / f"{name}_digits"
    assert (pd.read_csv(folder / "results.csv")["status"] == "complete").all()
    restart()
    main(["sweep", "report", str(folder)])
    digest = hashlib.sha256((root / f"examples/{name}.py").read_bytes()).hexdigest()
    (kept,) = read_plugins(folder)
    assert kept.digest == digest
    page = (folder / "report/report.html").read_text()
    assert digest in page
    assert f"--plugin {name}.py" in page
    assert "class " in page
    for result in folder.glob("cells/*/*/result.json"):
        assert json.loads(result.read_text())["status"] == "complete"
