"""Configs that extend a recipe or another config: what comes out, what is refused, and that no recipe has changed."""

import json
import re

import pytest
import yaml

from biformer_lit.cli import main, parse_fit
from biformer_lit.errors import ConfigError
from biformer_lit.recipes import read_config, recipes


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a config into the working folder; returns its path as text."""
    monkeypatch.chdir(tmp_path)

    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return written


def test_no_recipe_has_changed_since_recipes_extend_each_other(root):
    before = json.loads((root / "tests/fixtures/recipes.json").read_text())  # without settings that repeat a default
    for name, settings in before.items():
        now = read_config(str(recipes()[name]))
        assert {key: now[key] for key in settings} == settings, name
        assert now.keys() <= {*settings, "seed_everything"}


def test_a_recipe_is_extended(write):
    text = """
    extends: digits
    model:
      init_args:
        backbone: {topk: [2, 2, 2, all]}
        optim: {lr: 1e-3}
    data:
      init_args:
        augmentation: {crop: null}
    """
    given, plain = parse_fit(["--config", write("mine.yaml", text)]), parse_fit(["--config", "digits"])
    assert given["model"]["init_args"]["backbone"]["topk"] == [2, 2, 2, "all"]
    assert given["model"]["init_args"]["optim"]["lr"] == 0.001
    assert given["data"]["init_args"]["augmentation"]["crop"] is None
    given["model"]["init_args"]["backbone"]["topk"] = [1, 4, 16, "all"]
    given["model"]["init_args"]["optim"]["lr"] = 0.002
    given["data"]["init_args"]["augmentation"]["crop"] = "padded"
    assert given == plain


def test_files_extend_files_beside_them(write):
    write("deep/first.yaml", "extends: cifar10\nseed_everything: 3\ntrainer: {max_epochs: 5}\n")
    write("deep/digits", "extends: first.yaml\ntrainer: {max_epochs: 6}\n")  # a file goes before a recipe of its name
    last = write("last.yaml", "extends: deep/digits\nmodel: {init_args: {label_smoothing: 0}}\n")
    config = parse_fit(["--config", last])
    assert (config["seed_everything"], config["trainer"]["max_epochs"]) == (3, 6)
    assert config["model"]["init_args"]["label_smoothing"] == 0


def test_files_given_later_and_options_go_over_it(write):
    mine = write("mine.yaml", "extends: digits\ntrainer: {max_epochs: 5}\ndata: {init_args: {batch_size: 8}}\n")
    other = write("other.yaml", "trainer: {max_epochs: 7}\n")
    config = parse_fit(["--config", mine, "--config", other, "--data.num_workers", "0"])
    assert config["trainer"]["max_epochs"] == 7
    assert (config["data"]["init_args"]["batch_size"], config["data"]["init_args"]["num_workers"]) == (8, 0)


def test_lists_are_replaced_or_lengthened(write):
    timer = "{class_path: lightning.pytorch.callbacks.Timer}"
    kinds = {}
    for key in ("callbacks", "callbacks+", "+callbacks"):
        path = write("mine.yaml", f"extends: digits\ntrainer:\n  {key}:\n    - {timer}\n")
        callbacks = parse_fit(["--config", path])["trainer"]["callbacks"]
        kinds[key] = [one["class_path"].rpartition(".")[2] for one in callbacks]
    digits = ["EMA", "ModelCheckpoint", "ModelCheckpoint"]
    assert kinds == {"callbacks": ["Timer"], "callbacks+": [*digits, "Timer"], "+callbacks": ["Timer", *digits]}


def test_another_class_brings_its_own_settings(write):
    logger = "{class_path: CSVLogger, init_args: {save_dir: elsewhere}}"
    mine = write("mine.yaml", f"extends: digits\ntrainer:\n  logger: {logger}\n")
    found = read_config(mine)["trainer"]["logger"]
    assert found == {"class_path": "CSVLogger", "init_args": {"save_dir": "elsewhere"}}
    same = write("same.yaml", "extends: digits\ntrainer: {logger: {class_path: TensorBoardLogger}}\n")
    assert read_config(same)["trainer"]["logger"]["init_args"]["name"] == "digits"


def test_texts_and_numbers_stay_what_they_are(write):
    write("first.yaml", "seed_everything: 1\ndata: {init_args: {dataset: '007', revision: 'off'}}\n")
    config = parse_fit(["--config", "digits", "--config", write("mine.yaml", "extends: first.yaml\n")])
    assert (config["data"]["init_args"]["dataset"], config["data"]["init_args"]["revision"]) == ("007", "off")


def test_print_config_shows_everything(write, capsys):
    mine = write("mine.yaml", "extends: digits\ntrainer: {max_epochs: 5}\n")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", mine, "--print_config"])
    assert not stopped.value.code
    shown = yaml.safe_load(capsys.readouterr().out)
    assert "extends" not in shown
    assert shown["trainer"]["max_epochs"] == 5
    assert shown["model"]["init_args"]["backbone"]["dims"] == [32, 64, 128, 256]
    assert shown["model"]["init_args"]["optim"]["betas"]


def test_a_run_keeps_the_settings_that_it_had(write, root, tmp_path):
    mine = write(
        "mine.yaml", f"extends: {root}/tests/configs/tiny.yaml\nmodel: {{init_args: {{label_smoothing: 0}}}}\n"
    )
    main(["fit", "--config", mine, "--trainer.max_epochs", "1"])
    kept = yaml.safe_load((tmp_path / "runs/tiny/version_0/config.yaml").read_text())
    assert "extends" not in kept
    assert kept["model"]["init_args"]["label_smoothing"] == 0
    assert (
        kept["model"]["init_args"]["backbone"]["dims"]
        == read_config(str(root / "tests/configs/tiny.yaml"))["model"]["init_args"]["backbone"]["dims"]
    )


WRONG = [
    (
        "extends: gone.yaml\n",
        r"extends: 'gone.yaml' is neither a file, relative to this one, nor a recipe; recipes are",
    ),
    ("extends: [digits]\n", r"extends: \['digits'\] is neither a file"),
    ("extends: mine.yaml\n", r"extends: the files extend each other in a circle; remove one"),
    ("extends: there.yaml\n", r"extends: the files extend each other in a circle; remove one"),
    ("extends: list.yaml\n", r"list.yaml: holds a list instead of settings; write"),
    ("extends: broken.yaml\n", r"broken.yaml: line 2: not YAML"),
    ("extends: digits\ntrainer: {+plugins: [a]}\n", r"trainer.\+plugins: .* has no trainer.plugins; write plugins"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text.strip() for text, _ in WRONG])
def test_everything_wrong_is_one_clear_line(text, message, write):
    write("list.yaml", "- a\n")
    write("broken.yaml", "a: [1\n")
    write("there.yaml", "extends: mine.yaml\n")
    with pytest.raises(ConfigError, match=message) as caught:
        parse_fit(["--config", write("mine.yaml", text)])
    assert str(caught.value).startswith("--config ")
    assert "\n" not in str(caught.value)


def test_a_setting_that_does_not_exist_is_named(write):
    with pytest.raises(ConfigError, match=r"trainer\.max_epoch: there is no such setting"):
        parse_fit(["--config", write("mine.yaml", "extends: digits\ntrainer: {max_epoch: 5}\n")])


def test_the_example_of_the_documentation(write, root):
    (block,) = re.findall(r"```yaml\n(# mine.yaml.*?)```", (root / "docs/training.md").read_text(), re.DOTALL)
    config = parse_fit(["--config", write("mine.yaml", block)])
    assert config["data"]["init_args"]["dataset"] == "path/to/folder"
    assert [one["class_path"].rpartition(".")[2] for one in config["trainer"]["callbacks"]][-1] == "Timer"
    assert len(config["trainer"]["callbacks"]) == 4
