"""Weights from files: everything released loads, and what does not fit changes nothing."""

import logging
import pickle
import zipfile

import pytest
import timm
import torch
from helpers.released import FIGURES, made_up_weights
from safetensors.torch import load_file, save_file

import biformer_lit
from biformer_lit.checkpoints.file_contents import read_contents
from biformer_lit.checkpoints.released_names import rename_released
from biformer_lit.errors import CheckpointError

SMALL = {"depths": (1, 1, 2, 1), "dims": (32, 64, 96, 128), "num_classes": 10}


def small(**settings):
    return timm.create_model("biformer_tiny", **{**SMALL, **settings})


def released_names(state_dict):
    """Our names put back into the released ones, written independently of the renaming under test."""
    result = {}
    for key, tensor in state_dict.items():
        name = key
        for ours, theirs in (("conv1", "0"), ("norm1", "1"), ("conv2", "3"), ("norm2", "4")):
            name = name.replace(f"stem.{ours}.", f"downsample_layers.0.{theirs}.")
        if ".downsample." in name:
            _, stage, _, kind, leaf = name.split(".")
            name = f"downsample_layers.{stage}.{'0' if kind == 'conv' else '1'}.{leaf}"
        name = name.replace(".blocks.", ".").replace(".cpe.", ".pos_embed.").replace(".attn.lce.", ".attn.lepe.")
        last = name.startswith("stages.3.")
        name = name.replace(".attn.qkv.", ".attn.qkv." if last else ".attn.qkv.qkv.")
        name = name.replace(".attn.proj.", ".attn.proj." if last else ".attn.wo.")
        name = name.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3.")
        result[name] = tensor
    return result


@pytest.fixture
def raw():
    torch.manual_seed(1)
    return small().state_dict()


@pytest.fixture
def ema():
    torch.manual_seed(2)
    return small().state_dict()


@pytest.fixture
def checkpoint(raw, ema, tmp_path):
    """A file as the released training script writes it."""
    path = tmp_path / "released.pth"
    torch.save({"model": released_names(raw), "model_ema": released_names(ema), "epoch": 299}, path)
    return path


def same(model, state_dict):
    return all(torch.equal(value, state_dict[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", FIGURES["manifests"])
def test_released_names_of_every_model(name):
    with torch.device("meta"):
        ours = timm.create_model(name).state_dict()
        released = {key: torch.zeros(shape) for key, shape in FIGURES["manifests"][name].items()}
    renamed = rename_released(released)
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.items()}


def test_our_own_names_pass_unchanged(raw):
    assert rename_released(raw).keys() == raw.keys()


def test_the_raw_weights_of_a_released_file_by_default(checkpoint, raw, ema):
    model = small()
    report = biformer_lit.load_weights(model, checkpoint)
    assert same(model, raw)
    assert report.source == f"{checkpoint}: the raw weights (the file has average weights too)"
    assert "average" in biformer_lit.load_weights(model, checkpoint, copy="average").source
    assert same(model, ema)


def test_timm_s_own_door_takes_the_average_and_says_so(checkpoint, ema, caplog):
    with caplog.at_level(logging.INFO):
        model = small(checkpoint_path=str(checkpoint))
    assert same(model, ema)
    assert "Loaded model_ema from checkpoint" in caplog.text
    assert "released BiFormer names" in caplog.text


def test_timm_s_own_door_names_what_does_not_fit(checkpoint):
    with pytest.raises(CheckpointError, match=r"2 of another shape \(head.weight \(10, 128\) instead of \(7, 128\)"):
        small(num_classes=7, checkpoint_path=str(checkpoint))


def test_the_channels_first_layout(raw):
    layout = {
        key.replace(".attn.qkv.qkv.", ".attn.qkv_linear.").replace(".attn.wo.", ".attn.output_linear."): (
            value[..., None, None] if value.ndim == 2 and not key.startswith("head") else value
        )
        for key, value in released_names(raw).items()
    }
    model = small()
    biformer_lit.load_weights(model, {"model": layout})
    assert same(model, raw)


def test_another_number_of_classes_leaves_a_fresh_head(checkpoint, raw, caplog):
    model = small(num_classes=3)
    head = model.head.weight.clone()
    report = biformer_lit.load_weights(model, checkpoint)
    assert report.fresh == ("head.weight", "head.bias")
    assert "the head is fresh" in caplog.text
    assert torch.equal(model.head.weight, head)
    assert torch.equal(model.stages[0].blocks[0].attn.qkv.weight, raw["stages.0.blocks.0.attn.qkv.weight"])


def test_a_feature_extractor_takes_what_it_has(checkpoint, raw):
    model = small(features_only=True, num_classes=0)
    report = biformer_lit.load_weights(model, checkpoint)
    assert {"head.weight", "norm.weight"} <= set(report.unused)
    assert torch.equal(model.model.stem.conv1.weight, raw["stem.conv1.weight"])


def test_safetensors_and_plain_state_dicts(raw, tmp_path):
    save_file(raw, tmp_path / "w.safetensors")
    torch.save(raw, tmp_path / "w.pth")
    torch.save({"state_dict": {f"module.{k}": v for k, v in raw.items()}}, tmp_path / "ddp.pth")
    for name in ("w.safetensors", "w.pth", "ddp.pth"):
        model = small()
        biformer_lit.load_weights(model, tmp_path / name)
        assert same(model, raw)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("stem.conv1.weight"), r"1 missing \(stem.conv1.weight\)"),
        (lambda d: d.update(extra=torch.zeros(1)), r"1 unknown \(extra\)"),
        (
            lambda d: d.update({"stem.conv1.weight": torch.zeros(16, 4, 3, 3)}),
            r"1 of another shape \(stem.conv1.weight \(16, 4, 3, 3\) instead of \(16, 3, 3, 3\)\)",
        ),
        (lambda d: [d.pop(k) for k in list(d) if ".attn." in k], r"missing \(.*and \d+ more\)"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(raw, change, message):
    model = small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wrong = dict(raw)
    change(wrong)
    with pytest.raises(CheckpointError, match=message):
        biformer_lit.load_weights(model, wrong)
    assert same(model, before)


class Evil:
    def __reduce__(self):
        return (print, ("run!",))


def test_code_in_a_file_is_never_run(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"model": Evil()}))
    torch.save({"model": Evil()}, tmp_path / "evil2.pth")
    for name in ("evil.pth", "evil2.pth"):
        with pytest.raises(CheckpointError, match=r"evil2?\.pth: .*(load only files you trust|fetch or save it again)"):
            biformer_lit.load_weights(small(), tmp_path / name)
    assert "run!" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pth", None, "there is no such file"),
        ("empty.pth", b"", "damaged or not a PyTorch file|is damaged"),
        ("text.pth", b"hello", "damaged"),
        ("bad.safetensors", b"not safetensors", "not a readable safetensors file"),
    ],
)
def test_unreadable_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        biformer_lit.load_weights(small(), tmp_path / name)


def test_a_truncated_file(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="damaged"):
        biformer_lit.load_weights(small(), checkpoint)


@pytest.mark.parametrize("contents", [[1, 2], {"epoch": 3}, {"model": {"a": 1}}])
def test_files_without_weights(tmp_path, contents):
    torch.save(contents, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"holds (a list instead of a dict|no state dict of tensors)"):
        biformer_lit.load_weights(small(), tmp_path / "odd.pth")


def test_a_copy_that_is_not_there(raw):
    with pytest.raises(CheckpointError, match="holds no average weights, only raw"):
        biformer_lit.load_weights(small(), {"model": raw}, copy="average")


def test_convert_writes_our_names_and_overwrites_nothing(checkpoint, raw, tmp_path):
    destination = tmp_path / "tiny.safetensors"
    said = biformer_lit.convert_checkpoint(checkpoint, destination)
    assert "raw" in said
    assert all(torch.equal(v, raw[k]) for k, v in load_file(destination).items())
    with pytest.raises(CheckpointError, match="exists already"):
        biformer_lit.convert_checkpoint(checkpoint, destination)
    with pytest.raises(CheckpointError, match="give it that suffix"):
        biformer_lit.convert_checkpoint(checkpoint, tmp_path / "tiny.pth")
    with pytest.raises(CheckpointError, match="make it first"):
        biformer_lit.convert_checkpoint(checkpoint, tmp_path / "no" / "tiny.safetensors")


def test_released_weights_from_made_up_figures_load_strictly():
    model = timm.create_model("biformer_stl")
    model.load_state_dict(made_up_weights(FIGURES["manifests"]["biformer_stl"], 2026))


def test_a_file_that_claims_gigabytes(tmp_path):
    """It is refused by what it says of itself, before any of it is unpacked."""
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(20_000_000))
    with pytest.raises(CheckpointError, match=r"claim 20,000,000 bytes, in a file of 19,\d\d\d"):
        read_contents(path)
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\1\2")
    content[end + 10 : end + 12] = b"\0\0"  # said to be stored as it is
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="claim 20,000,000 bytes"):
        read_contents(path)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(80_000_000_000),
        torch.zeros(10**11, device="meta"),
        torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1), (10**11,), check_invariants=True),
    ],
    ids=["repeated", "meta", "sparse"],
)
def test_a_tensor_that_claims_more_than_the_file_holds(tmp_path, tensor):
    torch.save({"model": {"a": torch.zeros(2), "head.weight": tensor}}, tmp_path / "big.pth")
    with pytest.raises(CheckpointError, match=r"model.head.weight is no plain tensor"):
        read_contents(tmp_path / "big.pth")
