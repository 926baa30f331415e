"""What a checkpoint decides, and what it does not."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from biformer_lit import (
    Backbone,
    CheckpointError,
    ClassificationTask,
    ConfigError,
    DetectionTask,
    SegmentationTask,
    load_task,
)
from biformer_lit.cli import main
from biformer_lit.tasks import BiFormerTask, Inference, Optimization
from biformer_lit.tasks.saved_settings import EVALUATION, MACHINE, NETWORK, TRAINING, left_settings, taken_settings

ROWS = {"network": NETWORK, "training": TRAINING, "evaluation": EVALUATION, "machine": MACHINE}


@pytest.mark.parametrize("task", [ClassificationTask, SegmentationTask, DetectionTask])
def test_every_setting_of_a_task_is_in_one_row(task):
    for name in inspect.signature(task).parameters:
        assert len([row for row, names in ROWS.items() if name in names]) == 1, name


def test_the_table_names_nothing_that_is_not_there():
    arguments = {name for task in (ClassificationTask, SegmentationTask, DetectionTask) for name in vars_of(task)}
    groups = {"backbone": Backbone, "optim": Optimization}
    arguments |= {f"{group}.{field.name}" for group, kind in groups.items() for field in fields(kind)}
    assert {name for names in ROWS.values() for name in names} <= arguments


def vars_of(task):
    return inspect.signature(task).parameters


def test_what_changes_no_weight_is_not_taken():
    given = {
        "_class_path": "biformer_lit.SegmentationTask",
        "_instantiator": "os.system",
        "num_classes": 3,
        "backbone": {"name": "biformer_tiny", "backend": "triton", "topk": 2},
        "optim": {"lr": 0.1, "fused": False, "on_bad_loss": "skip"},
        "inference": {"mode": "slide"},
        "weights": "/etc/passwd",
        "compile": {"options": {"cpp.cxx": [None, "/bin/false"]}},
    }
    taken = taken_settings(given)
    assert taken == {
        "num_classes": 3,
        "backbone": {"name": "biformer_tiny", "topk": 2},
        "optim": {"lr": 0.1},
    }
    assert taken_settings(given, evaluation=True) == taken | {"inference": {"mode": "slide"}}
    assert left_settings(given) == {"inference": {"mode": "slide"}}


def test_text_of_settings_of_somebody_s_own_is_not_taken():
    """It may name a file or code."""
    given = {"width": 8, "rates": [0.5, 0.25], "teacher": "http://x/y.ckpt", "sources": {"a": ["b"]}}
    assert taken_settings(given) == {"width": 8, "rates": [0.5, 0.25]}
    assert left_settings(given) == {"teacher": "http://x/y.ckpt", "sources": {"a": ["b"]}}


V0_1 = Path(__file__).parents[1] / "fixtures/v0_1"


def changed(folder, kind, **settings):
    """A checkpoint of the version before with other settings in it; its path."""
    contents = torch.load(V0_1 / kind / "best.ckpt", weights_only=True)
    own = contents["hyper_parameters"]
    own |= {**settings, "backbone": own["backbone"] | settings.get("backbone", {})}
    torch.save(contents, folder / "changed.ckpt")
    return folder / "changed.ckpt"


@pytest.mark.parametrize(
    ("kind", "task"),
    [("classification", ClassificationTask), ("segmentation", SegmentationTask), ("detection", DetectionTask)],
)
def test_a_task_from_its_checkpoint(kind, task, tmp_path):
    """Also where the file of weights is gone that its run began with."""
    path = changed(tmp_path, kind, weights=str(tmp_path / "gone.pth"), compile={"options": {"cpp.cxx": [None, "x"]}})
    found = task.load_from_checkpoint(path, map_location="cpu")
    state = torch.load(path, weights_only=True)["state_dict"]
    assert type(found) is task
    assert all(torch.equal(value, state[name]) for name, value in found.state_dict().items())
    assert found.weights is None
    assert found.compile_options is None
    assert type(load_task(path)) is task
    assert load_task(path).class_names == found.class_names


def test_arguments_beside_a_checkpoint_count():
    path = V0_1 / "segmentation/best.ckpt"
    task = SegmentationTask.load_from_checkpoint(path, inference=Inference("slide", window=8, stride=8))
    assert task.inference.mode == "slide"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 80_000_000_000}, "of another shape"),
        ({"num_classes": 10**19}, "no network can be built"),
        ({"backbone": {"depths": [10**9, 1]}}, "more blocks than it holds tensors"),
        ({"backbone": {"depths": ["a", "b"]}}, "no network can be built"),
        ({"backbone": {"dims": [8, 2**20], "full_heads": 0}}, "another shape"),
        ({"backbone": {"stem": "patch"}}, "missing"),
        ({"backbone": {"name": "os.system"}}, "backbone.name='os.system' is unknown"),
        ({"backbone": {"mlp_ratio": float("inf")}}, "no network can be built"),
        ({"mixing": {"mixup": -1}}, "mixup"),
        ({"nonsense": 3}, "are not those of ClassificationTask"),
        ({"label_smoothing": "0.1"}, "are not those of ClassificationTask"),
    ],
)
def test_settings_that_are_not_those_of_the_weights(tmp_path, settings, message):
    """They are refused before memory is taken for what they ask."""
    path = changed(tmp_path, "classification", **settings)
    for load in (ClassificationTask.load_from_checkpoint, load_task):
        with pytest.raises((CheckpointError, ConfigError), match=message):
            load(path)


@pytest.mark.parametrize("name", ["hf-hub:someone/evil", "local-dir:/tmp", "os.system"])
def test_a_backbone_of_timm_s_is_one_that_timm_has(tmp_path, name):
    with pytest.raises(ConfigError, match=r"timm_backbone=.* is unknown"):
        load_task(changed(tmp_path, "segmentation", timm_backbone=name))


def test_a_class_of_somebody_s_own(tmp_path):
    class Own(ClassificationTask):
        def __init__(self, width: int = 1, teacher: str | None = None, **kwargs):
            super().__init__(**kwargs)
            self.width, self.teacher = width, teacher
            self.save_settings()

    path = changed(tmp_path, "classification", width=3, _class_path="someone.Own")
    assert Own.load_from_checkpoint(path).width == 3
    with pytest.raises(CheckpointError, match="a task that is none of this version's"):
        load_task(path)
    path = changed(tmp_path, "classification", teacher="/etc/passwd", _class_path="someone.Own")
    with pytest.raises(CheckpointError, match=r"teacher='/etc/passwd' is text .* pass it: load_from_checkpoint"):
        Own.load_from_checkpoint(path)
    assert Own.load_from_checkpoint(path, teacher="mine").teacher == "mine"


def test_a_class_of_the_same_name_is_another_class(tmp_path):
    with pytest.raises(CheckpointError, match="a task that is none of this version's"):
        load_task(changed(tmp_path, "classification", _class_path="somebody.ClassificationTask"))


def test_what_load_from_checkpoint_does_not_take():
    path = V0_1 / "classification/best.ckpt"
    for given in ({"weights_only": False}, {"hparams_file": "hparams.yaml"}):
        with pytest.raises(ConfigError, match="leave them out"):
            ClassificationTask.load_from_checkpoint(path, **given)
    with pytest.raises(ConfigError, match="is no task by itself"):
        BiFormerTask.load_from_checkpoint(path)
    with pytest.raises(CheckpointError, match="are not those of DetectionTask"):
        DetectionTask.load_from_checkpoint(path)


@pytest.mark.filterwarnings("ignore:--ckpt_path brings")
def test_the_command_line_refuses_them_too(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = changed(tmp_path, "classification", num_classes=80_000_000_000)
    tiny = ["--config", str(root / "tests/configs/tiny.yaml")]
    with pytest.raises(CheckpointError, match=r"changed.ckpt: the weights do not fit .*80000000000"):
        main(["test", *tiny, "--ckpt_path", str(path)])


HOSTILE = {
    "compile": {"options": {"cpp.cxx": [None, "/bin/false"], "trace.debug_dir": "/etc"}},
    "weights": "/etc/passwd",
    "weights_copy": "raw",
    "_instantiator": "os.system",
    "grad_checkpointing": True,
    "backbone": {"backend": "triton"},
    "optim": {"fused": False, "on_bad_loss": "ignore", "lr": 0.5},
}


@pytest.fixture
def here(root, tmp_path, monkeypatch):
    """A folder with a module that shows whether it was imported, and arguments of a tiny run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("open('ran.txt', 'w')\nclass Task: ...\n")
    yield ["--config", str(root / "tests/configs/tiny.yaml")]
    assert not (tmp_path / "ran.txt").exists()


@pytest.mark.filterwarnings("ignore:--ckpt_path brings")
@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_hostile_checkpoint_decides_nothing_but_its_weights(here, tmp_path, monkeypatch, command):
    monkeypatch.setattr("biformer_lit.cli.training.BiFormerCLI._run_subcommand", lambda self, name: None)
    path = changed(tmp_path, "classification", **HOSTILE)
    task = main([command, *here, "--ckpt_path", str(path), "--model.backbone.backend", "reference"]).model
    assert (task.compile_options, task.weights, task.weights_copy, task.grad_checkpointing) == (None, None, None, False)
    assert (task.backbone.backend, task.optim.fused, task.optim.on_bad_loss) == ("reference", True, "error")
    assert (task.optim.lr, task.backbone.dims) == (0.5, [8, 16])


@pytest.mark.parametrize("name", ["evil.Task", "evil.ClassificationTask", 3])
def test_the_class_of_a_checkpoint_is_never_imported(here, tmp_path, name):
    path = changed(tmp_path, "classification", _class_path=name)
    for command in ("fit", "test"):
        with pytest.raises(CheckpointError, match="is none of this package's"):
            main([command, *here, "--ckpt_path", str(path)])
    with pytest.raises(CheckpointError):
        load_task(path)


@pytest.mark.filterwarnings("ignore:--ckpt_path brings")
def test_a_class_that_is_typed_may_be_somebody_s_own(here, tmp_path, monkeypatch):
    (tmp_path / "own_task.py").write_text(
        "from biformer_lit import ClassificationTask\nclass Own(ClassificationTask):\n    pass\n"
    )
    monkeypatch.setattr("biformer_lit.cli.training.BiFormerCLI._run_subcommand", lambda self, name: None)
    for made_by in ("own_task.Own", "biformer_lit.ClassificationTask"):
        path = changed(tmp_path, "classification", _class_path=made_by)
        cli = main(["test", *here, "--model.class_path", "own_task.Own", "--ckpt_path", str(path)])
        assert type(cli.model).__name__ == "Own"


@pytest.mark.filterwarnings("ignore:--ckpt_path brings")
def test_what_changes_no_weight_may_be_typed(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("biformer_lit.cli.training.BiFormerCLI._run_subcommand", lambda self, name: None)
    slide = {"mode": "slide", "window": 64, "stride": 32, "scales": [0.5, 1.0], "flip": True}
    given = ["--data", "SegmentationDataModule", "--data.dataset", "x"]
    path = changed(tmp_path, "segmentation", inference=slide)
    with pytest.warns(UserWarning, match=r"leaves to you .* inference\.mode is 'whole' \(in its run 'slide'\)"):
        assert (
            main(["test", "--model", "SegmentationTask", *given, "--ckpt_path", str(path)]).model.inference
            == Inference()
        )
    typed = ["--model", "SegmentationTask", "--model.inference.mode", "slide"]
    path = changed(tmp_path, "segmentation")
    with pytest.warns(UserWarning, match=r"inference\.mode is 'slide' \(in its run 'whole'\)"):
        task = main(["test", *typed, *given, "--model.compile", "dynamic", "--ckpt_path", str(path)]).model
    assert (task.inference.mode, task.inference.window, task.inference.flip) == ("slide", 512, False)
    assert task.compile_options == {"fullgraph": True, "dynamic": True}
    typed = ["--model", "DetectionTask", "--model.score_threshold", "0.5", "--model.detections_per_image", "7"]
    given = ["--data", "DetectionDataModule", "--data.dataset", "x"]
    with pytest.warns(UserWarning, match=r"score_threshold is 0.5 \(in its run 0.05\)"):
        task = main(["validate", *typed, *given, "--ckpt_path", str(V0_1 / "detection/best.ckpt")]).model
    assert (task.head_settings.score_threshold, task.head_settings.detections_per_image) == (0.5, 7)
