"""Places to write to are paths, or are refused before anything is built."""

import os
from pathlib import Path

import pytest
from jsonargparse import Namespace

from biformer_lit.cli import main
from biformer_lit.cli.output_paths import check_output_paths
from biformer_lit.errors import ConfigError

FORMS = {
    "root": lambda path: {"default_root_dir": path},
    "save_dir": lambda path: {"logger": Namespace(class_path="x.Logger", init_args=Namespace(save_dir=path))},
    "name": lambda path: {"logger": [Namespace(class_path="L", init_args=Namespace(save_dir="runs", name=path))]},
    "dirpath": lambda path: {"callbacks": [Namespace(class_path="C", init_args=Namespace(dirpath=path))]},
    "profiler": lambda path: {"profiler": Namespace(class_path="P", init_args=Namespace(dirpath=path, filename=None))},
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a_file").write_text("x")
    Path("dangling").symlink_to("nowhere")


def settings(**trainer):
    return Namespace(trainer=Namespace(**trainer))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a::b", "would be read as an address"),
        ("x" * 256, "name of more than 255 bytes"),
        ("ä" * 128, "name of more than 255 bytes"),
        ("x/" * 2000, "is longer than"),
        ("a\0b", "character of number 0"),
    ],
)
def test_what_is_no_path(form, path, message):
    with pytest.raises(ConfigError, match=rf"trainer\.\S+=.*{message}"):
        check_output_paths(settings(**FORMS[form](path)))


@pytest.mark.parametrize("form", ["root", "save_dir", "dirpath", "profiler"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file:runs", "would be read as an address"),
        ("file:///tmp/x", "would be read as an address"),
        ("local://x", "would be read as an address"),
        ("memory://x", "would be read as an address"),
        ("http://host/x", "would be read as an address"),
        ("simplecache::s3://x", "would be read as an address"),
        ("s3://a::file://b", "would be read as an address"),
        ("a_file", r"a_file is a file, where a folder is to be"),
        ("a_file/runs/x", r"a_file is a file, where a folder is to be"),
        ("dangling/x", r"dangling is a link to nothing"),
    ],
)
def test_what_is_no_folder(form, path, message):
    with pytest.raises(ConfigError, match=message):
        check_output_paths(settings(**FORMS[form](path)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "path", ["runs", "runs/12:30", "a:b", "a b [1]*", "x" * 255, "ä" * 127, ".", "new/folders/here"]
)
def test_what_is_a_path(form, path):
    check_output_paths(settings(**FORMS[form](path)))


def test_folders_elsewhere_are_lightning_s():
    check_output_paths(settings(default_root_dir="s3://bucket/runs", logger=True, callbacks=None))


def test_a_folder_that_may_not_be_written_to(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked")
    Path("locked").mkdir()
    with pytest.raises(ConfigError, match=r"locked may not be written to"):
        check_output_paths(settings(default_root_dir="locked/runs"))


@pytest.mark.parametrize(("name", "message"), [("a::b", "read as an address"), ("x" * 251, "more than 255 bytes")])
def test_names_of_checkpoints(name, message):
    with pytest.raises(ConfigError, match=message):
        check_output_paths(settings(callbacks=[Namespace(class_path="C", init_args=Namespace(filename=name))]))


@pytest.mark.parametrize("path", ["a::b.csv", "file:p.csv", "a_file/p.csv", "x" * 300])
def test_places_of_predictions(path):
    with pytest.raises(ConfigError, match=r"predictions\.path="):
        check_output_paths(Namespace(trainer=None, predictions=Namespace(path=path)))
    check_output_paths(Namespace(trainer=None, predictions=Namespace(path="a_file")))  # said by who writes there


def test_a_working_folder_that_is_read_as_an_address(monkeypatch):
    Path("a::b").mkdir()
    monkeypatch.chdir("a::b")
    with pytest.raises(ConfigError, match=r"the working folder=.*a::b would be read"):
        check_output_paths(settings())


@pytest.mark.parametrize(
    "given",
    [["--trainer.logger.init_args.save_dir", "a_file"], ["--ckpt_path", "file:x.ckpt"], ["--ckpt_path", "a::b"]],
)
def test_the_command_line_looks(root, given):
    with pytest.raises(ConfigError, match=r"cannot be made|read as an address"):
        main(["fit", "--config", str(root / "tests/configs/tiny.yaml"), *given])
    assert not Path("runs").exists()


def test_a_checkpoint_of_that_name_where_one_is_is_in_nobodys_way():
    Path("best.ckpt").write_text("x")
    callback = Namespace(class_path="C", init_args=Namespace(dirpath=None, filename="best"))
    check_output_paths(settings(callbacks=[callback]))
