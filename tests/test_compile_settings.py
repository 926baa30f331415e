"""What a file may say about compilation, and what is to be typed."""

import json
from pathlib import Path

import pytest

from biformer_lit.cli import main, parse_fit
from biformer_lit.cli.compilation import check_compile
from biformer_lit.errors import ConfigError

EVIL = {"options": {"cpp.cxx": [None, "/bin/false"], "trace.debug_dir": "/etc"}}


@pytest.mark.parametrize(
    "settings",
    [True, False, None, "dynamic", {}, {"fullgraph": True, "dynamic": None}, {"mode": "max-autotune"}]
    + [{"backend": name} for name in ("inductor", "eager", "aot_eager", "cudagraphs")],
)
def test_the_closed_list(settings):
    check_compile(settings, [])


@pytest.mark.parametrize(
    "settings",
    [
        EVIL,
        {"options": {"triton.cudagraphs": True}},
        {"backend": "os.system"},
        {"backend": {"class_path": "subprocess.Popen"}},
        {"mode": "anything"},
        {"fullgraph": 1},
        {"dynamic": "yes"},
        {"disable": [True]},
        {"nonsense": 1},
    ],
)
def test_beyond_the_list_it_is_typed(settings):
    with pytest.raises(ConfigError, match=r"compile\..*is not taken from a file.*--model.compile"):
        check_compile(settings, ["--config", "c.yaml", "--model.compile", "c.yaml"])
    text = json.dumps(settings)
    for typed in (
        ["--model.compile", text],
        [f"--model.init_args.compile={text}"],
        ["--model", json.dumps({"init_args": {"compile": settings}})],
        [f"--model.compile.{key}={json.dumps(value)}" for key, value in settings.items()],
    ):
        check_compile(settings, ["fit", *typed])
    with pytest.raises(ConfigError, match="is not taken from a file"):
        check_compile({**settings, "options": {"cpp.cxx": "another"}}, ["--model.compile", text])


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A config and a study file that name a compiler."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(f"model: {{init_args: {{compile: {json.dumps(EVIL)}}}}}\n")
    (tmp_path / "compile.yaml").write_text(json.dumps(EVIL))
    (tmp_path / "s.yaml").write_text(
        "question: Q\nbase: digits\nplan: cells\ncells:\n  a: {model.backbone.lce: 0}\n"
        "  b: {model.compile.backend: os.system}\n"
    )


@pytest.mark.parametrize(
    ("command", "given"),
    [("fit", "--config c.yaml"), ("predict", "--config c.yaml"), ("fit", "--model.compile compile.yaml")],
)
def test_a_config_names_no_compiler(hostile, capsys, command, given):
    with pytest.raises((ConfigError, SystemExit)) as caught:
        main([command, "--config", "digits", *given.split()])
    assert "compile" in f"{caught.value} {capsys.readouterr().err}"


def test_a_study_names_no_compiler(hostile):
    with pytest.raises(ConfigError, match=r"cell b .*compile\.backend.*is not taken from a file"):
        main(["sweep", "run", "s.yaml", "--dry-run"])
    with pytest.raises(ConfigError, match="is not taken from a file"):
        parse_fit(["--config", "digits", f"--model.compile={json.dumps(EVIL)}"])
    Path("s.yaml").write_text(Path("s.yaml").read_text().replace("base: digits", "base: [digits, c.yaml]"))
    with pytest.raises(ConfigError, match=r"compile\.options.*is not taken from a file"):
        main(["sweep", "run", "s.yaml", "--dry-run"])


def test_what_is_typed_is_taken(hostile, monkeypatch):
    monkeypatch.setattr("biformer_lit.cli.training.BiFormerCLI._run_subcommand", lambda self, name: None)
    typed = {"options": {"max_autotune": True}}
    cli = main(["fit", "--config", "digits", "--model.compile", json.dumps(typed)])
    assert cli.model.compile_options == typed
