"""Studies go on for as long as their cells come to the same values, also with a later version of the package."""

import json
import shutil

import pytest
from studies import ledger_of, study, sweep

from biformer_lit.cli import main
from biformer_lit.cli.study_runs import TrainingRuns
from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.resolve import resolve_cells
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.trials.meaning import Meanings, _Defaults, _differences
from biformer_lit.sweep.trials.source import PlanSource
from biformer_lit.sweep.trials.study import begin

OLD = "8dd2f72fdf98", "e73df5d3b6ba"


class Unmeasured(TrainingRuns):
    def costs(self, config):
        return {"parameters": 1, "macs": 1}


@pytest.fixture
def old(root, tmp_path):
    """A copy of a study that version 0.1.0 began, somewhere else."""
    shutil.copytree(root / "tests/fixtures/v0_1/study", tmp_path / "study")
    return tmp_path / "study"


def begun(folder, name="pets_topk", **given):
    """The study of a folder taken up again; its source."""
    spec = read_spec(folder / "study.yaml")
    ledger = ledger_of(folder / name)
    runs = Unmeasured()
    meanings = Meanings(ledger, runs)

    def resolve(cells, baseline):
        return meanings.known(resolve_cells(spec, cells, runs, baseline))

    source = PlanSource(spec, resolve)
    begin(spec, folder / name, ledger, source.resolved, meanings, **{"extend": False, **given})
    return source, ledger


def test_a_study_of_an_earlier_version_goes_on(old):
    """Settings were added since, and the base file lies elsewhere; folders and jobs stay what they were."""
    source, ledger = begun(old)
    assert tuple(one.digest for one in source.resolved.values()) == OLD
    assert {job.key for job in source.jobs()} == {job.key for job in ledger.jobs()}
    noted = ledger.attributes()
    assert json.loads(noted["spec"])["spec"]["base"] == [str(old / "pets.yaml")]
    assert "config topk=1-all" in noted


def test_a_study_of_flat_settings_goes_on(root, tmp_path):
    """Also where how the network is declared has changed: nothing is trained again."""
    shutil.copytree(root / "tests/fixtures/flat_settings/study", tmp_path / "study")
    source, ledger = begun(tmp_path / "study", "flat")
    digests = [one.digest for one in source.resolved.values()]
    assert [digest[:8] for digest in digests] == ["24f0e66f", "fc08dcc2", "a17b9797"]
    assert {job.key for job in source.jobs()} == {job.key for job in ledger.jobs()}
    assert [standing.status for standing in ledger.standings(job.key for job in ledger.jobs()).values()] == [
        "complete"
    ] * 3


def test_a_base_file_that_moved_and_gained_a_comment(old, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    text = (old / "pets.yaml").read_text()
    (old / "pets.yaml").unlink()
    (tmp_path / "elsewhere/cats.yaml").write_text(f"# Cats, dogs, fish.\n{text}")
    spec = (old / "study.yaml").read_text().replace("base: pets.yaml", "base: ../elsewhere/cats.yaml")
    (old / "study.yaml").write_text(spec.replace("How many regions", "How many of the regions"))
    assert begun(old)[0].jobs()[0].key == "topk=1-all-8dd2f72f/seed-0"
    assert "How many of the" in (old / "pets_topk/study.yaml").read_text()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("batch_size: 12", "batch_size: 13", "data.batch_size was 12, is 13"),
        ("decay: 0.9", "decay: 0.8", r"trainer.callbacks.0.decay was 0.9, is 0.8"),
        ("warmup_epochs: 1", "warmup_epochs: 1, on_extension: replan", "optim.on_extension='replan' is new"),
    ],
)
def test_a_base_file_with_another_value(old, before, after, said):
    text = (old / "pets.yaml").read_text()
    assert before in text
    (old / "pets.yaml").write_text(text.replace(before, after))
    with pytest.raises(ConfigError, match=rf"cell topk=1-all \(.*{said}.*--name NEW") as raised:
        begun(old)
    assert "\n" not in str(raised.value)


def test_other_versions_and_nothing_to_compare_with(old):
    for config in (old / "pets_topk").glob("cells/*/*/config.yaml"):
        config.unlink()
    with pytest.raises(ConfigError, match=r"are not in .*pets_topk to compare it with; .* sweep export"):
        begun(old)


def test_a_study_of_an_earlier_version_is_exported_as_it_stands(old):
    assert sweep("export", old / "pets_topk") == 1
    rows = (old / "pets_topk/results.csv").read_text().splitlines()[1:]
    assert sorted(row.split(",")[5] for row in rows) == ["complete", "missing", "missing", "missing"]


@pytest.mark.slow
def test_a_study_of_an_earlier_version_is_trained_to_the_end(old, root, monkeypatch, capsys):
    import runpy  # noqa: PLC0415
    import sys  # noqa: PLC0415

    monkeypatch.setattr(sys, "argv", ["make_pets.py", str(old / "pets")])
    runpy.run_path(str(root / "tests/fixtures/v0_1/make_pets.py"), run_name="__main__")
    monkeypatch.chdir(old)
    monkeypatch.setenv("PYTHONPATH", str(root))
    done = old / "pets_topk/cells/topk=1-all-8dd2f72f/seed-0/result.json"
    before = done.read_bytes()
    main(["sweep", "run", "study.yaml", "--folder", "pets_topk"])
    assert "| topk=4-all | 1.0000 ± 0.0000 | 2/2 |" in capsys.readouterr().out
    assert done.read_bytes() == before
    assert len(list((old / "pets_topk/cells").glob("*/*/result.json"))) == 4


def test_what_counts_as_a_difference():
    class Fresh(TrainingRuns):
        def config(self, arguments):
            return {"model": {"init_args": {"fresh": 3}}}

    def found(before, now):
        defaults = _Defaults({}, Fresh())
        return list(_differences({"model": {"init_args": before}}, {"model": {"init_args": now}}, defaults))

    assert found({"a": 1, "gone": 2}, {"a": 1.0, "fresh": 3, "none": None}) == []
    assert found({"a": 1}, {"a": 1, "fresh": 4}) == ["model.fresh=4 is new"]
    assert found({"a": [1, 2]}, {"a": [2, 1]}) == ["model.a.0 was 1, is 2", "model.a.1 was 2, is 1"]
    assert found({"a": [1]}, {"a": [1, 2]}) == ["model.a was [1], is [1, 2]"]
    moved = [{"class_path": f"biformer_lit.{where}.EMA", "init_args": {"decay": 0.9}} for where in ("old", "callbacks")]
    assert found({"a": moved[:1]}, {"a": moved[1:]}) == []
    now = {**moved[1], "init_args": {"decay": 0.9, "evaluate": "no default"}}
    assert len(found({"a": moved[:1]}, {"a": [now]})) == 1
    assert found({"a": [{"class_path": "x.A"}]}, {"a": [{"class_path": "x.B"}]}) == [
        "model.a.0.class_path was 'x.A', is 'x.B'"
    ]


def test_the_baseline_of_a_study_stays(tmp_path, monkeypatch):
    """The record says of each trial whether it is the baseline's."""
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    path = study(tmp_path, cells=2, baseline={"x": "c0"})
    assert sweep("run", path, "--folder", tmp_path / "study") == 0
    path = study(tmp_path, cells=2, baseline={"x": "c1"})
    with pytest.raises(ConfigError, match="baseline changed"):
        sweep("run", path, "--folder", tmp_path / "study", "--extend")
