"""``--plugin`` on the command line, and nowhere else."""

import os
import subprocess
import sys

import pytest
import yaml

from biformer_lit import ConfigError
from biformer_lit.cli import main, parse_fit, run
from biformer_lit.extending import loaded_plugins, take_words
from biformer_lit.recipes import read_config
from biformer_lit.running.invocation import is_spawned

IDLE = "from biformer_lit.registry import Registry\nRegistry('thing of the test').register('there', 1)\n"
COUNTING = """
from pathlib import Path
from lightning.pytorch.callbacks import Callback
from biformer_lit.registry import Registry

Registry("thing of the test").register("there", 1)

class Counting(Callback):
    def on_train_end(self, trainer, task):
        Path(f"ran{trainer.global_rank}.txt").write_text("")
"""


@pytest.fixture
def idle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "idle_plugin.py").write_text(IDLE)
    return "idle_plugin.py"


@pytest.fixture
def counting(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ideas").mkdir()
    (tmp_path / "ideas/counting_plugin.py").write_text(COUNTING)
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    short += ["--monitoring=false", "--trainer.logger=false", "--trainer.callbacks=counting_plugin.Counting"]
    return ["--config", str(root / "tests/configs/tiny.yaml"), *short]


@pytest.mark.parametrize(
    ("args", "plugins", "rest"),
    [
        (["fit", "--plugin", "a.py", "--config", "c"], ["a.py"], ["fit", "--config", "c"]),
        (["--plugin=a.py", "fit", "--plugin", "b.c"], ["a.py", "b.c"], ["fit"]),
        (["fit", "--plugins", "a"], [], ["fit", "--plugins", "a"]),
        (["fit", "--x", "--plugin=a=b.py"], ["a=b.py"], ["fit", "--x"]),
        ([], [], []),
    ],
)
def test_the_word_is_taken_from_anywhere(args, plugins, rest):
    assert take_words(args) == (plugins, rest)


@pytest.mark.parametrize("args", [["fit", "--plugin"], ["--plugin=", "fit"], ["--plugin", "--config", "c"]])
def test_the_word_needs_a_value(args):
    with pytest.raises(ConfigError, match="--plugin needs a value; give a Python file or the import path"):
        take_words(args)


@pytest.mark.parametrize(
    "command", ["fit", "validate", "test", "predict", "profile", "complexity", "visualize", "convert", "sweep run"]
)
def test_each_command_that_needs_a_network_takes_it_and_tells_of_it(idle, command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help", "--plugin", idle])
    assert "--plugin" in capsys.readouterr().out
    assert list(loaded_plugins()) == ["idle_plugin"]


@pytest.mark.parametrize("command", ["status", "report", "export", "compare"])
def test_commands_that_look_at_a_study_run_no_code(idle, command):
    with pytest.raises(ConfigError, match="--plugin: only sweep run needs plug-ins; leave it out"):
        main(["sweep", command, "study", "--plugin", idle])
    assert not loaded_plugins()


def test_what_fails_is_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_plugin.py").write_text("import os\n\nraise RuntimeError('not today')\n")
    monkeypatch.setattr(sys, "argv", ["biformer_lit", "fit", "--plugin", "broken_plugin.py"])
    with pytest.raises(SystemExit) as left:
        run()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said == "error: plug-in broken_plugin.py: line 3: RuntimeError: not today\n"


@pytest.mark.parametrize(
    "text", ["plugin: idle_plugin.py", "plugin: [idle_plugin.py]", "fit: {plugin: idle_plugin.py}"]
)
def test_no_config_names_a_plugin(idle, tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    for read in (lambda: main(["fit", "--config", "c.yaml"]), lambda: read_config("c.yaml")):
        with pytest.raises(ConfigError, match=r"c.yaml: plugin: code is run .* give --plugin on the command line"):
            read()
    with pytest.raises(ConfigError, match="plugin: code is run at the word of the person"):
        main(yaml.safe_load(text))
    assert not loaded_plugins()


@pytest.mark.parametrize("words", [["--plugin=idle_plugin.py"], ["--plugin", "idle_plugin.py"]])
def test_what_reads_a_command_line_without_running_it_loads_nothing(idle, words, root):
    """As the settings of a study's cells are read."""
    with pytest.raises(ConfigError, match="plugin"):
        parse_fit(["--config", str(root / "tests/configs/tiny.yaml"), *words])
    assert not loaded_plugins()


def test_the_environment_names_no_plugin(idle, monkeypatch, capsys):
    for name in ("BIFORMER_LIT_PLUGIN", "BIFORMER_LIT_FIT__PLUGIN", "PL_PLUGIN", "PL_FIT__PLUGIN"):
        monkeypatch.setenv(name, idle)
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--help"])
    assert not loaded_plugins()


def test_a_config_may_name_a_class_that_a_plugin_defines(counting, tmp_path):
    """As any importable class of the documented bases."""
    main(["fit", *counting, "--plugin", "ideas/counting_plugin.py"])
    assert (tmp_path / "ran0.txt").exists()


def test_a_plugin_makes_no_other_class_allowed(counting, tmp_path):
    path = tmp_path / "ideas/counting_plugin.py"
    path.write_text(COUNTING.replace("Counting(Callback)", "Counting"))
    with pytest.raises(SystemExit, match="2"):
        main(["fit", *counting, "--plugin", "ideas/counting_plugin.py"])
    assert not (tmp_path / "ran0.txt").exists()


def fit(*arguments, cwd, module=("-m", "biformer_lit")):
    return subprocess.run(
        [sys.executable, *module, "fit", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_each_process_of_a_run_has_it(counting, tmp_path, strategy):
    more = ["--trainer.devices=2", f"--trainer.strategy={strategy}", "--data.batch_size=8"]
    done = fit(*counting, *more, "--plugin", "ideas/counting_plugin.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("ran*")} == {"ran0.txt", "ran1.txt"}


def test_a_module_in_the_working_folder_is_found_as_python_finds_it(tmp_path):
    (tmp_path / "ideas").mkdir()
    (tmp_path / "ideas/idle_plugin.py").write_text(IDLE)
    arguments = ("--plugin", "ideas.idle_plugin", "--help")
    assert fit(*arguments, cwd=tmp_path).returncode == 0
    safe = fit(*arguments, cwd=tmp_path, module=("-P", "-m", "biformer_lit"))
    assert safe.returncode == 2
    assert "ideas lies in the working folder, where this program does not look for modules" in safe.stderr


SPAWN = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=6, pipe_handle=8)"
FORK = "from multiprocessing.forkserver import main; main(7, 8, [], **{})"


@pytest.mark.parametrize(
    ("interpreter", "argv", "spawned"),
    [
        (["python", "-c", SPAWN, "--multiprocessing-fork"], ["{package}/__main__.py", "fit"], True),
        (["python", "-c", FORK], ["{package}/__main__.py", "fit"], True),
        (["python", "-c", SPAWN, "--multiprocessing-fork"], ["/venv/bin/biformer-lit", "fit"], True),
        (["python", "-c", SPAWN, "--multiprocessing-fork"], ["other/__main__.py", "fit"], False),
        (["python", "-m", "biformer_lit", "fit"], ["{package}/__main__.py", "fit"], False),
        (["python", "/venv/bin/biformer-lit", "fit"], ["/venv/bin/biformer-lit", "fit"], False),
        (["python", "-c", "import x"], ["-c"], False),
        (["python"], [], False),
    ],
)
def test_whether_multiprocessing_started_this_process_anew(root, interpreter, argv, spawned):
    argv = [word.format(package=root / "biformer_lit") for word in argv]
    assert is_spawned(interpreter, argv) is spawned
