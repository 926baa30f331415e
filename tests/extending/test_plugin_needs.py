"""Checkpoints name the plug-ins that their networks need."""

import sys

import pytest

from biformer_lit import CheckpointError, load_plugin
from biformer_lit.extending import needed_plugins, plugin_loading, read_needed, require_plugins
from biformer_lit.registry import Registry

IDEA = "from shelf import THINGS\nTHINGS.register('idea', 1)\n"


@pytest.fixture
def idea(tmp_path, things):
    path = tmp_path / "my_idea.py"
    path.write_text(IDEA)
    return path


@pytest.fixture
def needed(idea, things):
    """What a checkpoint says that was saved with the plug-in, which then is not loaded any more."""
    load_plugin(idea)
    listed = needed_plugins([(things, "idea")])
    plugin_loading._plugins.clear()
    things._entries.clear()
    del sys.modules["my_idea"]
    return read_needed({"plugins": listed}, "x.ckpt")


def test_it_says_who_registered_what(idea, things):
    things.register("mine", 2)
    plugin = load_plugin(idea)
    (entry,) = needed_plugins([(things, "idea")])
    assert entry == {
        "name": "my_idea",
        "label": "my_idea.py",
        "digest": plugin.digest,
        "uses": [["thing", "idea"]],
    }


def test_what_is_not_used_is_not_needed(idea, things):
    load_plugin(idea)
    assert needed_plugins([]) == []


def test_what_comes_with_the_package_needs_none():
    from biformer_lit.attention import PATTERNS  # noqa: PLC0415
    from biformer_lit.kinds import KINDS  # noqa: PLC0415

    assert needed_plugins([(KINDS, "classification"), (PATTERNS, "bra"), (PATTERNS, "not there")]) == []


def test_a_module_that_was_imported_without_being_loaded_as_a_plugin(idea, things, monkeypatch):
    monkeypatch.syspath_prepend(str(idea.parent))
    __import__("my_idea")
    (entry,) = needed_plugins([(things, "idea")])
    assert (entry["name"], entry["label"]) == ("my_idea", "my_idea.py")
    assert entry["digest"] == load_plugin_digest(idea)


def load_plugin_digest(path):
    import hashlib  # noqa: PLC0415

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_network_whose_plugin_is_missing_is_refused(needed):
    with pytest.raises(
        CheckpointError,
        match=r"^x.ckpt: needs the plug-in my_idea.py for thing 'idea': give --plugin my_idea.py, or in Python call",
    ):
        require_plugins(needed, "x.ckpt: ")


def test_with_its_plugin_it_is_not(needed, idea):
    load_plugin(idea)
    require_plugins(needed, "x.ckpt: ")


def test_other_source_is_warned_of(needed, idea):
    idea.write_text(IDEA + "# changed\n")
    load_plugin(idea)
    with pytest.warns(UserWarning, match=r"x.ckpt: was made with other source of the plug-in my_idea.py \(SHA-256"):
        require_plugins(needed, "x.ckpt: ")


def test_the_same_name_from_elsewhere_is_warned_of(needed, tmp_path):
    (tmp_path / "other.py").write_text(IDEA + "# another one\n")
    load_plugin(tmp_path / "other.py")
    with pytest.warns(UserWarning, match=r"was made with other source of the plug-in my_idea.py"):
        require_plugins(needed, "x.ckpt: ")


def test_what_a_script_registered_is_asked_for():
    listed = [{"name": "__main__", "digest": "", "label": "__main__", "uses": [["thing", "idea"]]}]
    with pytest.raises(CheckpointError, match="needs what a script or notebook registered for thing 'idea'"):
        require_plugins(read_needed({"plugins": listed}, ""), "")


@pytest.mark.parametrize(
    "listed",
    [3 * ["x"], "x", [{"name": 3, "digest": "a"}], [{}], {"name": "a", "digest": ["x"]}, [{"name": "a", "label": 2}]],
)
def test_a_list_of_plugins_that_is_none(listed):
    with pytest.raises(CheckpointError, match=r"x.ckpt: its plugins are no list of names and digests"):
        read_needed({"plugins": listed}, "x.ckpt")


@pytest.mark.parametrize("uses", [None, 3, ["ab"], [3], [["a"]], "ab", [[1, 2]]])
def test_hostile_uses_name_nothing_that_is_imported(uses):
    needed = read_needed({"plugins": [{"name": "os\x1b[31m", "digest": "a", "uses": uses}]}, "x.ckpt")
    with pytest.raises(CheckpointError) as refused:
        require_plugins(needed, "x.ckpt: ")
    assert str(refused.value).isprintable()


def test_entries_without_plugins_need_none():
    assert read_needed({}, "x") == read_needed({"plugins": None}, "x") == ()
    assert not Registry.has("thing", "idea")
