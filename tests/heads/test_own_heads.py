"""Heads of somebody's own: registered by a plug-in, chosen by name, trained, counted, saved and loaded."""

import sys
from pathlib import Path

import pytest
import torch
from shapes import SMALL

from biformer_lit import (
    CheckpointError,
    ConfigError,
    DetectionTask,
    SegmentationTask,
    load_plugin,
    load_task,
    register_head,
)
from biformer_lit.cli import main, parse_fit
from biformer_lit.heads import DetectorSettings, SegmenterSettings, build_detector, build_segmenter, load_dense_weights
from biformer_lit.heads.named_heads import HEADS
from biformer_lit.kinds import KINDS
from biformer_lit.profiling import measure_config

PLUGIN = str(Path(__file__).with_name("plain_heads.py"))
QUICK = (
    "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false",
    "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--data.num_workers=0", "--data.batch_size=2",
    "--model.optim.warmup_epochs=0",
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*log_every_n_steps")


@pytest.fixture(autouse=True)
def _plugin(unplugged, monkeypatch):
    """The heads are there in the test, and for no other."""
    monkeypatch.delitem(sys.modules, "plain_heads", raising=False)
    for kind in HEADS:
        offered = KINDS[kind].task.__init__.__annotations__
        monkeypatch.setitem(offered, "head", offered["head"])
    load_plugin(PLUGIN)


@pytest.mark.parametrize(("kind", "head"), [("segmentation", "last_map"), ("detection", "wide_anchors")])
def test_a_head_is_trained_by_name_and_its_checkpoint_loaded(kind, head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["fit", "--plugin", PLUGIN, "--config", f"digit_scenes_{kind}", "--model.head", head, *QUICK])
    path = next(tmp_path.glob("**/*.ckpt"))
    task = load_task(path)
    assert task.head_settings.head == head
    counted = measure_config(parse_fit(["--config", f"digit_scenes_{kind}", "--model.head", head]))
    assert counted[0] == sum(parameter.numel() for parameter in task.net.parameters())
    usual = measure_config(parse_fit(["--config", f"digit_scenes_{kind}"]))
    assert (counted == usual) is (kind == "detection")  # whose own head has other anchors, and as many of them
    named = ("--config", f"digit_scenes_{kind}", "--model.head", head)
    main(["predict", "--ckpt_path", str(path), *named, *QUICK, "--trainer.limit_predict_batches=1"])
    assert next(tmp_path.glob("**/predictions/overlays/*.png")).is_file()
    with monkeypatch.context() as gone:
        for registry, _ in HEADS.values():
            gone.setattr(registry, "_entries", {k: v for k, v in registry._entries.items() if v.plugin is None})
        with pytest.raises(CheckpointError, match=f"needs the plug-in plain_heads.py for {kind} head '{head}': give"):
            load_task(path)


def test_the_parser_offers_and_checks_them(capsys):
    with pytest.raises(ConfigError, match=r"head.*'semantic_fpn', 'upernet', 'last_map'"):
        parse_fit(["--config", "digit_scenes_segmentation", "--model.head", "next_map"])
    with pytest.raises(SystemExit):
        main(["fit", "--model.help", "DetectionTask"])
    assert "wide_anchors" in capsys.readouterr().out


def test_it_does_what_it_says():
    net = build_segmenter(SMALL, 3, SegmenterSettings("last_map")).eval()
    assert net.head.body.out_channels == 24
    assert net(torch.rand(1, 3, 40, 56)).shape == (1, 3, 40, 56)
    own, plain = (build_detector(SMALL, 3, DetectorSettings(head, 16)) for head in ("wide_anchors", "retinanet"))
    images, sizes = torch.rand(1, 3, 64, 64), [(64, 64)]
    targets = [{"boxes": torch.tensor([[8.0, 8, 40, 50]]), "labels": torch.tensor([1])}]
    plain.load_state_dict(own.state_dict())
    mine, theirs = (net.train()(images, sizes, targets) for net in (own, plain))
    assert mine.keys() == theirs.keys()
    anchors = [net.head.anchor_generator.sizes[0][0] for net in (own, plain)]
    assert anchors[0] == 1.5 * anchors[1]


def test_its_weights_start_another_network(tmp_path):
    source, target = (build_segmenter(SMALL, classes, SegmenterSettings("last_map")) for classes in (3, 5))
    torch.save({"state_dict": {f"net.{k}": v + 1 for k, v in source.state_dict().items()}}, tmp_path / "a.ckpt")
    report = load_dense_weights(target, tmp_path / "a.ckpt")
    assert set(report.fresh) == {"head.classifier.weight", "head.classifier.bias"}
    assert torch.equal(target.head.body.weight, source.head.body.weight + 1)


def test_what_a_head_lacks_is_named():
    with pytest.raises(ConfigError, match="head='without_classifier': WithoutClassifier has no classifier"):
        build_segmenter(SMALL, 3, SegmenterSettings("without_classifier"))
    with pytest.raises(ConfigError, match="heads are for segmentation or detection"):
        register_head("classification", "linear")
    with pytest.raises(
        ConfigError, match="depth is no setting of a head for detection; there are first_stage, coarser"
    ):
        register_head("detection", "deep", depth=3)
    with pytest.raises(ConfigError, match="segmentation head 'upernet': is registered already"):
        register_head("segmentation", "upernet")(dict)
    for task, name in ((SegmentationTask, "retinanet"), (DetectionTask, "upernet")):
        with pytest.raises(ConfigError, match=f"head='{name}' is unknown; use '"):
            task(SMALL, head=name)
