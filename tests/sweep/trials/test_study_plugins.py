"""Studies that are trained with plug-ins: noted by digest, asked for again, shown in the report."""

import importlib
import json
import sys
import zipfile

import pytest
from finished_studies import finished_study
from helpers.distributions import install
from studies import study as write_study
from studies import sweep

from biformer_lit import ConfigError, load_plugin
from biformer_lit.cli import main
from biformer_lit.extending import load_installed, plugin_loading
from biformer_lit.sweep.results.export import write_bundle
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.trials.process import next_command
from biformer_lit.sweep.trials.study_plugins import PLUGINS, read_plugins

SOURCE = "# a <b>plug-in</b>\nfrom biformer_lit.registry import Registry\nRegistry('x').register('y', 1)\n"
FACTORS = {"x": {"one": {"model.backbone.topk": 1}, "two": {"model.backbone.topk": 2}}}


@pytest.fixture(autouse=True)
def _unplugged(unplugged, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "my_rule.py"
    path.write_text(SOURCE)
    return path


def restart():
    """As another process begins: nothing is loaded."""
    plugin_loading._plugins.clear()
    sys.modules.pop("my_rule", None)


def run(tmp_path, *more, cells=2, **changes):
    path = write_study(tmp_path, cells=cells, **changes)
    return sweep("run", path, "--folder", tmp_path / "made", *more)


def test_a_study_notes_its_plugins_with_their_source(plugin, tmp_path):
    loaded = load_plugin(plugin)
    assert run(tmp_path) == 0
    (kept,) = read_plugins(tmp_path / "made")
    assert (kept.name, kept.label, kept.digest) == ("my_rule", "my_rule.py", loaded.digest)
    assert kept.source == {"my_rule.py": SOURCE}


def test_a_study_without_plugins_has_no_file_of_them(tmp_path):
    assert run(tmp_path) == 0
    assert not (tmp_path / "made" / PLUGINS).exists()
    assert run(tmp_path) == 0


@pytest.mark.parametrize("more", [[], ["--retry-failed"], ["--extend"], ["--workers", "2"], ["--dry-run"]])
def test_a_study_goes_on_with_its_plugins_only(plugin, tmp_path, more):
    load_plugin(plugin)
    run(tmp_path)
    restart()
    with pytest.raises(ConfigError, match=r"study study needs the plug-in my_rule.py: give --plugin my_rule.py \(SHA"):
        run(tmp_path, *more)
    load_plugin(plugin)
    assert run(tmp_path, *more) == 0


def test_a_study_goes_on_with_no_other_source(plugin, tmp_path):
    load_plugin(plugin)
    run(tmp_path)
    restart()
    plugin.write_text(SOURCE + "# changed\n")
    load_plugin(plugin)
    with pytest.raises(ConfigError, match=r"with other source of the plug-in my_rule.py .*comparable.*--name NEW"):
        run(tmp_path)
    assert run(tmp_path, "--name", "another", "--folder", tmp_path / "another") == 0


def test_the_folder_is_asked_where_the_record_is_lost(plugin, tmp_path):
    load_plugin(plugin)
    run(tmp_path)
    restart()
    (tmp_path / "made/journal.log").unlink()
    with pytest.raises(ConfigError, match=r"needs the plug-in my_rule.py"):
        run(tmp_path)


def test_the_record_is_asked_where_the_folder_s_file_is_lost(plugin, tmp_path):
    load_plugin(plugin)
    run(tmp_path)
    (tmp_path / "made" / PLUGINS).unlink()
    restart()
    with pytest.raises(ConfigError, match=r"needs the plug-in my_rule.py"):
        run(tmp_path)
    load_plugin(plugin)
    assert run(tmp_path) == 0
    assert [one.name for one in read_plugins(tmp_path / "made")] == ["my_rule"]


def test_a_plugin_may_be_added_with_new_cells(plugin, tmp_path):
    run(tmp_path)
    load_plugin(plugin)
    assert run(tmp_path, "--extend", cells=3) == 0
    restart()
    with pytest.raises(ConfigError, match=r"needs the plug-in my_rule.py"):
        run(tmp_path, cells=3)


def test_no_trial_is_started_with_source_that_has_changed(plugin, tmp_path):
    load_plugin(plugin)
    plugin.write_text(SOURCE + "# changed\n")
    with pytest.raises(ConfigError, match=r"plug-in my_rule.py: has changed since the study's command began"):
        run(tmp_path)
    assert not list((tmp_path / "made").rglob("result.json"))
    plugin.write_text(SOURCE)
    assert run(tmp_path) == 0


def test_a_trial_s_command_loads_them(plugin, tmp_path):
    load_plugin(plugin)
    words = next_command(tmp_path, tmp_path / "trial.yaml")
    assert words[words.index("fit") :] == ["fit", "--plugin", str(plugin), "--config", str(tmp_path / "trial.yaml")]


def test_commands_that_look_need_no_plugin(plugin, tmp_path, capsys):
    load_plugin(plugin)
    run(tmp_path)
    restart()
    for command in ("status", "export"):
        main(["sweep", command, str(tmp_path / "made")])
    assert capsys.readouterr().out.count("2 of 2 complete") == 2  # of the run, and of status


@pytest.mark.parametrize("text", ["plugin: my_rule.py", "plugins: [my_rule.py]", "set: {plugin: my_rule.py}"])
def test_no_study_file_names_a_plugin(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(f"question: Q\nbase: digits\nplan: cells\ncells: {{a: {{x.y: 1}}}}\n{text}\n")
    with pytest.raises(ConfigError, match=r"s.yaml: .*code is run at the word of the person at the keyboard only"):
        read_spec(path)


@pytest.fixture
def finished(tmp_path):
    """A finished study whose files say that it had a hostile plug-in."""
    folder = finished_study(tmp_path / "study", factors=FACTORS, baseline={"x": "one"}, seeds=[0, 1])
    kept = {"name": "my_rule", "label": "my_rule.py; touch x", "digest": "ab" * 32}
    kept["source"] = {"my_rule.py": "\tx = '<script>alert(1)</script>\u202e'\n"}
    (folder / PLUGINS).write_text(json.dumps([kept]))
    return folder


def test_the_report_shows_source_and_digest_as_text(finished):
    main(["sweep", "report", str(finished)])
    page, text = ((finished / "report" / name).read_text() for name in ("report.html", "report.md"))
    shown = "    x = &#39;&lt;script&gt;alert(1)&lt;/script&gt;\\u202e&#39;"
    assert f"<pre>{shown}</pre>" in page
    assert "ab" * 32 in page
    assert "ab" * 32 in text
    assert "        x = '<script>alert(1)</script>\\u202e'\n" in text  # indented, so it is code
    assert "sweep run study.yaml --plugin 'my_rule.py; touch x'" in text
    assert "sweep run study.yaml --plugin &#39;my_rule.py; touch x&#39;" in page


@pytest.mark.parametrize("text", ["", "[", "{}", '[1, {}, {"name": 3}]', '[{"name": "a", "label": "b"}]', "[" * 9999])
def test_a_file_of_plugins_that_is_none(finished, text):
    (finished / PLUGINS).write_text(text)
    assert read_plugins(finished) == []


def test_a_bundle_has_the_source_and_never_runs_it(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "open('ran.txt', 'w')"
    kept = {"name": "my_rule", "label": "my_rule.py", "digest": "ab" * 32, "source": {"my_rule.py": source}}
    (finished / PLUGINS).write_text(json.dumps([kept]))
    main(["sweep", "export", str(finished)])
    write_bundle(finished, tmp_path / "b.zip", checkpoints=False)
    assert f"study/{PLUGINS}" in zipfile.ZipFile(tmp_path / "b.zip").namelist()
    main(["sweep", "report", "b.zip"])
    assert "open(&#39;ran.txt&#39;" in (tmp_path / "b-report/report.html").read_text()
    assert not (tmp_path / "ran.txt").exists()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a plug-in that registers ``from_afar``; call it to install a version and load it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def installed(version, more=""):
        plugin_loading._plugins.clear()
        sys.modules.pop("my_idea", None)
        install(folder, "far-away", "my_idea", SOURCE.replace("'y'", "'from_afar'") + more, version)
        importlib.invalidate_caches()
        load_installed()

    return installed


def test_the_plugin_of_an_installed_package_is_noted_where_it_is_used(package, tmp_path):
    package(1)
    assert run(tmp_path, "--folder", tmp_path / "other") == 0
    assert (tmp_path / "other").is_dir()
    assert not (tmp_path / "other" / PLUGINS).exists()
    used = {"set": {"fake.routing": ["local", "from_afar"]}}
    assert run(tmp_path, **used) == 0
    (kept,) = read_plugins(tmp_path / "made")
    assert (kept.name, kept.label, kept.installed) == ("my_idea", "far-away 1", True)
    assert "from_afar" in kept.source["my_idea.py"]
    assert run(tmp_path, **used) == 0
    restart()
    with pytest.raises(ConfigError, match="study study needs the plug-in far-away 1: install far-away 1 "):
        run(tmp_path, **used)
    package(2, "# changed\n")
    with pytest.raises(ConfigError, match=r"with other source of the plug-in far-away 1 .*: install far-away 1 again"):
        run(tmp_path, **used)
