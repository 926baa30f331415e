"""Checkpoints outlive kills, damage and full disks: what is there is the old one or the new one, or is refused."""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer
from PIL import Image
from safetensors.torch import load_file

import biformer_lit
from biformer_lit.callbacks.trial import failure_kind
from biformer_lit.checkpoints.conversion import convert_checkpoint
from biformer_lit.checkpoints.damage import damage, previous_of
from biformer_lit.checkpoints.file_contents import read_contents, whole_instead
from biformer_lit.cli import main
from biformer_lit.common import files
from biformer_lit.errors import CheckpointError, DiskFullError, causes
from biformer_lit.plugins import AtomicCheckpointIO
from biformer_lit.running.disk import one_disk_error
from biformer_lit.sweep.trials.failure import why_failed
from biformer_lit.sweep.trials.process import next_command

LAST = "runs/tiny/version_0/checkpoints/last.ckpt"


def a_run(epoch, optimizer=True):
    """What a run's checkpoint holds, as small as can be."""
    noise = torch.Generator().manual_seed(epoch)
    contents = {
        "epoch": epoch,
        "global_step": 10 * epoch,
        "state_dict": {f"net.{i}.weight": torch.randn(20, 20, generator=noise) for i in range(6)},
        "hyper_parameters": {"_class_path": "ClassificationTask", "topk": [1, "all"]},
    }
    return contents | ({"optimizer_states": [{"lr": 0.1}]} if optimizer else {})


def save(path, epoch, at=None, optimizer=True):
    AtomicCheckpointIO(keep_previous=False).save_checkpoint(a_run(epoch, optimizer), path)
    os.utime(path, (at or epoch, at or epoch))
    return path


def names(folder):
    return {one.name for one in folder.iterdir()}


def flip(path, position=None, bit=3):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if position is None else position] ^= 1 << bit
    path.write_bytes(data)


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    return type(one) is type(other) and one == other


# -- kills ---------------------------------------------------------------------------------------------------


def kill(root, folder, kills, seed):
    command = [sys.executable, str(root / "tests/checkpoint_kills.py"), str(folder), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kills", [12, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_killed_save_leaves_the_old_checkpoint_or_the_new_one(root, tmp_path, kills):
    counts = kill(root, tmp_path, kills, seed=kills)
    assert sum(count["killed"] for count in counts.values()) == kills
    assert counts["byte"]["killed"] == counts["byte"]["unfinished"] == kills // 2
    assert counts["byte"]["new"] == 0
    if kills > 100:  # few may all have come before the rename
        assert 0 < counts["step"]["new"] < counts["step"]["killed"]


def test_unfinished_files_go_once_nobody_writes_them(tmp_path):
    path = tmp_path / "last.ckpt"
    left, other = tmp_path / ".last.ckpt.0a.part", tmp_path / ".best.ckpt.0a.part"
    left.touch()
    other.touch()
    with files.durable(path) as first:
        first.write(b"first")
        assert not left.exists()
        with files.durable(path) as second:  # as another process would
            second.write(b"second")
        assert Path(first.name).exists()
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == {"last.ckpt", other.name}


def test_a_failed_write_leaves_nothing(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"old")

    def write():
        with files.durable(path, keep=tmp_path / "kept") as file:
            file.write(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"last.ckpt"}


# -- the plug-in ---------------------------------------------------------------------------------------------


def test_the_one_before_is_kept_of_last_alone(tmp_path):
    saver = AtomicCheckpointIO()
    for name in ("last.ckpt", "last-v1.ckpt", "best.ckpt"):
        for epoch in (1, 2, 3):
            saver.save_checkpoint(a_run(epoch), tmp_path / "new" / name)
    found = {one.name: torch.load(one, weights_only=True)["epoch"] for one in (tmp_path / "new").iterdir()}
    assert found == {
        "last.ckpt": 3,
        "last.ckpt.previous": 2,
        "last-v1.ckpt": 3,
        "last-v1.ckpt.previous": 2,
        "best.ckpt": 3,
    }
    saver.remove_checkpoint(tmp_path / "new/last.ckpt")
    assert names(tmp_path / "new") == found.keys() - {"last.ckpt", "last.ckpt.previous"}
    thrifty = AtomicCheckpointIO(keep_previous=False)
    for epoch in (1, 2):
        thrifty.save_checkpoint(a_run(epoch), tmp_path / "thrifty/last.ckpt")
    assert names(tmp_path / "thrifty") == {"last.ckpt"}


def test_without_hard_links_nothing_is_kept_and_nothing_lost(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for epoch in (1, 2):
        AtomicCheckpointIO().save_checkpoint(a_run(epoch), tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 2
    assert names(tmp_path) == {"last.ckpt"}


def test_files_are_as_readable_as_others(tmp_path):
    (tmp_path / "other").touch()
    save(tmp_path / "last.ckpt", 1)
    assert (tmp_path / "last.ckpt").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_other_file_systems_are_left_to_lightning(tmp_path):
    saver = AtomicCheckpointIO()
    saver.save_checkpoint(a_run(3), "memory://runs/last.ckpt")
    assert equal(saver.load_checkpoint("memory://runs/last.ckpt", weights_only=True), a_run(3))
    saver.remove_checkpoint("memory://runs/last.ckpt")
    with pytest.raises(FileNotFoundError):
        saver.load_checkpoint("memory://runs/last.ckpt")
    saver.save_checkpoint(a_run(3), f"file://{tmp_path}/last.ckpt")
    assert names(tmp_path) == {"last.ckpt"}
    with pytest.raises(TypeError, match="storage_options"):
        saver.save_checkpoint(a_run(3), tmp_path / "last.ckpt", storage_options={})


def test_every_run_of_the_command_line_has_it(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = ["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--monitoring", "false"]
    cli = main([*tiny, "--trainer.max_epochs", "3"])
    assert type(cli.trainer.strategy.checkpoint_io) is AtomicCheckpointIO
    assert isinstance(AtomicCheckpointIO(), biformer_lit.AtomicCheckpointIO)
    last = Path(LAST)
    assert names(last.parent) == {"best.ckpt", "last.ckpt", "last.ckpt.previous"}
    whole = torch.load(last, weights_only=True)
    assert torch.load(previous_of(last), weights_only=True)["global_step"] == 8
    # the one before can be resumed from, and leads to the same bits
    with pytest.warns(UserWarning, match="the best of the run so far does not lie beside"):  # a later one replaced it
        main([*tiny, "--trainer.max_epochs", "3", "--ckpt_path", str(previous_of(last))])
    again = torch.load("runs/tiny/version_1/checkpoints/last.ckpt", weights_only=True)
    assert equal(again["state_dict"], whole["state_dict"])
    # a plug-in of the config's own stays
    own = main([*tiny, "--trainer.plugins", "lightning.pytorch.plugins.TorchCheckpointIO", "--trainer.fast_dev_run=1"])
    assert type(own.trainer.strategy.checkpoint_io) is TorchCheckpointIO


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_two_processes_write_one_checkpoint(root, tmp_path, strategy):
    command = [sys.executable, "-m", "biformer_lit", "fit", "--config", str(root / "tests/configs/tiny.yaml")]
    (tmp_path / "two.yaml").write_text(f"""
trainer:
  strategy: {strategy}
  devices: 2
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {{filename: last, enable_version_counter: false, save_on_train_epoch_end: true}}
""")
    options = ["--config", "two.yaml", "--monitoring", "false"]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    folder = (tmp_path / LAST).parent
    assert names(folder) == {"last.ckpt", "last.ckpt.previous"}
    assert all(damage(one) is None for one in folder.iterdir())


# -- damage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [150, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_bytes_are_refused_or_change_nothing(tmp_path, count):
    """One bit flipped, the end cut off, or a sector of zeros, anywhere in the file; torch.load takes most flips."""
    path, chance = save(tmp_path / "model.ckpt", 1), random.Random(count)
    good, truth = path.read_bytes(), a_run(1)
    refused = 0
    for number in range(count):
        position = chance.randrange(len(good))
        if number % 3 == 0:
            path.write_bytes(good)
            flip(path, position, chance.randrange(8))
        elif number % 3 == 1:
            path.write_bytes(good[:position])
        else:
            path.write_bytes((good[:position] + bytes(512) + good[position + 512 :])[: len(good)])
        try:
            contents = read_contents(path).entries
        except CheckpointError as error:
            assert "damaged" in str(error), error  # noqa: PT017  # of some positions alone
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
        else:
            assert equal(contents, truth), (number % 3, position)
    assert refused > 0.8 * count


def test_a_tensor_that_is_marked_as_a_folder_is_refused(tmp_path):
    """torch.load leaves such a tensor as its memory happened to be, and no checksum covers the mark."""
    path = save(tmp_path / "model.ckpt", 1)
    listed = path.read_bytes().rindex(b"archive/data/5") - 46  # the entry in the list at the end of the file
    flip(path, listed + 38, bit=4)
    with pytest.raises(CheckpointError, match=r"damaged \(.*data/5 differs"):
        read_contents(path)


def test_torch_itself_takes_a_flipped_bit_for_another_weight(tmp_path):
    """Why the checksums are looked at; if this fails, torch has begun to."""
    path = save(tmp_path / "model.ckpt", 1)
    data = path.read_bytes()
    flip(path, data.index(a_run(1)["state_dict"]["net.3.weight"].numpy().tobytes()))
    assert not equal(torch.load(path, weights_only=True), a_run(1))
    assert "differs from its checksum" in damage(path)
    with pytest.raises(CheckpointError, match="differs from its checksum"):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=True)


def test_the_newest_whole_one_is_named(tmp_path):
    last = save(tmp_path / "last.ckpt", 9)
    flip(last)
    assert whole_instead(last) is None
    save(tmp_path / "epoch=1.ckpt", 1)
    save(tmp_path / "epoch=2.ckpt", 2)
    flip(save(tmp_path / "epoch=3.ckpt", 3))
    save(tmp_path / "light.ckpt", 4, optimizer=False)
    torch.save({"a": torch.zeros(3)}, tmp_path / "foreign.ckpt")
    assert whole_instead(last, resume=True) == f"{tmp_path}/epoch=2.ckpt is whole (epoch 2, step 20): give that instead"
    assert whole_instead(last) == f"{tmp_path}/light.ckpt is whole (epoch 4, step 40): give that instead"
    save(previous_of(last), 1, at=1)  # older, but of the same series
    assert whole_instead(last).startswith(f"{tmp_path}/last.ckpt.previous is whole (epoch 1, step 10)")
    flip(previous_of(last))
    assert "epoch=2.ckpt" in whole_instead(previous_of(last), resume=True)
    shutil.copy(last, tmp_path / "weights.pth")
    assert whole_instead(tmp_path / "weights.pth") is None


@pytest.mark.parametrize(
    "command",
    [
        *(f"{name} $tiny --ckpt_path last.ckpt" for name in ("fit", "validate", "test", "predict")),
        "fit $tiny --model.weights last.ckpt",
        "visualize --checkpoint last.ckpt --image image.png --out o",
        "convert last.ckpt o.safetensors",
    ],
    ids=["fit", "validate", "test", "predict", "weights", "visualize", "convert"],
)
@pytest.mark.parametrize("fault", ["flipped", "cut"])
def test_a_damaged_checkpoint_is_named_with_the_one_before(root, tmp_path, monkeypatch, command, fault):
    monkeypatch.chdir(tmp_path)
    last = save(Path("last.ckpt"), 4)
    save(Path("best.ckpt"), 3)
    Image.new("RGB", (32, 32)).save("image.png")
    if fault == "cut":
        last.write_bytes(last.read_bytes()[:-200])
    else:
        flip(last)
    with pytest.raises(CheckpointError) as refused:
        main(command.replace("$tiny", f"--config {root}/tests/configs/tiny.yaml").split())
    why = "incomplete" if fault == "cut" else r".* differs from its checksum"
    assert refused.match(
        rf"^last\.ckpt: damaged \({why}\); best\.ckpt is whole \(epoch 3, step 30\): give that instead$"
    )
    assert names(tmp_path) >= {"last.ckpt", "best.ckpt"}
    assert not Path("o.safetensors").exists()


def test_a_trial_goes_on_from_the_checkpoint_before(tmp_path):
    last = tmp_path / "checkpoints/last.ckpt"
    for epoch in (1, 2):
        AtomicCheckpointIO().save_checkpoint(a_run(epoch), last)
    flip(last)
    assert next_command(tmp_path, tmp_path / "c.yaml")[-2:] == ["--ckpt_path", str(last)]
    assert read_contents(last).entries["epoch"] == 1
    assert names(last.parent) == {"last.ckpt", "last.ckpt.broken"}
    said = "last.ckpt is incomplete or damaged; it is now last.ckpt.broken, and training "
    assert (tmp_path / "trial.log").read_text().endswith(f"{said}continues from the one before it\n")
    shutil.copy(last, previous_of(last))
    flip(last)
    flip(previous_of(last))
    assert "--ckpt_path" not in next_command(tmp_path, tmp_path / "c.yaml")
    assert (tmp_path / "trial.log").read_text().endswith(f"{said}starts again\n")
    assert "--ckpt_path" not in next_command(tmp_path, tmp_path / "c.yaml")  # and so the next time


# -- full disks ----------------------------------------------------------------------------------------------


def on_a_small_disk(root, folder, size, *options):
    """A tiny run in a memory file system of some KB, whose files are copied out afterwards."""
    (folder / "disk").mkdir()
    mount = f"mount -t tmpfs -o size={size}k tmpfs disk"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*alone, mount], cwd=folder, capture_output=True, check=False).returncode
    ):
        pytest.skip("no memory file system can be mounted in a user namespace")
    command = f"{sys.executable} -m biformer_lit fit --config {root}/tests/configs/tiny.yaml {' '.join(options)}"
    script = f"{mount} && cd disk && {command}; status=$?; cp -r runs ../copy; exit $status"
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*alone, script], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def check_said(done, what):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, done.stderr
    assert done.stderr.endswith(f"{said[0]}\n")
    assert "no space left on device" in said[0]
    assert what in said[0]


def test_a_checkpoint_on_a_full_disk(root, tmp_path):
    """There is room for best.ckpt and last.ckpt of the first epoch, and for no third file."""
    done = on_a_small_disk(root, tmp_path, 1150, "--monitoring=false")
    check_said(done, "checkpoints: no space left on device: a checkpoint takes about 0.")
    folder = tmp_path / "copy/tiny/version_0/checkpoints"
    assert names(folder) == {"best.ckpt", "last.ckpt"}
    assert [read_contents(one, resume=True).entries["global_step"] for one in sorted(folder.iterdir())] == [4, 4]
    assert why_failed(tmp_path, 2, timed_out=False).reason == "config"  # nothing is known of it
    (tmp_path / "trial.log").write_text(done.stderr)
    assert why_failed(tmp_path, 2, timed_out=False).reason == "disk"


@pytest.mark.slow
def test_a_log_on_a_full_disk(root, tmp_path):
    """TensorBoard's thread meets it first."""
    done = on_a_small_disk(root, tmp_path, 40)
    check_said(done, "version_0: no space left on device: the run's files cannot be written; make room")


class Full:
    """A file on a disk with room for some bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


@pytest.mark.parametrize("room", [0, 3000, 12000])
def test_no_room_costs_nothing(tmp_path, monkeypatch, room):
    """Whatever torch makes of it, at the start, in a tensor and at the end of the file."""
    path = save(tmp_path / "last.ckpt", 1)
    assert path.stat().st_size > 12000
    new = files._unfinished
    monkeypatch.setattr(files, "_unfinished", lambda target: Full(new(target), room))
    with pytest.raises(
        DiskFullError, match=r"no space left on device: .* last\.ckpt is still the one before; make room"
    ):
        AtomicCheckpointIO().save_checkpoint(a_run(2), path)
    assert read_contents(path).entries["epoch"] == 1
    assert names(tmp_path) == {"last.ckpt"}


def test_a_thread_that_fails_is_heard(tmp_path):
    def write(error):
        raise error

    def run(error, after=None):
        with one_disk_error(lambda: Trainer(logger=False, default_root_dir=tmp_path, accelerator="cpu")):
            thread = threading.Thread(target=write, args=(error,))
            thread.start()
            thread.join()
            if after:
                raise after

    hook = threading.excepthook
    with pytest.raises(DiskFullError, match=f"^{tmp_path}: disk quota exceeded: the run's files cannot be written"):
        run(OSError(122, "Disk quota exceeded"))
    with pytest.raises(CheckpointError, match="another thing"):
        run(OSError(28, "No space left on device"), CheckpointError("another thing"))
    with pytest.raises(RuntimeError, match="shared memory"):  # of data workers, which is no disk
        run(OSError(28, "No space left on device"), RuntimeError("shared memory: No space left on device"))
    assert threading.excepthook is hook


def test_an_error_that_comes_from_itself_is_looked_at_once():
    one, other = OSError(28, "No space left on device"), ValueError("x")
    one.__context__, other.__context__ = other, one
    assert list(causes(one)) == [one, other]
    assert failure_kind(other) == "disk"
    assert failure_kind(DiskFullError("/x: disk quota exceeded")) == "disk"


def test_convert_writes_all_or_nothing(tmp_path, monkeypatch):
    source = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(3)}, source)
    convert_checkpoint(source, tmp_path / "weights.safetensors")
    assert load_file(tmp_path / "weights.safetensors")["a"].tolist() == [1, 1, 1]

    def half(tensors, name, metadata=None):
        Path(name).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("biformer_lit.checkpoints.conversion.save_file", half)
    with pytest.raises(CheckpointError, match=r"other\.safetensors: cannot be written \(.*No space left"):
        convert_checkpoint(source, tmp_path / "other.safetensors")
    assert names(tmp_path) == {"weights.pth", "weights.safetensors"}
