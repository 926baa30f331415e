"""The command ``visualize``, as a user runs it."""

import re

import numpy as np
import pytest
import timm
import torch
import yaml
from backbone.test_weights import released_names
from PIL import Image
from safetensors.torch import load_file, save_file
from shapes import SMALL as DENSE

from biformer_lit import Backbone, load_task
from biformer_lit.attention import record_routing
from biformer_lit.checkpoints.saved_weights import SavedWeights
from biformer_lit.cli import main
from biformer_lit.data.images.rendering import Rendering
from biformer_lit.errors import CheckpointError, ConfigError, DataError
from biformer_lit.routing.photo import Preprocessing, find_preprocessing, read_photo

SMALL = {"depths": (1, 2), "dims": (32, 64), "attention": "bra", "topk": (2, 3), "regions": 3}
SMALL_OPTIONS = [
    f"--backbone.{key}={list(value) if isinstance(value, tuple) else value}" for key, value in SMALL.items()
]


@pytest.fixture(scope="module")
def place(root, tmp_path_factory):
    """A photo that is not square, weights of a small network, and a run on 16 x 16 images."""
    folder = tmp_path_factory.mktemp("visualize")
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((80, 60), Image.Resampling.BICUBIC).save(folder / "photo.png")
    weights = timm.create_model("biformer_tiny", num_classes=5, **SMALL).state_dict()
    torch.save({"model": released_names(weights), "epoch": 3}, folder / "released.pth")
    save_file(weights, folder / "weights.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        short = ["--trainer.max_epochs", "1", "--monitoring", "false", "--data.mean", "[0.4, 0.5, 0.6]"]
        main(["fit", "--config", str(root / "tests/configs/tiny.yaml"), *short])
    return folder


@pytest.fixture
def visualize(place, tmp_path, monkeypatch):
    """The command with the photo, into a fresh folder; returns the folder and the arrays."""
    monkeypatch.chdir(place)

    def run(checkpoint, *more, photo="photo.png"):
        out = tmp_path / "out"
        main(["visualize", "--checkpoint", str(checkpoint), "--image", photo, "--out", str(out), *more])
        with np.load(out / "routing.npz") as arrays:
            return out, dict(arrays)

    return run


def seen(net, size, mean, std, photo="photo.png"):
    """The network's records of the photo, computed here."""
    image = np.asarray(Image.open(photo).convert("RGB").resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 255
    image = torch.from_numpy((image - np.float32(mean)) / np.float32(std)).permute(2, 0, 1)[None]
    with torch.no_grad(), record_routing(net.eval()) as records:
        net(image)
    return records


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_of_a_run_knows_its_network_and_its_data(visualize, capsys):
    checkpoint = "runs/tiny/version_0/checkpoints/last.ckpt"
    out, arrays = visualize(checkpoint, "--point", "0.4,0.6")
    assert names(out) == ["contact_sheet.png", "routing.npz", "stage1.block1.png"]
    records = seen(load_task(checkpoint).net, (21, 16), (0.4, 0.5, 0.6), (0.229, 0.224, 0.225))
    record = records["stages.0.blocks.0.attn"]
    assert (arrays["stage1.block1.index"] == record.index[0].numpy()).all()
    assert arrays["stage1.block1.affinity"] == pytest.approx(record.affinity[0].numpy(), rel=1e-4, abs=1e-5)
    assert arrays["image_size"].tolist() == [16, 21]
    assert arrays["point"].tolist() == [0.4, 0.6]
    assert arrays["stage1.block1.grid"].tolist() == [8, 11, 4, 6]
    row, column = int(0.6 * 16) // 2, int(0.4 * 21) // 2
    attention = record.token_attention(0, row, column).numpy()
    assert arrays["stage1.block1.attention"] == pytest.approx(attention, rel=1e-4, abs=1e-6)
    said = capsys.readouterr().out
    assert "80 x 60, seen as 21 x 16" in said
    assert "those of runs/tiny/version_0/checkpoints/last.ckpt" in said
    assert "prediction: " in said


@pytest.mark.parametrize(
    ("task", "sizes"), [("Detection", {"image_size": 48, "max_size": 96}), ("Segmentation", {"image_size": 48})]
)
def test_a_checkpoint_of_a_dense_task(visualize, tmp_path, capsys, task, sizes):
    scenes = {"image_size": 64, "digits": [1, 2], "digit_size": [20, 32], "train": 2, "validation": 1, "test": 1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({
        "model": {
            "class_path": f"{task}Task",
            "init_args": {
                "backbone": {name: value for name, value in vars(DENSE).items() if value is not None},
                "head_channels": 16,
                "head_norm": "group",
            },
        },
        "data": {
            "class_path": f"{task}DataModule",
            "init_args": {"scenes": scenes, **sizes, "mean": [0.4, 0.5, 0.6], "batch_size": 2, "num_workers": 0},
        },
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {
                "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                "init_args": {"save_dir": str(tmp_path), "name": "run"},
            },
        },
    }))  # fmt: skip
    main(["fit", "--config", str(tmp_path / "config.yaml"), "--monitoring", "false"])
    (checkpoint,) = tmp_path.glob("run/version_0/checkpoints/*.ckpt")
    capsys.readouterr()
    out, arrays = visualize(checkpoint, "--point", "0.4,0.6")
    blocks = [f"stage{stage}.block1" for stage in (1, 2, 3)]  # the last attends to everything
    assert names(out) == ["contact_sheet.png", "routing.npz", *(f"{block}.png" for block in blocks)]
    net = load_task(checkpoint).net
    records = seen(net.backbone, (64, 48), (0.4, 0.5, 0.6), (0.229, 0.224, 0.225))
    for stage, block in enumerate(blocks):
        assert (arrays[f"{block}.index"] == records[f"stages.{stage}.blocks.0.attn"].index[0].numpy()).all()
    assert arrays["image_size"].tolist() == [48, 64]
    said = capsys.readouterr().out
    assert "80 x 60, seen as 64 x 48" in said
    assert "version_0/checkpoints/" in said
    assert "prediction" not in said


@pytest.mark.parametrize("file", ["released.pth", "weights.safetensors"])
def test_weights_alone_need_the_network_s_settings(visualize, file):
    out, arrays = visualize(file, *SMALL_OPTIONS, "--size", "48")
    assert names(out) == [
        "contact_sheet.png", "routing.npz", "stage1.block1.png", "stage2.block1.png", "stage2.block2.png",
    ]  # fmt: skip
    net = timm.create_model("biformer_tiny", num_classes=5, **SMALL)
    net.load_state_dict(load_file("weights.safetensors"))  # the same in both files
    records = seen(net, (64, 48), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for stage, block in ((0, 0), (1, 0), (1, 1)):
        record = records[f"stages.{stage}.blocks.{block}.attn"]
        assert (arrays[f"stage{stage + 1}.block{block + 1}.index"] == record.index[0].numpy()).all()
    assert arrays["stage2.block1.index"].shape == (1, 9, 3)
    assert arrays["stage2.block1.grid"].tolist() == [6, 8, 2, 3]
    for path in out.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 300
            assert np.ptp(np.asarray(picture.convert("L"))) > 200


def test_heads_that_choose_for_themselves(visualize):
    _, arrays = visualize("released.pth", *SMALL_OPTIONS, "--backbone.routing_heads=per_head", "--size", "48")
    assert arrays["stage2.block2.index"].shape == (2, 9, 3)
    assert arrays["stage2.block2.affinity"].shape == (2, 9, 9)
    assert arrays["stage2.block2.attention"].sum((1, 2)) == pytest.approx(np.ones(2), rel=1e-5)


@pytest.mark.parametrize("padding", ["masked", "released", "released_nchw"])
def test_maps_that_the_regions_overhang(visualize, padding):
    out, arrays = visualize("released.pth", *SMALL_OPTIONS, f"--backbone.padding={padding}", "--size", "44")
    assert arrays["image_size"].tolist() == [44, 59]
    assert (out / "stage2.block2.png").is_file()


def test_the_mean_and_the_size_given_are_taken(visualize, capsys):
    more = ["--mean", "[0.1, 0.2, 0.3]", "--std", "[1, 1, 1]", "--size", "24"]
    _, arrays = visualize("runs/tiny/version_0/checkpoints/last.ckpt", *more)
    net = load_task("runs/tiny/version_0/checkpoints/last.ckpt").net
    record = seen(net, (32, 24), (0.1, 0.2, 0.3), (1, 1, 1))["stages.0.blocks.0.attn"]
    assert arrays["stage1.block1.affinity"] == pytest.approx(record.affinity[0].numpy(), rel=1e-4, abs=1e-5)
    assert "not given" not in capsys.readouterr().out


def test_random_routing_is_the_same_each_time(visualize, tmp_path):
    options = [*SMALL_OPTIONS, "--backbone.routing=random", "--size", "48"]
    _, first = visualize("released.pth", *options)
    (tmp_path / "out").rename(tmp_path / "first")
    _, second = visualize("released.pth", *options)
    assert all((second[name] == array).all() for name, array in first.items())


def test_an_empty_folder_is_taken_and_a_full_one_is_not(visualize, tmp_path):
    (tmp_path / "out").mkdir()
    visualize("released.pth", *SMALL_OPTIONS, "--size", "48")
    with pytest.raises(ConfigError, match="is not empty, and nothing is overwritten"):
        visualize("released.pth", *SMALL_OPTIONS, "--size", "48")


def test_weights_without_a_classifier(visualize, tmp_path):
    bare = {key: tensor for key, tensor in torch.load("released.pth")["model"].items() if not key.startswith("head.")}
    torch.save(bare, tmp_path / "bare.pth")
    out, _ = visualize(tmp_path / "bare.pth", *SMALL_OPTIONS, "--size", "48")
    assert (out / "contact_sheet.png").is_file()


def test_nothing_is_written_where_the_weights_do_not_fit(visualize, tmp_path):
    with pytest.raises(CheckpointError, match="do not fit this model"):
        visualize("released.pth", "--size", "48")
    assert not (tmp_path / "out").exists()


def test_maps_smaller_than_their_regions_are_drawn(visualize):
    out, _ = visualize("released.pth", *SMALL_OPTIONS, "--size", "8")
    assert (out / "contact_sheet.png").is_file()
    with np.load(out / "routing.npz") as arrays:
        assert len(arrays.files) > 2


def test_a_config_of_another_program_is_not_taken_for_a_run_s(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    checkpoint = tmp_path / "checkpoints/last.ckpt"
    assert find_preprocessing(SavedWeights({}, str(checkpoint))) == Preprocessing()
    for text in ("", "data: [", "data: 3", "data: {init_args: {image_size: [3, 4], mean: [0, 0, 0], std: [1, 1, 1]}}"):
        (tmp_path / "config.yaml").write_text(text)
        assert find_preprocessing(SavedWeights({}, str(checkpoint))) == Preprocessing()
    (tmp_path / "config.yaml").write_text("data: {init_args: {image_size: 96, mean: [0, 0, 0], std: [1, 1, 1]}}")
    assert find_preprocessing(SavedWeights({}, str(checkpoint))) == Preprocessing(
        96, (0, 0, 0), (1, 1, 1), f"those of {tmp_path}/config.yaml"
    )


def test_a_long_photo(tmp_path):
    Image.new("RGB", (2, 40)).save(tmp_path / "long.png")
    with pytest.raises(DataError, match=r"2 x 40 pixels are too long and narrow; crop it"):
        read_photo(str(tmp_path / "long.png"))


def test_settings_of_a_task_and_of_the_command_line(visualize):
    with pytest.raises(ConfigError, match="brings its own network along; leave the --backbone options out"):
        visualize("runs/tiny/version_0/checkpoints/last.ckpt", "--backbone.topk=2")


def test_a_network_without_routing(visualize, tmp_path):
    settings = {"depths": [1], "dims": [32], "attention": "full", "topk": "all"}
    torch.save(Backbone(**settings).build(3).state_dict(), tmp_path / "full.pth")
    options = [f"--backbone.{name}={value}" for name, value in settings.items()]
    with pytest.raises(ConfigError, match=r"no stage of this network has bi-level routing .*give a network"):
        visualize(tmp_path / "full.pth", *options)


def test_the_snippet_of_the_docs(root):
    (block,) = re.findall(r"```python\n(.*?)```", (root / "docs/visualization.md").read_text(), re.DOTALL)
    names = {}
    exec(block, names)  # noqa: S102
    record = names["record"]
    assert (record.index.shape, record.affinity.shape) == ((8, 1, 49, 16), (8, 1, 49, 49))
    assert record.token_attention(0, 3, 5).shape == (8, 14, 14)
    assert names["in_degree"](record.index).shape == (8, 49)


def test_a_photo_of_more_bits_or_bands(tmp_path):
    dark = np.linspace(0, 3000, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(dark).save(path := tmp_path / "dark.png")
    with pytest.raises(DataError, match=r"dark\.png: the image is a 16-bit PNG image, .* set --value_range to"):
        read_photo(str(path))
    assert np.asarray(read_photo(str(path), Rendering(value_range=(0, 3000)))).max() == 255
    config = {"image_size": 8, "mean": [0, 0, 0], "std": [1, 1, 1], "value_range": [0, 3000], "bands": None}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": {"init_args": config}}))
    assert find_preprocessing(SavedWeights({}, str(tmp_path / "checkpoints" / "a.ckpt"))).rendering == Rendering(
        value_range=(0, 3000)
    )
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": {"init_args": {**config, "value_range": "abc"}}}))
    assert find_preprocessing(SavedWeights({}, str(tmp_path / "checkpoints" / "a.ckpt"))) == Preprocessing()
