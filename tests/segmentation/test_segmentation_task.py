"""The segmentation task, from Python and from the command line."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from shapes import IGNORED, NAMES, SMALL, ShapesDataModule, reference_miou

from biformer_lit import Backbone, ConfigError, SegmentationTask, load_task
from biformer_lit.callbacks import EMA
from biformer_lit.cli import parse_fit
from biformer_lit.heads import SegmenterSettings, build_segmenter
from biformer_lit.profiling import count_costs, measure_config, total_cost
from biformer_lit.profiling.costs import count_macs
from biformer_lit.tasks import Inference, Optimization

OPTIM = Optimization(lr=5e-3, lr_batch=0, warmup_steps=2)
RELEASED = {"val/loss", "val/miou", "val/mean_acc", "val/pixel_acc"}


def task(**options):
    return SegmentationTask(SMALL, **{"optim": OPTIM, "head_channels": 16, "head_norm": "group", **options})


def trainer(folder, **options):
    return Trainer(
        default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False, num_sanity_val_steps=0,
        enable_model_summary=False,
        **{"max_epochs": 1, "limit_train_batches": 2, "enable_checkpointing": False, **options},
    )  # fmt: skip


def batch_of(*sizes):
    from shapes import pad_batch, scene  # noqa: PLC0415

    samples = []
    for i, size in enumerate(sizes):
        image, mask = scene(i, *size)
        samples.append({"image": image, "mask": mask, "size": torch.tensor(size), "index": torch.tensor(i)})
    return pad_batch(samples)


class Keeper(Callback):
    """Keeps what validation predicts."""

    def __init__(self):
        self.pairs = []

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        for i, (rows, columns) in enumerate(batch["size"].tolist()):
            pair = outputs["prediction"][i, :rows, :columns], batch["mask"][i, :rows, :columns]
            self.pairs.append(tuple(x.numpy() for x in pair))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run, what it logged, and what it predicted."""
    folder = tmp_path_factory.mktemp("trained")
    keeper = Keeper()
    run = trainer(folder, max_epochs=20, limit_train_batches=1.0, callbacks=[keeper], check_val_every_n_epoch=20)
    segmentation = task()
    run.fit(segmentation, datamodule=ShapesDataModule())
    run.save_checkpoint(folder / "a.ckpt")
    return segmentation, dict(run.callback_metrics), keeper.pairs, folder / "a.ckpt"


def test_the_logged_miou_is_the_reference_s(trained):
    segmentation, metrics, pairs, _ = trained
    assert len(pairs) == 8
    assert abs(float(metrics["val/miou"]) - reference_miou(pairs, len(NAMES))) < 1e-12
    assert segmentation.monitor == "val/miou"


def test_it_learns(trained):
    assert trained[1]["val/miou"] > 0.5


def test_only_classes_that_occur_are_logged(trained):
    metrics = trained[1]
    assert set(metrics) >= RELEASED | {f"val/iou/{name}" for name in NAMES[:4]}
    assert "val/iou/never" not in metrics
    mean = np.mean([float(metrics[f"val/iou/{name}"]) for name in NAMES[:4]])
    assert abs(float(metrics["val/miou"]) - mean) < 1e-12


def test_batches_do_not_change_the_figures(trained, tmp_path):
    for size in (1, 8):
        found = trainer(tmp_path).validate(trained[0], datamodule=ShapesDataModule(eval_batch_size=size), verbose=False)
        assert float(found[0]["val/miou"]) == pytest.approx(float(trained[1]["val/miou"]), abs=1e-9)


def test_checkpoints_come_back(trained):
    segmentation, _, _, path = trained
    for restored in (load_task(path), SegmentationTask.load_from_checkpoint(path).eval()):
        assert restored.class_names == NAMES
        assert restored.ignore_index == IGNORED
        assert restored.inference == Inference()
        assert all(torch.equal(v, segmentation.state_dict()[k]) for k, v in restored.state_dict().items())
        with torch.no_grad():
            assert restored.net(torch.randn(1, 3, 40, 50)).shape == (1, 5, 40, 50)


def test_a_whole_network_as_the_start(trained):
    other = task(num_classes=5, weights=str(trained[3]))
    other.configure_model()
    assert all(torch.equal(v, other.net.state_dict()[k]) for k, v in trained[0].net.state_dict().items())


def test_predictions_without_padding(trained):
    batch = batch_of((32, 40), (45, 33))
    with torch.no_grad():
        found = trained[0].eval().predict_step(batch, 0)
    assert torch.equal(found["index"], batch["index"])
    assert [tuple(x.shape) for x in found["labels"]] == [(32, 40), (45, 33)]
    assert all(x.dtype == torch.int64 for x in found["labels"])


def test_inference_settings_are_used(trained):
    batch = batch_of((48, 48))
    segmentation = trained[0].eval()
    segmentation.inference = Inference(mode="slide", window=32, stride=16, scales=(1.0, 1.5), flip=True)
    seen = []
    handle = segmentation.net.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[2:])))
    with torch.no_grad():
        segmentation.predict_step(batch, 0)
    handle.remove()
    segmentation.inference = Inference()
    windows = 2 * 2 + 4 * 4  # along a side of 48 pixels 2, along one of 72 they begin at 0, 16, 32 and 40
    assert seen == [(32, 32)] * (2 * windows)


def test_the_auxiliary_loss(tmp_path):
    segmentation = task(head="upernet", num_classes=5, auxiliary_weight=0.4)
    segmentation.configure_model()
    logged = {}
    segmentation.log = lambda name, value, **_: logged.update({name: value})
    batch = batch_of((32, 32), (32, 32))
    segmentation.net.eval()
    loss = segmentation.training_step(batch, 0)
    logits, auxiliary = segmentation.net(batch["image"], with_auxiliary=True)
    wanted = [torch.nn.functional.cross_entropy(x, batch["mask"], ignore_index=IGNORED) for x in (logits, auxiliary)]
    torch.testing.assert_close(loss, wanted[0] + 0.4 * wanted[1])
    torch.testing.assert_close(logged["train/auxiliary_loss"], wanted[1])
    without = task(head="upernet", num_classes=5, auxiliary_weight=0.0)
    without.configure_model()
    assert without.net.auxiliary is None


def test_class_weights():
    segmentation = task(num_classes=5, class_weights=[1, 2, 0.5, 1, 1])
    segmentation.configure_model()
    segmentation.log = lambda *_, **__: None
    segmentation.net.eval()
    batch = batch_of((32, 32))
    wanted = torch.nn.functional.cross_entropy(
        segmentation.net(batch["image"]), batch["mask"], segmentation.class_weights, ignore_index=IGNORED
    )
    torch.testing.assert_close(segmentation.training_step(batch, 0), wanted)
    assert "class_weights" not in segmentation.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes=1 must be at least 2"),
        ({"auxiliary_weight": -1}, "auxiliary_weight=-1 must be at least 0"),
        ({"class_weights": [0.0, 0.0]}, "class_weights=.* must be numbers"),
        ({"class_weights": [1.0, -1.0]}, "class_weights=.* must be numbers"),
        ({"head": "fcn"}, "head='fcn' is unknown"),
        ({"head_norm": "layer"}, "head_norm='layer' is unknown"),
    ],
)
def test_settings_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message) as refused:
        task(**options)
    assert "\n" not in str(refused.value)


def test_class_weights_for_another_number_of_classes():
    with pytest.raises(ConfigError, match="class_weights has 2 numbers for 5 classes; give one for each"):
        task(num_classes=5, class_weights=[1, 1]).configure_model()


def test_one_image_is_no_batch_for_pooling(tmp_path):
    segmentation = task(head="upernet", head_norm="batch")
    with pytest.raises(ConfigError, match=r"data.init_args.batch_size=1 is too small for head_norm='batch'"):
        trainer(tmp_path).fit(segmentation, datamodule=ShapesDataModule(batch_size=1))


# -- schedule --------------------------------------------------------------------------------------------


def test_linear_schedule_with_a_warm_up_in_steps(tmp_path):
    rates = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    optim = Optimization(lr=1.0, lr_batch=0, warmup_steps=4, warmup_lr=0.1, schedule="linear", min_lr=0.0, fused=False)
    run = trainer(
        tmp_path, max_epochs=-1, max_steps=10, limit_train_batches=1.0, limit_val_batches=0, callbacks=[Rates()]
    )
    run.fit(task(optim=optim), datamodule=ShapesDataModule())
    assert rates == pytest.approx([0.1, 0.325, 0.55, 0.775, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


# -- sweeps ----------------------------------------------------------------------------------------------


def test_parameters_and_macs_for_studies(root, monkeypatch):
    config = parse_fit(["--config", str(root / "tests/configs/shapes.yaml"), "--model.num_classes", "5"])
    parameters, macs = measure_config(config)
    segmentation = task(num_classes=5)
    segmentation.configure_model()
    assert parameters == sum(p.numel() for p in segmentation.net.parameters())
    backbone = total_cost(count_costs(SMALL, 0, (32, 32))).macs
    with torch.device("meta"):
        plain = replace(SMALL, backend="reference")
        net = build_segmenter(plain, 5, SegmenterSettings("semantic_fpn", 16, "group")).eval()
        head = count_macs(net, torch.empty(1, 3, 32, 32)) - backbone
    assert macs == backbone + head
    # pyramid 16 wide over maps of 16, 8, 4 and 2 pixels per side, branches 8 wide: written out
    areas, channels = [256, 64, 16, 4], [16, 16, 32, 32]
    wanted = sum(area * 16 * (stage + 16 * 9) for area, stage in zip(areas, channels, strict=True))
    wanted += 256 * 16 * 8 * 9 + 64 * 16 * 8 * 9 + (16 * 16 + 64 * 8) * 8 * 9 + (4 * 16 + 16 * 8 + 64 * 8) * 8 * 9
    assert head == wanted + 256 * 8 * 5


def test_studies_see_the_head_and_the_crop(root):
    config = ["--config", str(root / "tests/configs/shapes.yaml"), "--model.num_classes", "5"]
    plain = measure_config(parse_fit(config))
    wide = measure_config(parse_fit([*config, "--model.head_channels", "32"]))
    large = measure_config(parse_fit([*config, "--data.image_size", "64"]))
    upernet = measure_config(parse_fit([*config, "--model.head", "upernet"]))
    other = measure_config(parse_fit([*config, "--model.timm_backbone", "resnet18"]))
    assert wide[0] > plain[0]
    assert large[0] == plain[0]
    assert large[1] > 3 * plain[1]
    assert len({plain, wide, large, upernet, other}) == 5


# -- whole runs ------------------------------------------------------------------------------------------


class Stop(Callback):
    """Ends the run after its first epoch, as an interruption does, but in order."""

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch == 0


def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path):
    def fit(folder, *callbacks, ckpt_path=None):
        keep = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
        run = trainer(
            folder, max_epochs=3, limit_train_batches=3, enable_checkpointing=True,
            callbacks=[EMA(0.9), *callbacks, keep],
        )  # fmt: skip
        run.fit(task(head="upernet"), datamodule=ShapesDataModule(), ckpt_path=ckpt_path, weights_only=True)
        return torch.load(folder / "last.ckpt", weights_only=True)

    whole = fit(tmp_path / "whole")
    assert fit(tmp_path / "first", Stop())["global_step"] == 3
    resumed = fit(tmp_path / "second", ckpt_path=tmp_path / "first/last.ckpt")
    assert whole["global_step"] == resumed["global_step"] == 9
    for copy in ("state_dict", "current_model_state"):
        assert whole[copy].keys() == resumed[copy].keys()
        for key, value in whole[copy].items():
            assert torch.equal(resumed[copy][key], value), key


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(root, tmp_path):
    """Each evaluates half of the images; batches differ, figures do not."""
    script = tmp_path / "two.py"
    script.write_text("""
import json, sys, torch
from lightning.pytorch import Trainer
from shapes import ShapesDataModule
from biformer_lit import load_task
def main():
    run = Trainer(accelerator="cpu", devices=2, strategy="ddp",
                  logger=False, enable_progress_bar=False, use_distributed_sampler=False)
    found = run.validate(load_task(sys.argv[1]), datamodule=ShapesDataModule(), verbose=False)
    if run.is_global_zero:
        open(sys.argv[2], "w").write(json.dumps({k: float(v) for k, v in found[0].items()}))
if __name__ == "__main__":
    main()
""")
    segmentation = task()
    run = trainer(tmp_path)
    run.fit(segmentation, datamodule=ShapesDataModule())
    run.save_checkpoint(tmp_path / "a.ckpt")
    environment = os.environ | {"PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "a.ckpt"), str(tmp_path / "two.json")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    two = json.loads((tmp_path / "two.json").read_text())
    restored = load_task(tmp_path / "a.ckpt")
    one = trainer(tmp_path).validate(restored, datamodule=ShapesDataModule(), verbose=False)[0]
    assert one.keys() == two.keys()
    for name in one:
        assert two[name] == pytest.approx(one[name], abs=1e-6 if name == "val/loss" else 1e-12), name


@pytest.mark.slow
def test_compiled_in_place_keys_stay(tmp_path):
    torch.compiler.reset()
    plain, compiled = (task(num_classes=5, compile=c) for c in (False, {"fullgraph": True, "backend": "aot_eager"}))
    images = torch.randn(2, 3, 40, 52)
    with torch.no_grad():
        found = []
        for segmentation in (plain, compiled):
            segmentation.configure_model()
            found.append(segmentation.eval().net(images))
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
    logits, _ = compiled.train().net(images, with_auxiliary=True)
    logits.mean().backward()
    assert all(p.grad is not None for p in compiled.net.parameters())
    torch.compiler.reset()


def test_any_timm_backbone_is_one_option_away(tmp_path):
    segmentation = SegmentationTask(
        Backbone(drop_path_rate=0.1), optim=OPTIM, head_channels=16, timm_backbone="resnet18", head="upernet"
    )
    run = trainer(tmp_path, limit_val_batches=1)
    run.fit(segmentation, datamodule=ShapesDataModule())
    run.save_checkpoint(tmp_path / "a.ckpt")
    assert load_task(tmp_path / "a.ckpt").timm_backbone == "resnet18"
