"""Every command and every Python block of the README runs, in the README's order."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import timm
import torch
from backbone.test_weights import released_names
from PIL import Image

import biformer_lit  # noqa: F401 (registers the models)
from biformer_lit.cli import main

# what makes a command of the README short enough for a test
SHORT = {
    "fit": ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"],
    "test": ["--trainer.limit_test_batches", "1"],
    "predict": ["--trainer.limit_predict_batches", "1"],
    "profile": ["--batch_size", "1"],
    "complexity": ["--sizes", "[224,448]"],
    "convert": [],
    "visualize": [],
    "sweep": [],
}
SHORT_STUDY = ["--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"]
FEW_SCENES = ["--data.scenes.train", "16", "--data.scenes.validation", "8", "--data.scenes.test", "8"]
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--data.num_workers", "0"]


def blocks(root, language):
    return re.findall(rf"```{language}\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)


def commands(root):
    lines = [line for block in blocks(root, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


@pytest.fixture(scope="module")
def place(root, tmp_path_factory):
    """A folder with what the README takes for granted: the checkout's files, images, a released checkpoint."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("scripts", "biformer_lit", "lightning_cli.yaml", "pyproject.toml", "README.md", "LICENSE"):
        (folder / name).symlink_to(root / name)
    study = shutil.copytree(root / "sweeps", folder / "sweeps") / "digits" / "topk.yaml"
    text = study.read_text()
    for whole, part in (("seeds: [0, 1]", "seeds: [0]"), (", [4, 8, 16, all], [all, all, all, all]]", "]")):
        assert whole in text
        text = text.replace(whole, part)  # a quarter of its trials
    study.write_text(text)
    noise = np.random.default_rng(0)
    images = folder / "path/to/folder"
    images.mkdir(parents=True)
    for split in ("train", "test"):
        pictures = [Image.fromarray(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(400)]
        table = datasets.Dataset.from_dict({"image": pictures, "label": [i % 10 for i in range(400)]})
        table = table.cast_column("image", datasets.Image())
        table.cast_column("label", datasets.ClassLabel(num_classes=10)).to_parquet(str(images / f"{split}.parquet"))
    Image.fromarray(noise.integers(0, 256, (36, 48, 3), dtype=np.uint8)).save(folder / "photo.jpg")
    torch.save(
        {"model": released_names(timm.create_model("biformer_tiny").state_dict())}, folder / "biformer_tiny_best.pth"
    )
    return folder


@pytest.fixture(scope="module")
def prepared(place):
    """A virtual environment that the scripts take for theirs: this one, but that mypy is only noted down."""
    venv = place / "venv"
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin/python"
    python.write_text(
        f'#!/bin/sh\necho "$@" >> "{venv}/ran.txt"\n[ "$2" = mypy ] && exit 0\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    for stamp in (".installed-", ".installed-test"):
        shutil.copy(place / "pyproject.toml", venv / stamp)
    return os.environ | {"VENV": str(venv)}


def test_every_command_is_known(root):
    kinds = {tuple(c[:3]) if c[0] == "python" else (c[0],) for c in commands(root)}
    assert kinds == {
        ("./scripts/demo",), ("./scripts/test",), ("pip",), ("tensorboard",), ("python", "-m", "biformer_lit"),
    }  # fmt: skip


def test_the_training_commands_in_order(root, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    ran = [c[3:] for c in commands(root) if c[0] == "python"]
    assert len(ran) >= 9
    for command in ran:
        if "--print_config" in command:
            with pytest.raises(SystemExit) as done:
                main(command)
            assert done.value.code == 0
            continue
        more = SHORT[command[0]] + (QUIET if command[0] in ("fit", "test", "predict") else [])
        if any("digit_scenes" in word for word in command):
            more = [*more, *FEW_SCENES]
        if command[:2] == ["sweep", "run"]:
            more = SHORT_STUDY
        if "--ckpt_path" in command and command[0] == "fit":  # goes on after the epochs the test has trained
            more = [*more[:1], "3", *more[2:]]
        main([*command, *more])
    assert (place / "biformer_tiny.safetensors").is_file()
    assert list(place.glob("runs/cifar10/version_*/predictions.csv"))
    assert (place / "routing/contact_sheet.png").is_file()
    assert (place / "runs/sweeps/topk_digits/results.csv").is_file()
    assert (place / "runs/sweeps/topk_digits/report/report.html").is_file()
    said = capsys.readouterr().out
    assert "13,142,760" in said
    assert "2 of 2 complete" in said


def test_tensorboard_reads_the_runs(place):
    assert (place / "runs").is_dir(), "the training commands run first"
    command = [sys.executable, "-m", "tensorboard.main", "--inspect", "--logdir", "runs/digits/version_0"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    assert "val/acc1" in done.stdout


def test_the_python_block(root, place, monkeypatch):
    monkeypatch.chdir(place)
    (block,) = blocks(root, "python")
    names = {}
    exec(block, names)  # noqa: S102
    maps = names["backbone"](torch.zeros(1, 3, 256, 256))
    assert [m.shape[1] for m in maps] == [64, 128, 256, 512]


def test_the_demo(place, prepared):
    done = subprocess.run(
        ["./scripts/demo", *SHORT["fit"], *QUIET], cwd=place, env=prepared, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Installing" not in done.stdout  # it was, before
    assert "val/acc1" in done.stdout
    assert "tensorboard --logdir" in done.stdout


def test_the_test_script(root, prepared):
    command = ["./scripts/test", "--collect-only", "-q", "tests/test_seeding.py"]
    done = subprocess.run(command, cwd=root, env=prepared, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_local_seed" in done.stdout
    ran = Path(prepared["VENV"], "ran.txt").read_text().splitlines()
    checks = ["-m ruff format --check --quiet .", "-m ruff check --quiet .", "-m mypy --no-error-summary"]
    assert [line for line in ran if "pytest" not in line][-3:] == checks


def test_pip_understands_the_extra(root):
    (command,) = [c for c in commands(root) if c[0] == "pip"]
    options = ["--dry-run", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([sys.executable, "-m", *command, *options], cwd=root, check=True, capture_output=True)


def test_scripts_say_what_they_need(place, tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    environment = os.environ | {"VENV": str(tmp_path / "venv"), "PYTHON": str(old)}
    done = subprocess.run(["./scripts/demo"], cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: Python 3.10 or newer is needed; set PYTHON=python3.12, for example\n"


def test_links_lead_somewhere(root):
    for page in [root / "README.md", *root.glob("docs/*.md"), root / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
