"""Plug-ins of installed packages."""

import os
import subprocess
import sys

import pytest
from helpers.distributions import install

from biformer_lit.extending import given_plugins, load_installed, loaded_plugins

GOOD = "from shelf import THINGS\nTHINGS.register('from_afar', 1)\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_it_registers_itself(site, things):
    install(site, "far-away", "far_away.patterns", GOOD)
    load_installed()
    load_installed()
    assert things.plugin_of("from_afar") == "far_away.patterns"
    assert loaded_plugins()["far_away.patterns"].distribution == "far-away 1.2"
    assert loaded_plugins()["far_away.patterns"].label == "far-away 1.2"
    assert given_plugins() == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import os\n1 / 0\n", r"line 2: ZeroDivisionError: division by zero"),
        ("from shelf import THINGS\nTHINGS.register('taken', 1)\n", "'taken': is registered already"),
    ],
)
def test_a_broken_one_is_left_out_with_a_warning(site, things, source, message):
    things.register("taken", 0)
    install(site, "broken-one", "broken_one", source)
    install(site, "good-one", "good_one", GOOD)
    with pytest.warns(
        UserWarning, match=rf"the plug-in of broken-one 1.2, an installed package, is left out: .*{message}"
    ):
        load_installed()
    assert dict(things) == {"taken": 0, "from_afar": 1}


def test_they_can_be_switched_off(site, things, monkeypatch):
    install(site, "good-one", "good_one", GOOD)
    monkeypatch.setenv("BIFORMER_LIT_INSTALLED_PLUGINS", "0")
    load_installed()
    assert not things


LOUD = "from biformer_lit.registry import Registry\nRegistry('x').register('y', 1)\nprint('here I am')\n"


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        (["-c", "import biformer_lit"], True),
        (["-c", "import far_away"], True),
        (["-m", "biformer_lit", "fit", "--help"], True),
        (["-m", "biformer_lit", "profile", "--help"], True),
        (["-m", "biformer_lit", "sweep", "run", "--help"], True),
        (["-m", "biformer_lit", "sweep", "status", "--help"], False),
    ],
)
def test_where_networks_are_made_it_is_imported(site, arguments, loaded):
    install(site, "far-away", "far_away", LOUD)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert ("here I am" in done.stdout) is loaded
