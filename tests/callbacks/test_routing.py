"""The routing in TensorBoard: what is logged and when, and that the run does not notice."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from shapes import SMALL
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch._dynamo.testing import CompileCounter

from biformer_lit import Backbone, DetectionTask
from biformer_lit.callbacks import RoutingMaps
from biformer_lit.cli import main
from biformer_lit.data import DetectionDataModule
from biformer_lit.data.embedded.scenes import Scenes
from biformer_lit.errors import ConfigError
from biformer_lit.routing import record_blocks, routing_statistics
from biformer_lit.tasks import Optimization

STATISTICS = {"indegree_entropy", "never_chosen", "neighbour_overlap"}
QUIET = ["--monitoring", "false", "--data.image_size", "32"]


@pytest.fixture
def tiny(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ["--config", str(root / "tests/configs/tiny.yaml"), *QUIET]


def with_maps(**settings):
    """Arguments that append the callback."""
    arguments = ["--trainer.callbacks+=biformer_lit.callbacks.RoutingMaps"]
    return arguments + [f"--trainer.callbacks.{name}={value}" for name, value in settings.items()]


def events(version=0):
    accumulator = EventAccumulator(f"runs/tiny/version_{version}", size_guidance={"images": 0, "scalars": 0})
    return accumulator.Reload()


def test_what_is_logged(tiny):
    cli = main(["fit", *tiny, *with_maps(every_n_epochs=1, images=2), "--trainer.max_epochs", "3"])
    log = events()
    scalars = {tag for tag in log.Tags()["scalars"] if tag.startswith("routing/")}
    assert scalars == {f"routing/stage1.block1/{name}" for name in (*STATISTICS, "epoch_overlap")}
    assert log.Tags()["images"] == ["routing/maps"]
    assert [event.step for event in log.Images("routing/maps")] == [4, 8, 12]
    for tag in scalars:
        points = log.Scalars(tag)
        assert [point.step for point in points] == ([8, 12] if tag.endswith("epoch_overlap") else [4, 8, 12])
        assert all(0 <= point.value <= 1 for point in points)
    assert not any(name.startswith("routing/") for name in cli.trainer.callback_metrics)


def test_the_statistics_are_those_of_the_weights_that_are_validated(tiny):
    """The EMA callback puts the average in place for validation, and saves it as the result."""
    cli = main(["fit", *tiny, *with_maps(images=3), "--trainer.max_epochs", "1"])
    images = next(iter(cli.datamodule.val_dataloader()))["image"][:3]
    (block,), _ = record_blocks(cli.model.net.eval(), images)
    log = events()
    for name, value in routing_statistics(block.record.index, block.record.grid).items():
        assert log.Scalars(f"routing/stage1.block1/{name}")[0].value == pytest.approx(value)


def test_detection(tmp_path, monkeypatch):
    """A detector is fed more than images; what is drawn is the routing of its backbone."""
    monkeypatch.chdir(tmp_path)
    scenes = Scenes(image_size=64, digits=(1, 2), digit_size=(20, 32), train=2, validation=3, test=1)
    sizes = {"image_size": 48, "max_size": 96, "batch_size": 2, "eval_batch_size": 3}
    data = DetectionDataModule(scenes=scenes, num_workers=0, **sizes)
    task = DetectionTask(SMALL, optim=Optimization(lr_batch=0, warmup_epochs=0), head_channels=16, head_norm="group")
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    logger = TensorBoardLogger("runs", "tiny")
    callback = RoutingMaps(every_n_epochs=1, images=2)
    Trainer(max_epochs=2, accelerator="cpu", logger=logger, callbacks=[callback], num_sanity_val_steps=0, **quiet).fit(
        task, datamodule=data
    )
    log = events()
    assert [event.step for event in log.Images("routing/maps")] == [1, 2]
    (batch,) = data.val_dataloader()
    blocks, _ = record_blocks(task.net.eval(), batch["image"][:2])
    assert [block.name for block in blocks] == ["stage1.block1", "stage2.block1", "stage3.block1"]
    for block in blocks:
        assert torch.equal(block.record.index, callback.choices[block.name])
        for name, value in routing_statistics(block.record.index, block.record.grid).items():
            assert log.Scalars(f"routing/{block.name}/{name}")[-1].value == pytest.approx(value)


@pytest.mark.parametrize("routing", ["topk", "random"])
def test_the_run_does_not_notice(tiny, routing):
    few = ["--model.backbone.routing", routing, "--data.augmentation.erasing", "0.5"]
    plain = main(["fit", *tiny, *few])
    watched = main(["fit", *tiny, *few, *with_maps(every_n_epochs=1)])
    assert events(1).Tags()["images"] == ["routing/maps"]
    for name, wanted in plain.model.state_dict().items():
        assert torch.equal(watched.model.state_dict()[name], wanted), name
    assert watched.trainer.callback_metrics["val/loss"] == plain.trainer.callback_metrics["val/loss"]


def test_turns(tiny):
    main(["fit", *tiny, *with_maps(every_n_epochs=2), "--trainer.max_epochs", "5"])
    assert [event.step for event in events().Images("routing/maps")] == [4, 12, 20]


def test_turns_where_validation_is_rare(tiny):
    more = ["--trainer.max_epochs", "8", "--trainer.check_val_every_n_epoch", "2", "--trainer.limit_train_batches", "1"]
    main(["fit", *tiny, *with_maps(every_n_epochs=5), *more])
    assert [event.step for event in events().Images("routing/maps")] == [2, 6]


def test_nothing_is_done_without_routing(tiny):
    main(["fit", *tiny, *with_maps(), "--model.backbone.attention", "full", "--model.backbone.topk", "all"])
    tags = events().Tags()
    assert tags["images"] == []
    assert not any(tag.startswith("routing/") for tag in tags["scalars"])


def test_it_is_among_the_default_watchers(tiny):
    main(["fit", *tiny, "--monitoring", "true", "--trainer.max_epochs", "1"])
    assert "routing/maps" in events().Tags()["images"]


def test_a_compiled_network_is_not_compiled_anew():
    net = Backbone(depths=[1], dims=[32], attention="bra", topk=1).build(2).eval()
    compiler, images = CompileCounter(), torch.randn(1, 3, 32, 32)
    net.compile(backend=compiler)
    with torch.no_grad():
        wanted = net(images)
        once = compiler.frame_count
        (block,), logits = record_blocks(net, images)
        net(images)
    assert once == compiler.frame_count > 0
    torch.testing.assert_close(logits, wanted)
    assert block.name == "stage1.block1"


@pytest.mark.parametrize(
    "settings",
    [
        {"is_global_zero": False},
        {"sanity_checking": True},
        {"fast_dev_run": True},
        {"loggers": []},
        {"world_size": 2, "strategy": object()},  # shards the weights, for all that is known
    ],
)
def test_when_nothing_is_due(settings):
    trainer = {"is_global_zero": True, "sanity_checking": False, "fast_dev_run": False, "loggers": [None]}
    trainer |= {"world_size": 1, "current_epoch": 0}
    net = Backbone(depths=[1], dims=[32], attention="bra", topk=1).build(2)
    assert RoutingMaps()._is_due(SimpleNamespace(**trainer), net)
    assert not RoutingMaps()._is_due(SimpleNamespace(**{**trainer, **settings}), net)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every_n_epochs": 0}, "RoutingMaps every_n_epochs=0 must be at least 1"),
        ({"images": 0}, "RoutingMaps images=0 must be at least 1"),
        ({"point": (0.5, 2)}, "point=0.5,2 lies outside the image"),
    ],
)
def test_values_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        RoutingMaps(**settings)
