"""From cells to complete configs, and from those to the configs of trials."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from biformer_lit.cli import main, parse_fit
from biformer_lit.cli.study_runs import TrainingRuns
from biformer_lit.errors import ConfigError
from biformer_lit.profiling import measure_config
from biformer_lit.sweep.spec.cells import Cell, plan_cells, search_cell
from biformer_lit.sweep.spec.resolve import (
    arguments,
    differing_keys,
    resolve_cells,
    task_objective,
    trial_config,
    violations,
)
from biformer_lit.sweep.spec.study_groups import Budget, Objective, Range, Search
from biformer_lit.sweep.spec.study_spec import StudySpec


@pytest.fixture
def base(root):
    return (str(root / "tests/configs/tiny.yaml"),)


@pytest.fixture
def study(base):
    def make(plan="cells", **fields):
        return StudySpec(name="s", question="?", base=base, plan=plan, **fields)

    return make


def resolve(spec, cells=None, **more):
    return resolve_cells(spec, plan_cells(spec) if cells is None else cells, TrainingRuns(), **more)


CELLS = {"none": {"model.backbone.lce": 0}, "three": {"model.backbone.lce": 3}}


def test_a_config_is_the_one_that_fit_would_run(base, capsys):
    found = parse_fit(["--config", *base, "--model.backbone.lce=3"])
    with pytest.raises(SystemExit):
        main(["fit", "--config", *base, "--model.backbone.lce=3", "--print_config"])
    assert found == yaml.safe_load(capsys.readouterr().out)
    assert found["model"]["init_args"]["backbone"]["lce"] == 3
    assert json.loads(json.dumps(found)) == found


def test_parsing_leaves_nothing_behind(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PL_GLOBAL_SEED")
    before = torch.get_rng_state()
    parse_fit(["--config", *base])
    assert torch.equal(torch.get_rng_state(), before)
    assert "PL_GLOBAL_SEED" not in os.environ
    assert list(tmp_path.iterdir()) == []
    # nor for the next
    assert parse_fit(["--config", *base, "--model.backbone.lce=3"]) != parse_fit(["--config", *base])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--model.backbone.lce=five"], r"backbone.lce: 'five' is not allowed; expected int"),
        (["--model.backbone.lcee=5"], r"backbone.lcee.*--help lists the arguments"),
        (["--config", "gone.yaml"], r"gone.yaml: there is neither such a file nor such a recipe"),
    ],
)
def test_a_bad_argument_can_be_caught(base, given, message, capsys):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_fit(["--config", *base, *given])
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""


def test_figures_of_a_config(base):
    parameters, macs = measure_config(parse_fit(["--config", "imagenet1k_tiny", "--data.num_classes=1000"]))
    assert (parameters, macs) == (13_142_760, 2_215_901_568)
    with pytest.raises(ConfigError, match=r"data.num_classes: is not set, .* for ILSVRC/imagenet-1k .*; give"):
        measure_config(parse_fit(["--config", "imagenet1k_tiny"]))


def test_the_command_line_of_a_cell(study, base):
    spec = study(
        cells={"x": {"model.backbone.topk": [2, "all"], "data.batch_size": 8, "model.optim.name": "sgd"}},
        settings={"data.init_args.batch_size": 4, "model.compile": False, "data.revision": None},
        budget=Budget(epochs=3),
    )
    assert arguments(spec, plan_cells(spec)[0]) == [
        "--config",
        *base,
        "--model.compile=false",
        "--data.revision=null",
        '--model.backbone.topk=[2,"all"]',
        "--data.batch_size=8",
        "--model.optim.name=sgd",
        "--trainer.max_epochs=3",
    ]


def test_cells_are_resolved(study):
    spec = study(cells={"base": {}, **CELLS}, baseline="base", budget=Budget(epochs=3))
    first, none, three = resolve(spec)
    assert first.cell.baseline
    assert [one.config["trainer"]["max_epochs"] for one in (first, none, three)] == [3, 3, 3]
    assert differing_keys(first.config, none.config) == {"model.backbone.lce"}
    assert none.costs["parameters"] < three.costs["parameters"] < first.costs["parameters"]
    assert none.costs["macs"] < three.costs["macs"] < first.costs["macs"]
    assert len({first.digest, none.digest, three.digest}) == 3


def test_the_digest_is_of_what_is_trained(study):
    digest = resolve(study(cells=CELLS))[0].digest
    assert len(digest) == 12
    assert resolve(study(cells=CELLS, seeds=(1, 2)))[0].digest == digest
    assert resolve(study(cells=CELLS, budget=Budget(epochs=3)))[0].digest != digest


def test_the_logger_and_the_seed_of_the_base_do_not_count(study, tmp_path):
    (tmp_path / "more.yaml").write_text("seed_everything: 7\ntrainer: {logger: false}\n")
    spec = study(cells=CELLS)
    other = replace(spec, base=(*spec.base, str(tmp_path / "more.yaml")))
    assert resolve(other)[0].digest == resolve(spec)[0].digest


def test_differing_keys():
    a = {"model": {"class_path": "A", "init_args": {"x": 1, "y": [1, 2], "z": {"u": None}}}, "only": 0}
    b = copy.deepcopy(a)
    assert differing_keys(a, b) == set()
    b["model"]["class_path"] = "B"
    b["model"]["init_args"].update(y=[2, 1], z={"u": 1})
    del b["only"]
    assert differing_keys(a, b) == {"model.class_path", "model.y", "model.z.u", "only"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.backbone.lce": "five"}, r"cell x \(model.backbone.lce=five\): backbone.lce: 'five' is not allowed"),
        ({"model.backbone.lces": 5}, r"cell x \(model.backbone.lces=5\): .*backbone.lces.*--help"),
        ({"model.backbone.lce": 4}, r"cell x \(model.backbone.lce=4\): .*lce=4"),
        ({"model.backbone.topk": [9, "all"]}, r"cell x \(model.backbone.topk=\[9,\"all\"\]\): .*topk=9"),
    ],
)
def test_a_setting_that_cannot_work_names_its_cell(study, settings, message):
    with pytest.raises(ConfigError, match=message):
        resolve(study(cells={"fine": {}, "x": settings}))


def test_a_setting_that_changes_nothing_is_refused(study):
    with pytest.raises(ConfigError, match=r"cells base and x come to the same config: .*; remove or change one"):
        resolve(study(cells={"base": {}, "y": {"model.backbone.lce": 3}, "x": {"model.backbone.drop_path_rate": 0.2}}))


def test_what_a_class_path_carries_over_is_found(study):
    """As jsonargparse keeps the arguments of a class that another one replaces."""

    class Carrying(TrainingRuns):
        def config(self, arguments):
            config = super().config([arg for arg in arguments if not arg.startswith("--other")])
            config["other"] = {"class_path": arguments[-1], "init_args": {"kept": len(arguments[-1])}}
            return config

    spec = study(cells={"a": {"other.class_path": "A"}, "b": {"other.class_path": "BB"}})
    with pytest.raises(
        ConfigError, match=r"cells a and b differ also in other.kept, which neither names; set it in both"
    ):
        resolve_cells(spec, plan_cells(spec), Carrying())


def test_constraints_list_every_violation(study):
    cells = {"base": {}, "narrow": {"model.backbone.dims": [16, 16]}, "wide": {"model.backbone.dims": [16, 48]}}
    spec = study(cells=cells, baseline="base", constraints={"macs": 1.1, "parameters": 1.2})
    figures = (
        r"macs are 1\.\d+ times the baseline's [\d,]+, more than constraints.macs=1\.1; cell wide: [\d,]+ parameters"
    )
    with pytest.raises(ConfigError, match=rf"^cell wide: [\d,]+ {figures} .*; change these cells or the constraints$"):
        resolve(spec)
    resolve(replace(spec, constraints={"macs": 10}))


def test_a_drawn_cell_is_not_refused_but_judged(study):
    spec = study(
        "search",
        space={"mlp": Range("model.backbone.mlp_ratio", 1, 4)},
        baseline={},
        budget=Budget(trials=3),
        search=Search(),
        constraints={"parameters": 1.05},
    )
    (baseline,) = resolve(spec)
    drawn = resolve(spec, [search_cell(spec, {"mlp": 4})], baseline=baseline)[0]
    assert differing_keys(drawn.config, baseline.config) == {"model.backbone.mlp_ratio"}
    assert len(violations(spec, drawn, baseline)) == 1
    assert violations(spec, baseline, baseline) == []


@pytest.mark.parametrize(
    ("epochs", "epoch", "fine"), [(1, "best", False), (3, "best", True), (3, "last", False), (4, "last", True)]
)
def test_the_objective_must_be_there_at_the_end(study, epochs, epoch, fine):
    spec = study(
        cells=CELLS,
        settings={"trainer.check_val_every_n_epoch": 2},
        budget=Budget(epochs=epochs),
        objective=Objective(epoch=epoch),
    )
    if fine:
        resolve(spec)
    else:
        with pytest.raises(ConfigError, match=rf"trainer.max_epochs={epochs}: .*would be missing; choose a multiple"):
            resolve(spec)


DETECTION = {
    "head": {head: {"model.head": head} for head in ("retinanet", "mask_rcnn")},
    "topk": {"few": {"model.backbone.topk": [1, 2, 4, "all"]}, "more": {"model.backbone.topk": [4, 8, 9, "all"]}},
}


def test_detection(study, tmp_path):
    spec = study("factorial", factors=DETECTION, baseline={"head": "retinanet", "topk": "more"})
    spec = replace(spec, base=("digit_scenes_detection",), objective=Objective("val/map"))
    cells = resolve(spec)
    assert [one.cell.name for one in cells] == [
        f"head={h},topk={k}" for h in DETECTION["head"] for k in ("few", "more")
    ]
    macs, parameters = [one.costs["macs"] for one in cells], [one.costs["parameters"] for one in cells]
    assert macs[0] < macs[1] < macs[2] < macs[3]
    assert parameters[0] == parameters[1] < parameters[2] == parameters[3]
    assert (parameters[1], macs[1]) == measure_config(parse_fit(["--config", "digit_scenes_detection"]))
    complete = parse_fit(["--config", write(trial_config(cells[2], spec, tmp_path / "x/seed-0", 0), tmp_path)])
    assert complete["model"]["init_args"]["head"] == "mask_rcnn"
    assert [one["init_args"].get("monitor") for one in complete["trainer"]["callbacks"][1:3]] == ["val/map", None]


@pytest.mark.parametrize(
    ("base", "metric"),
    [("digits", "val/acc1"), ("digit_scenes_segmentation", "val/miou"), ("digit_scenes_detection", "val/map")],
)
def test_the_figure_of_a_task(study, base, metric):
    spec = replace(study(cells=CELLS), base=(base,))
    assert task_objective(spec, TrainingRuns()) == {"metric": metric, "mode": "max"}
    assert task_objective(replace(spec, settings={"model.nonsense": 1}), TrainingRuns()) == {}


TRIAL_KEYS = {
    "seed_everything",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.logger.name",
    "trainer.logger.save_dir",
    "trainer.logger.version",
    "trainer.callbacks",
}


def test_a_trial_differs_from_its_cell_in_little(study, tmp_path):
    spec = study(cells=CELLS, objective=Objective("val/loss", "min", "last"))
    cell = resolve(spec)[0]
    before = copy.deepcopy(cell.config)
    config = trial_config(cell, spec, tmp_path / "cells/x-1/seed-3", 3)
    assert cell.config == before
    complete = parse_fit(["--config", write(config, tmp_path)])
    assert differing_keys(complete, before) <= TRIAL_KEYS
    assert complete["seed_everything"] == 3
    names = ["EMA", "ModelCheckpoint", "ModelCheckpoint", "TrialReport"]
    callbacks = complete["trainer"]["callbacks"]
    assert [callback["class_path"].rpartition(".")[2] for callback in callbacks] == names
    assert callbacks[0] == before["trainer"]["callbacks"][0]
    best, last, report = (callback["init_args"] for callback in callbacks[1:])
    assert (best["filename"], best["monitor"], best["mode"]) == ("best", "val/loss", "min")
    assert last == before["trainer"]["callbacks"][2]["init_args"]
    assert report == {
        "folder": str(tmp_path / "cells/x-1/seed-3"),
        "metric": "val/loss",
        "mode": "min",
        "epoch": "last",
        "digest": cell.digest,
        "parameters": cell.costs["parameters"],
        "macs": cell.costs["macs"],
    }


def write(config, folder):
    path = folder / "trial.yaml"
    path.write_text(json.dumps(config))
    return str(path)


def test_a_base_with_other_checkpoints(study, tmp_path):
    kind = "lightning.pytorch.callbacks.ModelCheckpoint"
    mine = {"class_path": kind, "init_args": {"filename": "{epoch}", "dirpath": "shared", "save_last": True}}
    twice = {"class_path": kind, "init_args": {"filename": "last", "every_n_epochs": 5, "save_weights_only": True}}
    trainer = {"trainer": {"callbacks": [mine, twice, twice], "enable_checkpointing": False, "logger": True}}
    (tmp_path / "more.json").write_text(json.dumps(trainer))
    spec = study(cells=CELLS)
    spec = replace(spec, base=(*spec.base, str(tmp_path / "more.json")))
    complete = parse_fit(["--config", write(trial_config(resolve(spec)[0], spec, tmp_path / "c/s", 0), tmp_path)])
    callbacks = [callback["init_args"] for callback in complete["trainer"]["callbacks"]]
    assert [callback.get("filename") for callback in callbacks] == ["{epoch}", "last", "best", None]
    assert [callback.get("dirpath") for callback in callbacks] == [None] * 4
    assert not any(callback.get("save_last") for callback in callbacks)
    last, best = callbacks[1:3]
    assert (last["every_n_epochs"], last["save_weights_only"], last["enable_version_counter"]) == (None, False, False)
    assert (best["monitor"], best["mode"], best["enable_version_counter"]) == ("val/acc1", "max", False)
    assert complete["trainer"]["enable_checkpointing"]


def test_a_trial_writes_into_its_folder(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = study(cells=CELLS, budget=Budget(epochs=1), settings={"data.batch_size": 32})
    folder = Path("runs/lce=0,x+y-12345678/seed-3")
    cli = main(
        ["fit", "--config", write(trial_config(resolve(spec)[0], spec, folder, 3), tmp_path), "--monitoring=false"]
    )
    assert Path(cli.trainer.log_dir) == folder.resolve()
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert json.loads((folder / "result.json").read_text())["seed"] == 3
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "trial.yaml"}


def test_planning_needs_no_torch(root):
    code = (
        "import sys; from biformer_lit.sweep.spec import study_spec, cells, resolve; "
        "print([name for name in ('torch', 'lightning', 'timm') if name in sys.modules])"
    )
    package = "import types, sys; p = types.ModuleType('biformer_lit'); p.__path__ = ['biformer_lit']; "
    done = subprocess.run(
        [sys.executable, "-c", f"{package} sys.modules['biformer_lit'] = p; {code}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_cells_of_nothing(study):
    assert resolve(study(cells=CELLS), []) == []
    assert isinstance(plan_cells(study(cells=CELLS))[0], Cell)
