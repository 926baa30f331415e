"""The command line, driven in process: every command, and the traps of LightningCLI closed."""

import csv
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import biformer_lit
from biformer_lit import load_task
from biformer_lit.cli import main, parse_fit
from biformer_lit.cli.functions import FUNCTIONS
from biformer_lit.cli.training import command_line_of
from biformer_lit.data import ClassificationDataModule
from biformer_lit.tasks import ClassificationTask
from biformer_lit.text import messages


@pytest.fixture
def tiny(root, tmp_path, monkeypatch):
    """Arguments of a tiny run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return ["--config", str(root / "tests/configs/tiny.yaml")]


@pytest.fixture(scope="module")
def trained_once(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.chdir(folder)
        main(["fit", "--config", str(root / "tests/configs/tiny.yaml")])
    return folder / "runs"


@pytest.fixture
def trained(tiny, trained_once, tmp_path):
    """A run of its own in the folder of a test: a copy."""
    shutil.copytree(trained_once, tmp_path / "runs")
    return tmp_path / "runs/tiny/version_0"


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator


def test_fit_writes_everything_to_tensorboard(trained):
    log = events(trained)
    scalars = set(log.Tags()["scalars"])
    assert {"train/loss", "val/loss", "val/acc1", "val/acc5", "train/images_per_second"} <= scalars
    assert any(name.startswith("lr-AdamW") for name in scalars)
    assert set(log.Tags()["images"]) == {"train/images", "val/confusion", "routing/maps"}
    assert "config/text_summary" in log.Tags()["tensors"]
    config = log.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "dims:" in config
    assert "digits" in config
    assert {p.name for p in (trained / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "last.ckpt.previous"}
    assert all(0 <= point.value <= 1 for point in log.Scalars("val/acc1"))


def test_messages_name_the_commands_that_there_are():
    assert {*FUNCTIONS, "sweep"} == set(messages.COMMANDS)


def test_monitoring_can_be_left_out(tiny, tmp_path):
    main(["fit", *tiny, "--monitoring", "false", "--trainer.max_epochs", "1"])
    log = events(tmp_path / "runs/tiny/version_0")
    assert log.Tags()["images"] == []
    assert "val/acc1" in log.Tags()["scalars"]


def test_validate_test_and_predict_from_a_checkpoint(tiny, trained, tmp_path):
    last = str(trained / "checkpoints/last.ckpt")
    validated = main(["validate", *tiny, "--ckpt_path", last]).trainer.callback_metrics["val/acc1"]
    logged = [p.value for p in events(trained).Scalars("val/acc1")]
    assert float(validated) == pytest.approx(logged[-1])
    tested = main(["test", *tiny, "--ckpt_path", last]).trainer.callback_metrics
    assert 0 <= float(tested["test/acc1"]) <= 1
    main(["predict", *tiny, "--ckpt_path", last, "--predictions.path", str(tmp_path / "p.csv")])
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 64
    for row in rows:
        probabilities = {name: float(row[name]) for name in "0123456789"}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert row["class"] == max(probabilities, key=probabilities.get)
        assert float(row["probability"]) == pytest.approx(probabilities[row["class"]])


def test_a_checkpoint_becomes_a_task(trained):
    task = load_task(trained / "checkpoints/last.ckpt")
    assert isinstance(task, ClassificationTask)
    assert task.class_names == list("0123456789")
    assert not task.training
    contents = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    assert contents["hyper_parameters"]["num_classes"] == 10
    assert task.net(torch.zeros(1, 3, 16, 16)).shape == (1, 10)
    averaged = contents["state_dict"]["net.head.weight"]
    assert torch.equal(task.net.head.weight, averaged)
    assert not torch.equal(averaged, contents["current_model_state"]["net.head.weight"])


def test_weights_of_our_own_checkpoints(tiny, trained):
    last = str(trained / "checkpoints/last.ckpt")
    validated = main(["validate", *tiny, "--ckpt_path", last]).trainer.callback_metrics["val/acc1"]
    through_weights = main(["validate", *tiny, "--model.weights", last]).trainer.callback_metrics["val/acc1"]
    assert float(through_weights) == float(validated)


def test_weights_evaluate_a_checkpoint_with_other_settings(tiny, trained):
    last = str(trained / "checkpoints/last.ckpt")
    cli = main(["validate", *tiny, "--model.weights", last, "--model.backbone.topk", '[2, "all"]'])
    assert cli.model.net.stages[0].blocks[0].attn.topk == 2


def test_a_run_goes_on_without_the_weights_it_began_with(tiny, trained, tmp_path):
    first = tmp_path / "first.ckpt"
    (trained / "checkpoints/last.ckpt").rename(first)
    main(["fit", *tiny, "--model.weights", str(first), "--trainer.max_epochs", "1"])
    first.unlink()
    last = "runs/tiny/version_1/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["hyper_parameters"]["weights"] == str(first)
    cli = main(["fit", *tiny, "--ckpt_path", last])
    assert cli.trainer.current_epoch == 2


def test_ckpt_path_says_what_it_overrides(tiny, trained):
    last = str(trained / "checkpoints/last.ckpt")
    with pytest.warns(
        UserWarning, match=r"backbone.topk: \[2, 'all'\] gives way to \[1, 'all'\].*model.init_args.weights"
    ):
        cli = main(["validate", *tiny, "--ckpt_path", last, "--model.backbone.topk", '[2, "all"]'])
    assert cli.model.net.stages[0].blocks[0].attn.topk == 1


def test_compiled_keys_and_numbers_are_the_same(tiny, trained):
    last = str(trained / "checkpoints/last.ckpt")
    plain = main(["validate", *tiny, "--model.weights", last])
    compiled = main(["validate", *tiny, "--model.weights", last, "--model.compile", "true"])
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    assert compiled.model.net._compiled_call_impl is not None
    for name in ("val/loss", "val/acc1"):
        assert float(compiled.trainer.callback_metrics[name]) == pytest.approx(
            float(plain.trainer.callback_metrics[name]), abs=1e-5
        )


@pytest.mark.slow  # test_compile_training.py does the same without Inductor, and the test above uses Inductor
def test_training_compiled_is_training(tiny):
    # SGD, since AdamW turns the rounding of a gradient of zero into a whole step; no DropPath, since the compiler
    # draws its own random numbers
    few = [
        "--trainer.max_epochs",
        "1",
        "--monitoring",
        "false",
        "--model.optim.name",
        "sgd",
        "--model.optim.lr",
        "0.05",
    ]
    few += ["--model.backbone.drop_path_rate", "0"]
    plain = main(["fit", *tiny, *few])
    compiled = main(["fit", *tiny, *few, "--model.compile", "true"])
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    for (name, found), wanted in zip(
        compiled.model.state_dict().items(), plain.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4, msg=name)


def test_gradient_checkpointing(tiny):
    cli = main(["fit", *tiny, "--model.grad_checkpointing", "true", "--trainer.fast_dev_run", "true"])
    assert all(stage.grad_checkpointing for stage in cli.model.net.stages)


def test_configs_merge_by_key(tiny, tmp_path):
    (tmp_path / "more.yaml").write_text("model:\n  init_args:\n    backbone:\n      lce: 3\n")
    cli = main(["fit", *tiny, "--config", "more.yaml", "--model.optim.lr=1e-4", "--trainer.fast_dev_run", "true"])
    backbone = cli.model.backbone
    assert (backbone.lce, backbone.dims, backbone.topk) == (3, [16, 32], [1, "all"])
    assert cli.model.optim.lr == 1e-4
    assert cli.model.optim.warmup_epochs == 0.5


def test_callbacks_can_be_appended(tiny):
    argument = "--trainer.callbacks+=lightning.pytorch.callbacks.ModelSummary"
    cli = main(["fit", *tiny, argument, "--trainer.fast_dev_run", "true"])
    kinds = [type(callback).__name__ for callback in cli.trainer.callbacks]
    assert {"EMA", "ModelSummary"} <= set(kinds)


def test_switching_the_optimiser_carries_nothing_over(tiny):
    def optim(*more):
        return main(["fit", *tiny, "--trainer.fast_dev_run", "true", *more]).model.optim

    before, after = optim(), optim("--model.optim.name", "sgd")
    assert {k for k in vars(before) if getattr(before, k) != getattr(after, k)} == {"name"}


def test_print_config_is_complete_and_runs(tiny, capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["fit", *tiny, "--print_config"])
    text = capsys.readouterr().out
    resolved = yaml.safe_load(text)
    assert resolved["model"]["init_args"]["mixing"]["cutmix"] == 1.0
    assert resolved["data"]["init_args"]["augmentation"]["scale"] == [0.08, 1.0]
    (tmp_path / "resolved.yaml").write_text(text)
    cli = main(["fit", "--config", "resolved.yaml", "--trainer.fast_dev_run", "true"])
    assert cli.model.backbone.dims == [16, 32]


def test_the_working_directory_does_not_matter(tiny, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["fit", *tiny, "--trainer.fast_dev_run", "true"]).trainer.max_epochs == 1


def test_classes_are_not_defined_in_the_run_module():
    """A class defined in __main__ exists twice and is not a subclass of itself."""
    module = importlib.import_module("biformer_lit.__main__")
    assert [name for name in dir(module) if isinstance(getattr(module, name), type)] == []


def test_as_a_function_with_a_dict(tiny):
    config = yaml.safe_load(Path(tiny[1]).read_text())
    config["trainer"]["fast_dev_run"] = True
    cli = main({"subcommand": "fit", "fit": config})
    assert isinstance(cli.datamodule, ClassificationDataModule)


def test_the_same_seed_gives_the_same_weights_whatever_the_data(tiny):
    def first_weight(*more):
        cli = main(
            [
                "fit",
                *tiny,
                "--trainer.max_epochs",
                "1",
                "--trainer.limit_train_batches",
                "1",
                "--model.optim.lr=1e-30",
                "--model.optim.warmup_lr=0",
                "--model.optim.min_lr=0",
                *more,
            ]
        )
        return cli.model.net.stages[0].blocks[0].attn.qkv.weight.detach().clone()

    weight = first_weight()
    torch.testing.assert_close(first_weight("--data.val_fraction", "0.2", "--data.batch_size", "32"), weight)
    assert not torch.allclose(first_weight("--seed_everything", "1"), weight)


def _python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)


def test_looking_at_studies_does_not_wait_for_pytorch(tmp_path):
    """Importing it takes longer than all of what ``sweep status`` does."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "biformer_lit", "sweep", "status", "nothing"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "biformer_lit.sweep.command" in imported
    heavy = {"torch", "timm", "lightning", "datasets", "pandas", "scipy", "matplotlib"} & imported
    assert not heavy, heavy


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("biformer_lit, timm", marks=pytest.mark.slow),
        "timm, biformer_lit",
        "biformer_lit.attention, timm",
    ],
)
def test_timm_knows_the_models_whoever_is_imported_first(first):
    done = _python(f"import {first}\nassert timm.is_model('biformer_tiny')\nassert timm.__version__")
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    assert set(biformer_lit.__all__) <= set(dir(biformer_lit))
    for name in biformer_lit.__all__:
        assert getattr(biformer_lit, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = biformer_lit.nonsense


def test_one_batch_is_not_all_of_them(root, tmp_path):
    """Lightning takes 1 for one batch and 1.0 for all; what a parser makes of 1 may hang on the order of imports."""
    command = [sys.executable, "-m", "biformer_lit", "fit", "--config", str(root / "tests/configs/tiny.yaml")]
    options = ["--trainer.limit_val_batches", "1", "--print_config"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert yaml.safe_load(done.stdout)["trainer"]["limit_val_batches"] == 1
    assert "limit_val_batches: 1\n" in done.stdout


@pytest.mark.parametrize(
    "argument",
    [
        ["--model.optim.warmup_steps", "null"],
        ["--model.optim.warmup_steps=null"],
        ["--model.init_args.optim.warmup_steps", "null"],
    ],
)
def test_null_of_a_setting_in_a_group(argument):
    given = ["--config", "digits", "--model.optim.warmup_steps", "7", "--model.optim.lr", "0.5"]
    assert parse_fit(given)["model"]["init_args"]["optim"]["warmup_steps"] == 7
    optim = parse_fit([*given, *argument])["model"]["init_args"]["optim"]
    assert (optim["warmup_steps"], optim["lr"]) == (None, 0.5)


def test_null_of_a_setting_without_a_group():
    given = ["--config", "digits", "--model.num_classes", "10", "--model.num_classes", "null"]
    assert parse_fit(given)["model"]["init_args"]["num_classes"] is None


@pytest.mark.parametrize("given", [["fit"], ["fit", "-c", "digits"], {"subcommand": "fit"}])
def test_one_command_has_one_parser(given):
    assert set(command_line_of(given).subcommands()) == {"fit"}


@pytest.mark.parametrize("given", [[], ["--help"], ["-c", "digits", "fit"], ["fitt"], {}])
def test_where_none_comes_first_all_are_offered(given):
    assert set(command_line_of(given).subcommands()) == {"fit", "validate", "test", "predict"}
