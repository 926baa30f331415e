"""The wheel works away from the checkout: command, console script, recipes, types."""

import os
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(root),
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(folder),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_what_is_in_it(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"biformer_lit/recipes/{n}.yaml" for n in ("digits", "cifar10", "fashion_mnist", "imagenet1k_tiny")}
    recipes |= {f"biformer_lit/recipes/base/{n}.yaml" for n in ("run", "classification", "segmentation", "detection")}
    page = {f"biformer_lit/sweep/report/page.{kind}" for kind in ("html", "css", "js")}
    assert {"biformer_lit/py.typed", "biformer_lit/__main__.py", *recipes, *page} <= names
    assert all(name.startswith(("biformer_lit/", "biformer_lit-")) for name in names)
    metadata = next(n for n in names if n.endswith("entry_points.txt"))
    assert b"biformer-lit = biformer_lit.__main__:run" in zipfile.ZipFile(wheel).read(metadata)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel unpacked by pip into a folder that goes before the checkout."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return folder, os.environ | {"PYTHONPATH": str(folder)}


def run(command, cwd, environment):
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout


def test_it_runs_outside_the_checkout(installed, tmp_path):
    folder, environment = installed
    where = run([sys.executable, "-c", "import biformer_lit; print(biformer_lit.__file__)"], tmp_path, environment)
    assert where.startswith(str(folder))
    said = run([str(folder / "bin/biformer-lit"), "--help"], tmp_path, environment)
    assert "fit" in said
    assert "profile" in said


def test_it_finds_its_recipes(installed, tmp_path):
    _, environment = installed
    command = [sys.executable, "-m", "biformer_lit", "fit", "--config", "digits", "--trainer.fast_dev_run", "true"]
    run([*command, "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"], tmp_path, environment)


@pytest.mark.slow
def test_a_clean_environment(wheel, tmp_path):
    """Installs everything from the registry: several GB."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    run(
        [str(python), "-m", "biformer_lit", "fit", "--config", "digits", "--trainer.fast_dev_run", "true"],
        tmp_path,
        environment,
    )
    run([str(tmp_path / "venv/bin/biformer-lit"), "--help"], tmp_path, environment)
