"""After a resume: the best checkpoint of the whole run, in the folder that the run goes on in."""

import itertools
import os
import shutil
import warnings
from pathlib import Path, PurePath
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from biformer_lit.checkpoints.file_contents import peek


class BestOfRun(Callback):
    """Brings the best checkpoints of the run so far along when it is resumed, with their figures.

    Lightning forgets them where the run goes on in a folder of its own, and then calls the best of the new part the
    best. Here they are linked (or copied) into the new folder, and what comes is compared with them.

    Of what a checkpoint says about files only their names are used, beside the checkpoint itself: Lightning removes
    files that newer ones replace, and would remove whatever an untrusted checkpoint names, even folders.
    """

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Rewrite what the trainer's ``ModelCheckpoint`` callbacks are about to restore."""
        states = checkpoint["callbacks"]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ModelCheckpoint) and callback.state_key in states:
                state = states[callback.state_key]
                found = self._find(trainer, callback, state, checkpoint) if trainer.is_global_zero else None
                states[callback.state_key] = _state(callback, trainer.strategy.broadcast(found or {}))

    def _find(
        self, trainer: Trainer, callback: ModelCheckpoint, state: Any, checkpoint: dict[str, Any]
    ) -> dict[str, Any]:
        """The files of the state that are there, under their paths in the folder of ``callback``, and their scores."""
        source = Path(str(trainer.ckpt_path)).parent
        folder = Path(str(callback.dirpath))
        state = state if isinstance(state, dict) else {}
        scores = state.get("best_k_models")
        scores = scores if isinstance(scores, dict) and callback.monitor is not None else {}
        same = source.is_dir() and folder.is_dir() and source.samefile(folder)
        kept, lost = {}, {}
        for path, score in scores.items():
            name = PurePath(str(path)).name
            if _was_saved_as(source / name, callback, score, checkpoint):
                if trainer.state.fn == "fit" and not same:
                    name = _bring(source / name, folder)
                kept[os.path.join(str(callback.dirpath), name)] = score  # noqa: PTH118  # as Lightning spells it
            else:
                lost[name] = score
        if lost and trainer.state.fn == "fit":
            _tell(callback, lost, trainer.ckpt_path)
        own = {key: PurePath(str(state.get(key) or "")).name for key in ("best_model_path", "last_model_path")}
        there = {
            key: name for key, name in own.items() if same and name.endswith(".ckpt") and (folder / name).is_file()
        }
        return {"kept": kept, "own": {key: str(PurePath(str(callback.dirpath), name)) for key, name in there.items()}}


def _state(callback: ModelCheckpoint, found: dict[str, Any]) -> dict[str, Any]:
    """Return the state that ``callback`` is to restore."""
    kept: dict[str, Tensor] = found["kept"]
    order = sorted(kept, key=lambda path: float(kept[path]), reverse=callback.mode == "max")
    nothing = {"best_model_path": "", "last_model_path": ""} | found["own"]
    return {
        **nothing,
        "monitor": callback.monitor,
        "dirpath": callback.dirpath,
        "best_k_models": kept,
        "best_model_path": order[0] if order else nothing["best_model_path"] if callback.monitor is None else "",
        "best_model_score": kept[order[0]] if order else None,
        "current_score": None,
        "kth_best_model_path": order[-1] if order else "",
        "kth_value": kept[order[-1]] if order else callback.kth_value,
    }


def _was_saved_as(file: Path, callback: ModelCheckpoint, score: Any, checkpoint: dict[str, Any]) -> bool:
    """Return whether a file is the one with this score, not one that the run has written after ``checkpoint``."""
    is_score = isinstance(score, Tensor) and score.numel() == 1
    if not is_score or file.suffix != ".ckpt" or not file.is_file():
        return False
    saved = peek(file)
    try:
        own = saved is not None and saved["callbacks"][callback.state_key]["current_score"]
        return saved is not None and bool(own == score) and saved["global_step"] <= checkpoint["global_step"]
    except Exception:  # noqa: BLE001  # whatever is wrong with it, it is not that file
        return False


def _bring(source: Path, folder: Path) -> str:
    """Make a file appear in another folder; its name there, another one where a file has that already."""
    folder.mkdir(parents=True, exist_ok=True)
    versions = (f"{source.stem}-v{number}{source.suffix}" for number in itertools.count(1))
    name = next(name for name in itertools.chain([source.name], versions) if not os.path.lexists(folder / name))
    try:
        os.link(source, folder / name)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, folder / name)
    return name


def _tell(callback: ModelCheckpoint, lost: dict[str, Any], resumed: Any) -> None:
    scores = {name: float(score) for name, score in lost.items() if isinstance(score, Tensor) and score.numel() == 1}
    names = ", ".join(f"{name} ({callback.monitor}={score:.4f})" for name, score in scores.items()) or ", ".join(lost)
    warnings.warn(
        f"{names}: the best of the run so far does not lie beside {resumed} any more; what is called best from here on "
        "is the best of what comes",
        stacklevel=2,
    )
