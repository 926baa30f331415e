"""Contents of a file of weights, read only after it was looked at; code in it is never run."""

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from biformer_lit.checkpoints.damage import damage, is_checkpoint_name, neighbours
from biformer_lit.errors import CheckpointError

_MOST_REPEATED: Final = 1_000_000  # numbers of a tensor whose file holds fewer and repeats them
_DEEPEST: Final = 8  # dicts within dicts that are looked into


class FileContents(NamedTuple):
    """Contents of a file.

    Attributes:
        entries: A checkpoint's entries, or the tensors of a safetensors file by name.
        metadata: Text that a safetensors file has beside its tensors.
    """

    entries: dict[str, Any]
    metadata: Mapping[str, str]


def read_contents(
    path: str | Path, *, resume: bool = False, map_location: str | torch.device | Callable[..., Any] | None = "cpu"
) -> FileContents:
    """Read a checkpoint, a state dict, or safetensors.

    Args:
        path: The file. The checksums of one that ``torch.save`` wrote are looked at first.
        resume: Whether training is to go on from it, and so from the one that is named if it is damaged.
        map_location: Where tensors go, as in ``torch.load``; those of safetensors stay on the CPU.

    Raises:
        CheckpointError: If the file does not exist, is damaged, holds more than plain data, or claims more than it
            holds. Where a run's checkpoint is damaged and another in its folder is not, that one is named.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; give the path of a .pth, .ckpt or .safetensors file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    entries = _read_pickled(path, resume, map_location)
    if not isinstance(entries, dict):
        raise CheckpointError(f"{path}: holds a {type(entries).__name__} instead of a dict of tensors")
    if name := _unreal(entries):
        raise CheckpointError(f"{path}: {name} is no plain tensor with all its numbers in the file; save it as one")
    return FileContents(entries, {})


def _read_safetensors(path: Path) -> FileContents:
    try:
        with safe_open(path, framework="pt") as file:
            return FileContents({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})  # noqa: SIM118 (it is no dict)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}); fetch or save it again") from None
    except Exception as error:  # noqa: BLE001  # as for files of torch
        raise _unreadable(path, error, resume=False) from None


def _read_pickled(path: Path, resume: bool, map_location: Any) -> Any:
    try:
        _check_bytes(path, resume)
        with warnings.catch_warnings():  # about pickle protocols: a file of another kind is an error below
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location=map_location, weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))  # torch's own text is a page of advice
        reason = f"it would run {code[1]}" if code else "its pickle cannot be read"
        raise CheckpointError(
            f"{path}: holds something else than tensors and plain data, or is damaged ({reason}); "
            "save a plain state dict, and load only files you trust"
        ) from None
    except Exception as error:  # noqa: BLE001  # damaged bytes without checksums may lead torch anywhere
        raise _unreadable(path, error, resume) from None


def _check_bytes(path: Path, resume: bool) -> None:
    if reason := damage(path):
        raise CheckpointError(_damaged(path, f"({reason})", resume))


def _unreadable(path: Path, error: Exception, resume: bool) -> CheckpointError:
    reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
    reason = type(error).__name__ if isinstance(error, KeyError) else reason[:120]  # a KeyError says nothing
    return CheckpointError(_damaged(path, f"or not a PyTorch file ({reason})", resume))


def _damaged(path: Path, reason: str, resume: bool) -> str:
    return f"{path}: damaged {reason}; {whole_instead(path, resume=resume) or 'fetch or save it again'}"


def _unreal(entries: Mapping[Any, Any], prefix: str = "") -> str | None:
    """Return the name of a tensor that claims more numbers than the file holds, or is of another kind."""
    for key, value in entries.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.device.type == "meta" or value.is_quantized:
                return name
            if value.numel() > _MOST_REPEATED and value.untyped_storage().nbytes() < value.nbytes:
                return name
        elif isinstance(value, Mapping) and prefix.count(".") < _DEEPEST and (found := _unreal(value, f"{name}.")):
            return found
    return None


def peek(path: Path) -> dict[str, Any] | None:
    """Return the entries of an undamaged checkpoint, whose tensors are read as they are used; None for another file."""
    try:
        if damage(path):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entries = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # noqa: BLE001  # whatever is wrong with it, it is not what was looked for
        return None
    return entries if isinstance(entries, dict) else None


def whole_instead(path: Path, *, resume: bool = False) -> str | None:
    """Return what to say of the checkpoint that may be used instead of a damaged one, None if there is none.

    It is the one that the damaged one had replaced, or else the newest in its folder, and has been read as a whole.

    Args:
        path: The damaged checkpoint; a file that is not named ``.ckpt`` is no run's, and has no other beside it.
        resume: Whether training is to go on from it.
    """
    if not is_checkpoint_name(path):
        return None
    for other in neighbours(path):
        place = _place(other, resume)
        if place is not None:
            return f"{other} is whole ({place}): give that instead"
    return None


def _place(path: Path, resume: bool) -> str | None:
    """Return where in training a checkpoint was made, None if it is not a whole one of a run."""
    entries = peek(path)
    wanted = {"state_dict", "hyper_parameters", "epoch", "global_step"} | ({"optimizer_states"} if resume else set())
    if entries is None or not wanted <= entries.keys():
        return None
    return f"epoch {entries['epoch']}, step {entries['global_step']}"
