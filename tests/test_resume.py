"""A run that was killed in mid-epoch and resumed ends where the uninterrupted one ends, bit for bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from biformer_lit.cli import main


def fit(root, folder, *more):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "biformer_lit", "fit", "--config", str(root / "tests/configs/tiny.yaml")]
    command += ["--trainer.max_epochs", "4", "--monitoring", "false", *more]
    environment = os.environ | {"PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def final(folder, version):
    return torch.load(folder / f"runs/tiny/version_{version}/checkpoints/last.ckpt", weights_only=True)


def fit_here(root, folder, *more):
    """The same in this process."""
    folder.mkdir(exist_ok=True)
    config = str(root / "tests/configs/tiny.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.chdir(folder)
        main(["fit", "--config", config, "--trainer.max_epochs", "4", "--monitoring", "false", *more])


@pytest.fixture(scope="module")
def uninterrupted(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    fit_here(root, folder)
    return final(folder, 0)


def config_with_killer(folder, epoch, batch, every_n_train_steps):
    folder.mkdir()
    when = (
        "save_on_train_epoch_end: true"
        if every_n_train_steps is None
        else f"every_n_train_steps: {every_n_train_steps}"
    )
    (folder / "kill.yaml").write_text(f"""
trainer:
  callbacks:
    - class_path: biformer_lit.callbacks.EMA
      init_args: {{decay: 0.9}}
    - class_path: killer.Killer
      init_args: {{epoch: {epoch}, batch: {batch}}}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args:
        filename: last
        enable_version_counter: false
        {when}
""")


@pytest.mark.filterwarnings("ignore:Be aware that when using")  # the killer does not come along
@pytest.mark.parametrize(
    ("epoch", "batch", "every_n_train_steps", "workers"),
    [pytest.param(2, 2, None, 0, marks=pytest.mark.slow), (2, 3, 3, 0), (1, 3, 2, 2)],
)
def test_killed_and_resumed(root, tmp_path, uninterrupted, epoch, batch, every_n_train_steps, workers):
    folder = tmp_path / "killed"
    config_with_killer(folder, epoch, batch, every_n_train_steps)
    options = ["--data.num_workers", str(workers)]
    killed = fit(root, folder, "--config", "kill.yaml", *options)
    assert killed.returncode == -signal.SIGKILL
    last = "runs/tiny/version_0/checkpoints/last.ckpt"
    step = torch.load(folder / last, weights_only=True)["global_step"]
    assert step == (
        4 * epoch if every_n_train_steps is None else (4 * epoch + batch) // every_n_train_steps * every_n_train_steps
    )
    if workers:
        resumed = fit(root, folder, "--ckpt_path", last, *options)
        assert resumed.returncode == 0, resumed.stderr
    else:
        fit_here(root, folder, "--ckpt_path", last, *options)
    end = final(folder, 1)
    assert end["global_step"] == uninterrupted["global_step"] == 16
    for part in ("state_dict", "current_model_state"):
        assert end[part].keys() == uninterrupted[part].keys()
        for name, tensor in end[part].items():
            assert torch.equal(tensor, uninterrupted[part][name]), f"{part} {name}"


def test_stopped_twice_after_the_last_batch_of_an_epoch(root, tmp_path, monkeypatch):
    """Checkpoints of a session that began at such a place have to tell the epoch, too."""
    monkeypatch.chdir(tmp_path)
    tiny = [
        "fit",
        "--config",
        str(root / "tests/configs/tiny.yaml"),
        "--trainer.max_epochs",
        "4",
        "--config",
        "stop.yaml",
    ]

    def run(epoch, *options):
        Path("stop.yaml").write_text(f"""
trainer:
  callbacks:
    - class_path: signaller.Signaller
      init_args: {{what: bug, epoch: {epoch}, batch: 1}}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {{filename: last, enable_version_counter: false, every_n_train_steps: 4}}
""")
        return main([*tiny, "--monitoring", "false", *options])

    wanted = run(-1).model.state_dict()
    resumed = []
    for version, epoch in enumerate((1, 2), start=1):
        with pytest.raises(KeyError, match="a defect"):
            run(epoch, *resumed)
        resumed = ["--ckpt_path", f"runs/tiny/version_{version}/checkpoints/last.ckpt"]
        assert torch.load(resumed[1], weights_only=True)["global_step"] == 4 * epoch
    end = run(-1, *resumed)
    assert end.trainer.global_step == 16
    for name, tensor in wanted.items():
        assert torch.equal(end.model.state_dict()[name], tensor), name
