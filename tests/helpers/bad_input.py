"""Bad input at the command line: one line that names the culprit and a remedy, exit status 2, nothing touched.

Tests of several rooms give a command line and what its one line of error must say. In it stands ``$tiny`` for the
smallest config that trains, and ``$files`` for the folder of the user's files that ``files`` makes. ``$segment`` trains
on digit_scenes, ``$masks/NAME`` on a set of label maps with two classes; ``$detect`` looks for the digits of
digit_scenes, ``$objects/NAME`` for the objects of a set with three classes, and
``$find`` predicts the digits with an untrained network.
"""

import hashlib
import io
import re
import shlex
import shutil
import string
import sys
import zipfile

import datasets
import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image

from biformer_lit import DetectionTask
from biformer_lit.cli import main, run

ONE_STEP = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.limit_val_batches 1"

# Lightning's ordinary lines, which a subprocess shows on stderr before ours
LOG_LINES = (
    "data '",
    "Seed set to",
    "GPU available",
    "TPU available",
    "💡 Tip",
    "`Trainer",
    "Loading `",
    "Restoring states",
)


class Code:
    def __reduce__(self):
        return (open, ("ran.txt", "w"))


@pytest.fixture(scope="session")
def files(root, tmp_path_factory):
    """A user's files: configs, checkpoints and data sets, each with one thing wrong."""
    folder = tmp_path_factory.mktemp("files")
    for name, text in {
        "unknown_group.yaml": "model:\n  init_args:\n    backbone:\n      topkk: 3\n",
        "unknown_trainer.yaml": "trainer:\n  max_epoch: 3\n",
        "unknown_top.yaml": "traner:\n  max_epochs: 3\n",
        "malformed.yaml": "model: [1, 2\nx: y: z\n",
        "tabs.yaml": "model:\n\tinit_args: 1\n",
        "list.yaml": "- a\n- b\n",
        "twice.yaml": "model:\n  init_args:\n    optim: {lr: 0.1,\n      lr: 0.2}\n",
        "no_trainer.yaml": "trainer: null\n",
        "empty.yaml": "",
        "note.txt": "hello world\n",
        "topk.yaml": _study("[1, 2]"),
        "study_key.yaml": _study("[1, 2]") + "plann: 1\n",
        "study_cell.yaml": _study("[1, 99]"),
        "study_setting.yaml": _study("[1, 2]").replace("topk\n", "topkk\n"),
        "complexity.csv": "mine\n",
        "text.safetensors": "hello world\n",
        "segment.yaml": _SEGMENT,
        "detect.yaml": _DETECT,
        "classifier.yaml": "model: ClassificationTask",
        "segmenter.yaml": "model: SegmentationTask",
        "detector.yaml": "model: DetectionTask",
    }.items():
        (folder / name).write_text(text)
    (folder / "bytes.yaml").write_bytes(bytes(range(256)))
    (folder / "broken.zip").write_bytes(b"PK but no more")
    with zipfile.ZipFile(folder / "empty.zip", "w"):
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        # datasets 5 waits five seconds after each pass through a shuffled stream
        patch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)
        _make_checkpoints(root, folder, tmp_path_factory.mktemp("trained"), patch)
        _make_data(folder)
        _make_masks(folder)
        _make_objects(folder)
        yield folder


def _make_checkpoints(root, folder, workplace, patch):
    settings = {"depths": (1, 1), "dims": (32, 64), "attention": ("bra", "full"), "topk": (1, "all"), "num_classes": 10}
    torch.save({"model": timm.create_model("biformer_tiny", **settings).state_dict()}, folder / "other.pth")
    content = (folder / "other.pth").read_bytes()
    (folder / "half.pth").write_bytes(content[: len(content) // 2])
    torch.save({"model": Code()}, folder / "code.pth")
    patch.chdir(workplace)
    main(["fit", "--config", str(root / "tests/configs/tiny.yaml"), *ONE_STEP.split()])
    shutil.copy("runs/tiny/version_0/checkpoints/last.ckpt", folder / "trained.ckpt")
    trained = torch.load(folder / "trained.ckpt", weights_only=True)
    renamed = {key.replace("net.", "body."): tensor for key, tensor in trained["state_dict"].items()}
    torch.save({**trained, "state_dict": renamed}, folder / "keys.ckpt")
    torch.save({**trained, "hyper_parameters": {"_class_path": "other.Model", "size": 1}}, folder / "foreign.ckpt")
    del trained["optimizer_states"]
    torch.save(trained, folder / "light.ckpt")


def _picture(row, size=16):
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), row % 256, np.uint8)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def _table(labels, cut=(), **columns):
    pictures = [_picture(row) for row in range(len(labels))]
    for row in cut:
        pictures[row]["bytes"] = pictures[row]["bytes"][:60]
    table = datasets.Dataset.from_dict({"image": pictures, "label": labels, **columns})
    return table.cast_column("image", datasets.Image())


def _make_data(folder):
    datasets.disable_progress_bars()

    def save(name, **splits):
        (folder / name).mkdir()
        for split, table in splits.items():
            table.to_parquet(str(folder / name / f"{split}.parquet"))

    names = ["x", "y"] * 12
    named = datasets.ClassLabel(names=["x", "y"])
    plain = _table(names)
    two_images = plain.rename_column("image", "a").add_column("b", [_picture(0)] * 24)
    save("good", train=plain, validation=plain)
    save("no_image", train=datasets.Dataset.from_dict({"x": [1] * 8, "label": [0, 1] * 4}))
    save("two_images", train=two_images.cast_column("b", datasets.Image()))
    save("two_labels", train=_table(names, one=[0, 1] * 12, two=[0, 1] * 12).remove_columns("label"))
    save("floats", train=_table([0.5, 1.5] * 12))
    save("missing_label", train=_table([0, 1, 0, 1, None, *([0, 1] * 9), 1]))
    save("unlabelled", train=_table([-1] * 24))
    save("unknown_label", train=plain, test=_table(["x", "z"] * 4))
    save("hidden_test", train=_table([0, 1] * 12).cast_column("label", named), test=_table([-1] * 8))
    save("cut", train=_table(names, cut=[5]).cast_column("label", named), validation=plain.cast_column("label", named))
    save("alone", train=_table(["x"] * 23 + ["y"]))
    save("bare", test=plain.remove_columns("label"))
    (folder / "hollow").mkdir()
    (folder / "garbage").mkdir()
    (folder / "garbage/train.parquet").write_bytes(b"not Parquet")
    for row in range(24):
        path = folder / f"folders/train/{names[row]}/{row:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_picture(row)["bytes"] if row else b"")


def _make_masks(folder):
    """Four rows to train on and one to validate on; of one kind each, the last to train on has a bad mask."""
    good, square = _mask(np.repeat([[0, 1]], 64, 0).repeat(32, 1)), np.zeros((64, 64), np.uint8)

    def save(name, mask=good, change=lambda table: table, names=None):
        (folder / "masks" / name).mkdir(parents=True)
        for split, masks in (("train", [good, good, good, mask]), ("validation", [good])):
            pictures = [_picture(row, 64) for row in range(len(masks))]
            table = datasets.Dataset.from_dict({"image": pictures, "mask": masks})
            table = table.cast_column("image", datasets.Image()).cast_column("mask", datasets.Image())
            change(table).to_parquet(str(folder / "masks" / name / f"{split}.parquet"))
        if names is not None:
            (folder / "masks" / name / "id2label.json").write_text(names)

    def two(table):
        pictures = [good] * len(table)
        return table.rename_column("mask", "a").add_column("b", pictures).cast_column("b", datasets.Image())

    save("good")
    save("names", names='{"0": "a", "2": "b"}')
    save("json", names="a, b")
    save("none", change=lambda table: table.remove_columns("mask"))
    save("several", change=two)
    save("colour", _mask(np.stack([square] * 3, -1)))
    save("jpeg", _mask(square, "JPEG"))
    save("size", _mask(square[:32]))
    save("label", _mask(square + 9))
    save("reduced", _mask(square + 3))
    save("gone", {"bytes": None, "path": None})
    save("cut", {"bytes": good["bytes"][:50], "path": None})


def _mask(labels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(labels.astype(np.uint8)).save(buffer, kind)
    return {"bytes": buffer.getvalue(), "path": None}


def _make_objects(folder):
    """Four images to train on, of one kind each the last with a bad object, and some to validate on."""
    from data import objects  # noqa: PLC0415 (imports test modules, which conftest must not)

    box, good = [4.0, 4.0, 20.0, 20.0], objects.objects_of(0)
    masks = [_mask(np.ones((objects.HEIGHT, objects.WIDTH - narrower), np.uint8)) for narrower in (0, 0, 8)]

    def save(name, train=None, validation=(good,), **renamed):
        for split, rows in (("train", train or [good] * 4), ("validation", validation)):
            (folder / "objects" / name).mkdir(parents=True, exist_ok=True)
            made = objects.table([*rows, *(train or [good])], **renamed).select(range(len(rows)))
            made.to_parquet(str(folder / "objects" / name / f"{split}.parquet"))

    save("good")
    save("nan", [good] * 3 + [{**good, "bbox": [box, box, [1.0, 2.0, np.nan, 4.0]]}])
    save("three", [good] * 3 + [{**good, "bbox": [box, [1.0, 2.0, 3.0], box]}])
    save("lengths", [good] * 3 + [{**good, "category": [0, 1]}])
    save("category", [{"bbox": [box], "label": ["cat"]}] * 4, [{"bbox": [box], "label": ["dog"]}])
    save("fractions", [{"bbox": [[0.1, 0.1, 0.5, 0.5]], "category": [0]}] * 4)
    save("masks", [{**good, "mask": masks}] * 4, [{**good, "mask": masks}], pictures="mask")
    save("nothing", validation=[{"bbox": [], "category": []}])
    save("hollow", validation=[])
    task = DetectionTask(**yaml.safe_load(_DETECT)["model"]["init_args"], num_classes=10)
    task.configure_model()
    torch.save({"model": task.net.state_dict()}, folder / "detector.pth")


_SEGMENT = """
model:
  class_path: SegmentationTask
  init_args:
    backbone:
      name: biformer_tiny
      depths: [1, 1, 1, 1]
      dims: [16, 32, 32, 32]
      head_dim: 16
      regions: 2
      topk: [1, 1, 1, all]
data:
  class_path: SegmentationDataModule
  init_args: {image_size: 64, batch_size: 2, num_workers: 0}
trainer:
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: lightning.pytorch.loggers.TensorBoardLogger
    init_args: {save_dir: runs}
"""

_DETECT = (
    _SEGMENT.replace("Segmentation", "Detection")
    .replace("  init_args:\n", "  init_args:\n    head_channels: 8\n", 1)
    .replace("image_size: 64", "image_size: 64, max_size: 128")
)


def _study(values):
    factor = f"  topk:\n    key: model.backbone.topk\n    values: {values}\n"
    return f"question: Which?\nbase: digits\nplan: factorial\nfactors:\n{factor}"


def command_line(text, root, files):
    tiny = f"--config {shlex.quote(str(root / 'tests/configs/tiny.yaml'))}"
    fit = f"fit --config {shlex.quote(str(files / 'segment.yaml'))}"
    detect = f"fit --config {shlex.quote(str(files / 'detect.yaml'))}"
    few = "--data.scenes.train 4 --data.scenes.validation 1 --data.scenes.test 1"
    return shlex.split(
        string.Template(text).safe_substitute(
            tiny=tiny,
            files=files,
            segment=f"{fit} {few}",
            masks=f"{fit} --data.num_classes 2 --data.dataset {shlex.quote(str(files))}/masks",
            detect=f"{detect} {few}",
            objects=f"{detect} --data.dataset {shlex.quote(str(files))}/objects",
            find=f"{detect.replace('fit', 'predict', 1)} {few} --model.weights {shlex.quote(str(files))}/detector.pth",
        )
    )


def snapshot(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def left_behind(folder):
    """What lies in the working directory, without the folder of the run."""
    return [path.name for path in folder.iterdir() if path.name != "runs"]


def check_message(stderr, message):
    assert stderr.count("\n") == 1, stderr
    assert re.match("error: ", stderr), stderr
    assert re.search(message, stderr), stderr
    assert len(stderr) < 600


@pytest.fixture
def check_refusal(root, files, tmp_path, monkeypatch, capsys):
    """A function of a command line and a regular expression: the one line that it is refused with."""

    def check(arguments, message):
        if "cuda" in arguments and torch.cuda.is_available():
            pytest.skip("there is a GPU")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["biformer_lit", *command_line(arguments, root, files)])
        before = snapshot(files)
        with pytest.raises(SystemExit) as stopped:
            run()
        assert stopped.value.code == 2
        check_message(capsys.readouterr().err, message)
        assert snapshot(files) == before
        assert left_behind(tmp_path) == []

    return check
