"""Configs with anything in them: a run that could begin, or one clear error."""

import sys

import pytest
import yaml
from fuzzing import VALUES, damaged, fuzz, mutate
from hypothesis import strategies as st

from biformer_lit.cli import run
from biformer_lit.cli.training import BiFormerCLI
from biformer_lit.text.messages import one_line

# some that are near to being right
NEAR = st.one_of(
    VALUES,
    st.sampled_from(["EMA", "os.system", "biformer_tiny", [1, 2], [[1, 2], 3], {"class_path": "EMA"}, "auto", "null"]),
    st.dictionaries(st.sampled_from(["class_path", "init_args", "dict_kwargs", "name", "lr"]), VALUES, max_size=3),
)


@pytest.fixture(scope="module")
def tiny(root):
    return yaml.safe_load((root / "tests/configs/tiny.yaml").read_text())


@pytest.fixture
def begin(tmp_path, monkeypatch, capsys):
    """Everything that ``fit --config FILE`` does before it trains."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(BiFormerCLI, "_run_subcommand", lambda self, name: None)

    def fit(content):
        (tmp_path / "c.yaml").write_bytes(content)
        monkeypatch.setattr(sys, "argv", ["biformer_lit", "fit", "--config", "c.yaml"])
        capsys.readouterr()
        code = None
        try:
            run()
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr().err
        if code is not None:
            assert code == 2, said
            lines = [line for line in said.splitlines() if line.startswith("error: ")]
            assert len(lines) == 1, said
            assert said.rstrip("\n").endswith(lines[0])

    return fit


@fuzz(12, data=st.data())
def test_a_config(tiny, begin, data):
    begin(yaml.safe_dump(mutate(data.draw, tiny, NEAR), allow_unicode=True).encode("utf-8", "replace"))


@fuzz(20, data=st.data())
def test_the_text_of_a_config(root, begin, data):
    begin(data.draw(damaged([(root / "tests/configs/tiny.yaml").read_bytes(), b"a: &x [1, *x]\n", b"? {a: b}\n: 1"])))


@fuzz(100, message=st.one_of(st.text(), st.text("\"'kKeyGivenvalue: .[]()\n", max_size=200)))
def test_a_message(message):
    line = one_line(message)
    assert "\n" not in line
    assert len(line) <= 500
