"""The one reader of files of weights: released checkpoints of both layouts, our own, state dicts and safetensors."""

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from torch import Tensor

from biformer_lit.checkpoints.file_contents import read_contents
from biformer_lit.checkpoints.released_names import rename_released
from biformer_lit.errors import CheckpointError
from biformer_lit.extending import read_needed, told_missing

Copy: TypeAlias = Literal["raw", "average", "ema"]  # the last is the old word for average
Shapes: TypeAlias = dict[str, tuple[int, ...]]

METADATA: Final = ("class_names", "preprocessing", "plugins")
"""What our checkpoints say beside their weights, and files made of them keep as metadata."""

_WRAPPER = re.compile(r"^(?:module\.|_orig_mod\.|net\.|model\.)+")
_CLASSIFIER = re.compile(r"(^|\.)head\.weight$")


@dataclass(frozen=True)
class Origin:
    """Information about weights besides their values.

    Attributes:
        source: The file, for messages; empty for weights that are in memory.
        class_names: Names of the classes in the network's order; empty if nothing names them.
        num_classes: How many there are; None if it is not said.
        preprocessing: How images were prepared, as a data module wrote it; None if it is not said.
        made_by: Import path of the task that trained them, which nothing imports; None if they are from no run of ours.
    """

    source: str
    class_names: tuple[str, ...] = ()
    num_classes: int | None = None
    preprocessing: dict[str, Any] | None = None
    made_by: str | None = None

    @property
    def is_run(self) -> bool:
        """True if the file is a checkpoint of a training run of ours."""
        return self.made_by is not None


@dataclass(frozen=True)
class SavedWeights:
    """A file of weights that was read.

    Attributes:
        entries: A checkpoint's entries, or tensors by name.
        source: The file, for messages; empty for weights that are in memory.
        metadata: What a safetensors file says beside its tensors.
    """

    entries: dict[str, Any]
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Beginning of messages about the file."""
        return f"{self.source}: " if self.source else ""

    @cached_property
    def origin(self) -> Origin:
        """Information in the file about the network of the weights.

        Raises:
            CheckpointError: If that makes no sense.
        """
        return origin_of(self.said, self.source)

    @cached_property
    def said(self) -> Mapping[str, Any]:
        """Entries that describe the weights, of a safetensors file those that it has as text beside its tensors."""
        return _decoded(self.metadata) if self.metadata else self.entries

    @property
    def made_by(self) -> str:
        """Import path of the task whose training run saved the file.

        Raises:
            CheckpointError: If none did.
        """
        if self.origin.made_by is None or not isinstance(self.entries.get("state_dict"), Mapping):
            raise CheckpointError(
                f"{self.where}is not a checkpoint of a training run of this package, so it cannot be resumed; "
                "to use its weights set model.init_args.weights instead"
            )
        return self.origin.made_by

    def check_resumable(self) -> None:
        """Refuse a file that no training can go on from.

        Raises:
            CheckpointError: If it is from no training run, or holds nothing of the optimiser.
        """
        if self.made_by and "optimizer_states" not in self.entries:
            raise CheckpointError(
                f"{self.where}was saved without the optimiser's state (save_weights_only), so it cannot be resumed; "
                "to start from its weights set model.init_args.weights instead"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of that task."""
        settings: dict[str, Any] = self.entries["hyper_parameters"]
        return settings

    @property
    def shapes(self) -> Shapes:
        """Shapes of the weights of a training run by name."""
        tensors = self.entries["state_dict"].items()
        return {str(key): tuple(value.shape) for key, value in tensors if isinstance(value, Tensor)}

    def weights(self, copy: Copy | None = None) -> tuple[dict[str, Tensor], str]:
        """Return the wanted state dict under our names, and what it is, for people.

        Args:
            copy: As in :func:`biformer_lit.load_weights`.

        Raises:
            CheckpointError: If the file has no such copy, or none at all.
        """
        copies, usual = _copies(self.entries)
        wanted = _present_word(copy) or usual
        if wanted not in copies:
            raise CheckpointError(
                f"{self.where}holds no {wanted} weights, only {', '.join(copies)}; leave copy (weights_copy) out"
            )
        entry = copies[wanted]
        tensors = self.entries[entry] if entry else self.entries
        if not isinstance(tensors, Mapping) or not tensors or not all(isinstance(t, Tensor) for t in tensors.values()):
            found = ", ".join(list(map(str, self.entries))[:5]) or "nothing"
            raise CheckpointError(f"{self.where}holds no state dict of tensors; its entries are: {found}")
        others = [name for name in copies if name != wanted]
        description = f"the {wanted} weights" + (f" (the file has {others[0]} weights too)" if others else "")
        return rename_released({_WRAPPER.sub("", key): tensor for key, tensor in tensors.items()}), description

    def misfit(self, problem: str) -> CheckpointError:
        """Return the error that says that these weights do not fit a network, and which plug-in that may lack."""
        missing = told_missing(read_needed(self.said, self.source))
        remedy = f"; they are from a network with {missing}" if missing else ""
        return CheckpointError(f"{self.where}{problem}; use the settings of the model that they are from{remedy}")

    def count_outputs(self) -> int:
        """Return the number of outputs of the classifier that the weights hold, 0 for none."""
        for part in (self.entries, *(value for value in self.entries.values() if isinstance(value, Mapping))):
            for key, value in part.items():
                if _CLASSIFIER.search(str(key)) and isinstance(value, Tensor):
                    return len(value)
        return 0


def read_weights(path: str | Path, *, resume: bool = False) -> SavedWeights:
    """Read a file of weights, tensors on the CPU; code in it is never run.

    Args:
        path: A ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file.
        resume: Whether training is to go on from it, and so from the one that is named if it is damaged.

    Raises:
        CheckpointError: If it cannot be read; see :func:`biformer_lit.checkpoints.file_contents.read_contents`.
    """
    entries, metadata = read_contents(path, resume=resume)
    return SavedWeights(entries, str(path), metadata)


def opened(source: "str | Path | Mapping[str, Any] | SavedWeights") -> SavedWeights:
    """Return weights as they are if they were read already, else read them; a mapping is what a file would hold."""
    if isinstance(source, SavedWeights):
        return source
    if isinstance(source, str | Path):
        return read_weights(source)
    return SavedWeights(dict(source))


def origin_of(entries: Mapping[str, Any], source: str) -> Origin:
    """Return what the entries of a checkpoint say of its network.

    Args:
        entries: The checkpoint.
        source: Its file, for messages.

    Raises:
        CheckpointError: If what it says makes no sense.
    """
    settings = entries.get("hyper_parameters")
    settings = settings if isinstance(settings, dict) else {}
    names, preprocessing = _names(entries, source), entries.get("preprocessing")
    count, made_by = settings.get("num_classes"), settings.get("_class_path")
    return Origin(
        source,
        names,
        len(names) or (count if isinstance(count, int) and not isinstance(count, bool) else None),
        preprocessing if isinstance(preprocessing, dict) else None,
        None if made_by is None else str(made_by),
    )


def _present_word(copy: Copy | None) -> Copy | None:
    if copy != "ema":
        return copy
    warnings.warn(
        "averaged weights are called 'average' everywhere: 'ema' as a copy (weights_copy) will be refused in the "
        "next release; write 'average'",
        FutureWarning,
        stacklevel=2,
    )
    return "average"


def _copies(entries: Mapping[str, Any]) -> tuple[dict[str, str], Copy]:
    """Return the entry that holds each copy of the weights, and the copy that the file's figures belong to."""
    if "current_model_state" in entries:  # a checkpoint of our tasks, trained with the EMA callback
        return {"average": "state_dict", "raw": "current_model_state"}, "average"
    if "averaged_model_state" in entries:  # the same, trained with the EMA callback's evaluate: raw
        return {"raw": "state_dict", "average": "averaged_model_state"}, "raw"
    if "model" in entries:  # a released checkpoint
        return {"raw": "model"} | ({"average": "model_ema"} if "model_ema" in entries else {}), "raw"
    return {"raw": "state_dict" if "state_dict" in entries else ""}, "raw"


def _names(entries: Mapping[str, Any], source: str) -> tuple[str, ...]:
    names = entries.get("class_names")
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return tuple(names)
    if names is not None and not isinstance(names, Tensor):  # a parameter may be called so
        raise CheckpointError(f"{source}: its class_names are no list of names; save it again")
    return ()


def _decoded(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the entries that ``convert`` left in a safetensors file; text of other programs is passed over."""
    try:
        return {name: json.loads(metadata[name]) for name in METADATA if name in metadata}
    except (ValueError, RecursionError):
        return {}
