"""Files and modules as plug-ins: what they register, what they are called, and what is said of those that fail."""

import hashlib
import os
import pickle
import py_compile
import subprocess
import sys

import pytest

from biformer_lit import ConfigError, load_plugin
from biformer_lit.extending import given_plugins, loaded_plugins
from biformer_lit.extending.plugin_source import digest_of

IDEA = "from shelf import THINGS\n\nclass Idea:\n    pass\n\nTHINGS.register('idea', Idea)\n"


@pytest.fixture
def idea(tmp_path, things):
    path = tmp_path / "my_idea.py"
    path.write_text(IDEA)
    return path


@pytest.fixture
def package(tmp_path, things):
    """A package whose module registers something, with the folder that it lies in on the path."""
    folder = tmp_path / "ideas"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "pattern.py").write_text(
        "from shelf import THINGS\nfrom ideas.help import NAME\nTHINGS.register(NAME, 1)\n"
    )
    (folder / "help.py").write_text("NAME = 'from_package'\n")
    (folder / "inner/more.py").write_text("")
    sys.path.insert(0, str(tmp_path))
    return folder


def test_a_file_registers_and_becomes_a_module(idea, things):
    plugin = load_plugin(idea)
    assert things.plugin_of("idea") == "my_idea"
    assert pickle.loads(pickle.dumps(things["idea"])) is things["idea"]  # noqa: S301
    assert plugin.name == "my_idea"
    assert plugin.label == "my_idea.py"
    assert plugin.argument == str(idea)
    assert given_plugins() == [plugin]


def test_the_digest_of_a_file_is_what_sha256sum_prints(idea):
    assert load_plugin(idea).digest == hashlib.sha256(idea.read_bytes()).hexdigest()


def test_a_file_is_run_once(idea, things):
    assert load_plugin(idea) is load_plugin(str(idea))
    assert len(things) == 1


def test_a_file_that_changed_is_not_run_again(idea):
    load_plugin(idea)
    idea.write_text(IDEA + "x = 1\n")
    with pytest.raises(ConfigError, match="has changed since it was loaded; restart Python"):
        load_plugin(idea)


def test_what_is_run_is_the_source_and_no_bytecode_of_an_older_one(idea, things):
    """Python itself takes bytecode for current if size and time of the file are the same."""
    when = idea.stat().st_mtime
    py_compile.compile(str(idea))
    idea.write_text(IDEA.replace("'idea'", "'deal'"))
    os.utime(idea, (when, when))
    load_plugin(idea)
    assert list(things) == ["deal"]


def test_a_module_of_a_package(package, things):
    plugin = load_plugin("ideas.pattern")
    assert things.plugin_of("from_package") == "ideas.pattern"
    assert plugin.argument == plugin.label == "ideas.pattern"
    assert sorted(plugin.files) == ["ideas/__init__.py", "ideas/help.py", "ideas/inner/more.py", "ideas/pattern.py"]


def test_the_digest_of_a_package_is_what_sha256sum_prints(package):
    command = "find ideas -name '*.py' | LC_ALL=C sort | xargs sha256sum"
    listed = subprocess.run(["sh", "-c", command], cwd=package.parent, capture_output=True, check=True).stdout
    assert load_plugin("ideas.pattern").digest == hashlib.sha256(listed).hexdigest()


def test_a_digest_changes_with_any_file_and_its_name():
    files = {"a.py": b"1", "b.py": b"2"}
    others = [{"a.py": b"1", "b.py": b"3"}, {"a.py": b"1", "c.py": b"2"}, {"a.py": b"1"}, {"a.py": b"2", "b.py": b"1"}]
    assert len({digest_of(one) for one in [files, *others]}) == 5


def test_a_module_without_a_package(tmp_path, things):
    (tmp_path / "single.py").write_text(IDEA)
    (tmp_path / "other.py").write_text("")
    sys.path.insert(0, str(tmp_path))
    assert list(load_plugin("single").files) == ["single.py"]


def test_one_that_registers_nothing(tmp_path):
    (tmp_path / "idle.py").write_text("x = 1\n")
    with pytest.warns(UserWarning, match=r"plug-in idle.py: registers nothing"):
        load_plugin(tmp_path / "idle.py")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import os\nraise KeyError('x')", r"line 2: KeyError: 'x'"),
        ("\n\ndef f(:\n", r"line 3: not Python \(invalid syntax\)"),
        ("x = '\0'", "not Python"),
        ("x = '\xe4'", "not Python"),
        ("import no_such_sibling", r"line 1: ModuleNotFoundError: No module named 'no_such_sibling'; .*stands alone"),
        ("from . import sibling", "line 1: ImportError: attempted relative import"),
        ("import sys\nsys.exit(0)", "line 2: SystemExit: 0"),
        ("def f():\n    raise ValueError('a\\nb')\n\nf()", "line 2: ValueError: a b$"),
        (
            "from shelf import THINGS\nTHINGS.register('taken', 1)",
            "line 2: thing 'taken': is registered already; choose",
        ),
    ],
)
def test_one_that_fails_is_told_in_one_line(tmp_path, things, source, message):
    things.register("taken", 0)
    path = tmp_path / "broken.py"
    path.write_bytes(source.encode("latin1"))
    with pytest.raises(ConfigError, match=rf"^plug-in {path}: .*{message}") as caught:
        load_plugin(path)
    assert "\n" not in str(caught.value)
    assert "broken" not in sys.modules
    assert not loaded_plugins()


def test_what_a_failed_one_registered_is_taken_back(idea, things):
    idea.write_text(IDEA + "oops\n")
    with pytest.raises(ConfigError, match="line 7: NameError: name 'oops' is not defined"):
        load_plugin(idea)
    assert not things
    idea.write_text(IDEA)
    load_plugin(idea)
    assert list(things) == ["idea"]


def test_a_name_that_another_plugin_has(idea, tmp_path, things):
    load_plugin(idea)
    (tmp_path / "second.py").write_text(IDEA)
    with pytest.raises(ConfigError, match=r"'idea': is registered already by the plug-in my_idea; choose another"):
        load_plugin(tmp_path / "second.py")
    assert things.plugin_of("idea") == "my_idea"


@pytest.mark.parametrize("name", ["random", "torch", "sys", "biformer_lit", "timm"])
def test_no_file_takes_the_name_of_an_installed_module(tmp_path, name):
    (tmp_path / f"{name}.py").write_text(IDEA)
    before = sys.modules.get(name)
    with pytest.raises(ConfigError, match=rf"{name} is the name of another module \(.*\); rename the file"):
        load_plugin(tmp_path / f"{name}.py")
    assert sys.modules.get(name) is before


def test_a_file_in_the_working_folder_is_no_other_module(idea, things):
    sys.path.insert(0, str(idea.parent))
    load_plugin(idea)
    assert list(things) == ["idea"]


def test_a_folder_of_its_name_is_no_other_module(idea, things):
    (idea.parent / "my_idea").mkdir()
    sys.path.insert(0, str(idea.parent))
    load_plugin(idea)
    assert list(things) == ["idea"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.py", "plug-in nowhere.py: No such file or directory; check the path"),
        ("folder/", "plug-in folder: is a folder; give a .py file"),
        ("./folder/x.txt", "plug-in folder/x.txt: is not a Python file"),
        ("a/folder", "plug-in a/folder: is a folder; give a .py file, or a package by its import path"),
        ("my-idea.py", r"'my-idea' cannot be the name of a module"),
        ("there.py.is", "there is no module there; check its name, and that it is installed"),
        ("idea_file", "there is no module idea_file; a file is given with its suffix: idea_file.py"),
        ("no such", "plug-in no such: is neither a Python file nor the import path of a module"),
        ("ideas.nothing", r"there is no module ideas.nothing"),
        ("nested.one", "nested lies in the working folder, where this program does not look for modules"),
    ],
)
def test_one_that_is_not_there(tmp_path, package, monkeypatch, given, message):
    place = tmp_path / "work"
    for folder in ("folder", "a/folder", "nested"):
        (place / folder).mkdir(parents=True)
    for name in ("folder/x.txt", "my-idea.py", "idea_file.py", "nested/one.py"):
        (place / name).write_text("")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with pytest.raises(ConfigError, match=message):
        load_plugin(given)


def test_an_error_within_a_package_is_told_with_its_file(package):
    (package / "help.py").write_text("\n1 / 0\n")
    with pytest.raises(ConfigError, match=r"^plug-in ideas.pattern: help.py, line 2: ZeroDivisionError: division by"):
        load_plugin("ideas.pattern")
