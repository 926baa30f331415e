"""The best checkpoint of a run is that of all its parts, and no file is touched on a checkpoint's word."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from biformer_lit.callbacks import BestOfRun
from biformer_lit.cli import main

FIRST, SECOND = "runs/tiny/version_0/checkpoints", "runs/tiny/version_1/checkpoints"


def keeper(folder, monitor="val/acc1", **settings):
    return ModelCheckpoint(folder, monitor=monitor, mode="max" if monitor else "min", filename="best", **settings)


def saved(path, score, step=1, key=None):
    """A checkpoint that was saved because of its score."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"current_score": torch.tensor(score)}
    key = key or keeper(None).state_key
    torch.save({"callbacks": {key: state}, "global_step": step, "score": score}, path)


def restore(state, callback, resumed, fn="fit"):
    """What ``callback`` restores on a resume; its state afterwards."""
    trainer = SimpleNamespace(
        callbacks=[callback],
        is_global_zero=True,
        ckpt_path=str(resumed),
        strategy=SimpleNamespace(broadcast=lambda found: found),
        state=SimpleNamespace(fn=fn),
    )
    checkpoint = {"callbacks": {callback.state_key: state}, "global_step": 5}
    BestOfRun().on_load_checkpoint(trainer, None, checkpoint)
    callback.load_state_dict(checkpoint["callbacks"][callback.state_key])
    return callback


def scores(**files):
    """The state of a callback that has kept these files."""
    kept = {f"somewhere/{name}.ckpt": torch.tensor(value) for name, value in files.items()}
    best = max(kept, key=kept.get)
    return {"best_k_models": kept, "best_model_path": best, "best_model_score": kept[best], "dirpath": "somewhere"}


@pytest.fixture
def folders(tmp_path):
    """The folder of the first part, with a checkpoint that scored 0.9, and that of the second part."""
    saved(tmp_path / "a/best.ckpt", 0.9)
    return tmp_path / "a", tmp_path / "b"


def test_the_best_is_brought_along_with_its_score(folders):
    first, second = folders
    found = restore(scores(best=0.9), keeper(second), first / "last.ckpt")
    path = str(second / "best.ckpt")
    assert (found.best_model_path, float(found.best_model_score)) == (path, pytest.approx(0.9))
    assert (found.kth_best_model_path, float(found.kth_value)) == (path, pytest.approx(0.9))
    assert list(found.best_k_models) == [path]
    assert (second / "best.ckpt").read_bytes() == (first / "best.ckpt").read_bytes()


def test_several_are_kept_in_their_order(folders):
    first, second = folders
    saved(first / "x.ckpt", 0.2)
    found = restore(scores(best=0.9, x=0.2), keeper(second, save_top_k=2), first / "last.ckpt")
    assert found.best_model_path == str(second / "best.ckpt")
    assert found.kth_best_model_path == str(second / "x.ckpt")
    assert float(found.kth_value) == pytest.approx(0.2)


def test_in_the_same_folder_nothing_moves(folders):
    first, _ = folders
    saved(first / "last.ckpt", 0.1)
    found = restore(scores(best=0.9), keeper(first), first / "last.ckpt")
    assert found.best_model_path == str(first / "best.ckpt")
    state = {"best_model_path": "elsewhere/last.ckpt", "last_model_path": "elsewhere/gone.ckpt"}
    last = restore(state, keeper(first, None), first / "last.ckpt")
    assert (last.best_model_path, last.last_model_path) == (str(first / "last.ckpt"), "")
    assert {path.name for path in first.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_evaluation_writes_nothing(folders):
    first, second = folders
    restore(scores(best=0.9), keeper(second), first / "last.ckpt", fn="test")
    assert not second.exists()


def test_a_file_of_the_same_name_stays(folders):
    first, second = folders
    second.mkdir()
    (second / "best.ckpt").write_text("another run's")
    found = restore(scores(best=0.9), keeper(second), first / "last.ckpt")
    assert found.best_model_path == str(second / "best-v1.ckpt")
    assert (second / "best.ckpt").read_text() == "another run's"


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_text("another thing"),
        lambda path: saved(path, 0.8),
        lambda path: saved(path, 0.9, step=6),  # put there after the checkpoint that the run goes on from
        lambda path: saved(path, 0.9, key="another callback"),
    ],
    ids=["gone", "cut", "other", "score", "later", "callback"],
)
def test_a_best_that_is_not_there_is_said(folders, change):
    first, second = folders
    change(first / "best.ckpt")
    with pytest.warns(UserWarning, match=r"best.ckpt \(val/acc1=0.9000\): the best of the run so far does not lie"):
        found = restore(scores(best=0.9), keeper(second), first / "last.ckpt")
    assert (found.best_model_path, found.best_model_score, found.best_k_models) == ("", None, {})
    assert float(found.kth_value) == -float("inf")


def hostile(path):
    score = torch.tensor(0.9)
    names = dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), path)
    return {**names, "best_k_models": {path: score}, "best_model_score": score, "kth_value": score}


@pytest.mark.filterwarnings("ignore:.*the best of the run so far does not lie beside")
@pytest.mark.parametrize("monitor", ["val/acc1", None])
@pytest.mark.parametrize(
    "form", ["{0}/victim", "local://{0}/victim", "s3://bucket/x.ckpt", "{0}/b/../victim", "..", ""]
)
def test_no_path_of_a_checkpoint_is_taken(folders, form, monitor):
    first, second = folders
    state = hostile(form.format(first.parent)) | {"dirpath": str(second)}
    found = restore(state, keeper(second, monitor), first / "last.ckpt")
    assert (found.best_model_path, found.last_model_path, found.best_k_models) == ("", "", {})
    assert found.kth_best_model_path == ""


@pytest.mark.filterwarnings("ignore:.*the best of the run so far does not lie beside")
@pytest.mark.parametrize("state", [3, {}, {"best_k_models": [1]}, {"best_k_models": {"../../x.ckpt": "text", 3: None}}])
def test_a_state_of_another_form(folders, state):
    first, second = folders
    assert restore(state, keeper(second), first / "last.ckpt").best_k_models == {}


# -- with Lightning --------------------------------------------------------------------------------------


@pytest.fixture
def resume(root, tmp_path, monkeypatch):
    """A run of one epoch that its checkpoints give another score; goes on for an epoch when called; the trainer."""
    monkeypatch.chdir(tmp_path)
    tiny = ["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--monitoring", "false"]
    main([*tiny, "--trainer.max_epochs", "1"])

    def fit(edit):
        for name in ("best", "last"):
            contents = torch.load(f"{FIRST}/{name}.ckpt", weights_only=True)
            for key, state in contents["callbacks"].items():
                if key.startswith("ModelCheckpoint"):
                    edit(state)
            torch.save(contents, f"{FIRST}/{name}.ckpt")
        return main([*tiny, "--ckpt_path", f"{FIRST}/last.ckpt"]).trainer

    return fit


def scored(value):
    def edit(state):
        if state["monitor"]:
            state["best_k_models"] = dict.fromkeys(state["best_k_models"], torch.tensor(value))
            state["best_model_score"] = state["current_score"] = state["kth_value"] = torch.tensor(value)

    return edit


def test_a_run_in_two_parts_has_one_best(resume, capsys):
    resume(scored(2.0))
    said = capsys.readouterr().out
    assert "2.0000" in [line for line in said.splitlines() if "val/acc1" in line][-1]
    assert f"best checkpoint: {SECOND}/best.ckpt" in said
    assert Path(SECOND, "best.ckpt").read_bytes() == Path(FIRST, "best.ckpt").read_bytes()
    held = torch.load(f"{SECOND}/last.ckpt", weights_only=True)["callbacks"]
    assert {float(state["best_model_score"]) for state in held.values() if state.get("monitor")} == {2.0}


@pytest.mark.slow
def test_a_better_one_takes_its_place(resume):
    trainer = resume(scored(-1.0))
    best = next(c for c in trainer.checkpoint_callbacks if c.monitor)
    assert best.best_model_path == f"{SECOND}/best.ckpt"
    assert float(best.best_model_score) >= 0
    assert torch.load(best.best_model_path, weights_only=True)["epoch"] == 1
    assert {path.name for path in Path(SECOND).iterdir()} == {"best.ckpt", "last.ckpt"}
    assert torch.load(f"{FIRST}/best.ckpt", weights_only=True)["epoch"] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*the best of the run so far does not lie beside")
@pytest.mark.parametrize("form", ["local://{0}", SECOND + "/../../../../victim"])
def test_nothing_is_removed_on_a_checkpoint_s_word(resume, tmp_path, form):
    """Lightning removes what a newer checkpoint replaces, folders too."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.tex").write_text("years of work")
    resume(lambda state: state.update(hostile(form.format(victim)), dirpath=SECOND))
    assert (victim / "thesis.tex").read_text() == "years of work"
