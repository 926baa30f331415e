"""Weights from files: released checkpoints of both layouts, our own, and safetensors, checked before loading."""

import json
import logging
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from biformer_lit.checkpoints.damage import damage, whole_instead
from biformer_lit.common.files import durable
from biformer_lit.errors import CheckpointError

logger = logging.getLogger(__name__)

# Released names on the left, ours on the right; the channels-first release has names of its own.
_RENAMES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^stages\.(\d+)\.(?:blocks\.)?(\d+)\.", r"stages.\1.blocks.\2."),
        (r"\.pos_embed\.", ".cpe."),
        (r"\.attn\.lepe\.", ".attn.lce."),
        (r"\.attn\.(?:qkv\.qkv|qkv_linear)\.", ".attn.qkv."),
        (r"\.attn\.(?:wo|output_linear)\.", ".attn.proj."),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.[23]\.", ".mlp.fc2."),
    )
)
_STEM_NAMES = {"0": "conv1", "1": "norm1", "3": "conv2", "4": "norm2"}
_PATCH_STEM_NAMES = {"0": "conv", "1": "norm"}
_SEED = ".routing_seed"
_SAID = ("class_names", "preprocessing")  # in our checkpoints, beside the weights
_MOST_REPEATED = 1_000_000  # numbers of a tensor whose file holds fewer and repeats them
_DEEPEST = 8  # dicts within dicts that are looked into
_WRAPPER = re.compile(r"^(?:module\.|_orig_mod\.|net\.|model\.)+")


@dataclass(frozen=True)
class LoadReport:
    """Result of :func:`load_weights`.

    Attributes:
        source: Where the weights came from, for people: the file and which of its copies.
        fresh: Entries of the model that the weights did not fill: a classifier of another size, and the seeds of
            ``routing: random_fixed`` where the weights are from another routing.
        unused: Entries of the weights that the model has no place for: a classifier or such seeds.
    """

    source: str
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def untrained(self) -> tuple[str, ...]:
        """The fresh entries that training would have to fill: all but the seeds."""
        return tuple(key for key in self.fresh if not key.endswith(_SEED))


def is_released(state_dict: Mapping[str, Any]) -> bool:
    """Return whether the parameter names are those of the released code."""
    return any(key.startswith("downsample_layers.") for key in state_dict)


def rename_released(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released parameter names and shapes, of either layout, as ours; our own names pass unchanged.

    Args:
        state_dict: Tensors by name. The 1x1 convolutions of the channels-first release become linear layers.

    Returns:
        Tensors by our names, in the same order.
    """
    if not is_released(state_dict):
        return dict(state_dict)
    overlap = "downsample_layers.0.3.weight" in state_dict
    renamed = {}
    for key, tensor in state_dict.items():
        name = key
        if key.startswith("downsample_layers."):
            _, stage, layer, leaf = key.split(".", 3)
            if stage == "0":
                names = _STEM_NAMES if overlap else _PATCH_STEM_NAMES
                name = f"stem.{names.get(layer, layer)}.{leaf}"
            else:
                is_conv = (layer == "0") is overlap
                name = f"stages.{stage}.downsample.{'conv' if is_conv else 'norm'}.{leaf}"
        else:
            for pattern, replacement in _RENAMES:
                name = pattern.sub(replacement, name)
        is_linear = name.endswith(("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight"))
        renamed[name] = tensor.flatten(1) if is_linear else tensor
    return renamed


def check_fits(model: nn.Module, state_dict: Mapping[str, Any]) -> str | None:
    """Return why ``state_dict`` does not fit ``model``, as one readable line, or None if it fits."""
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    return describe_misfit(own, {key: tuple(value.shape) for key, value in state_dict.items()})


def describe_misfit(own: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return how given shapes differ from a model's own, as one readable line, or None if they do not."""
    problems = []
    for what, keys in (
        ("missing", [key for key in own if key not in given]),
        ("unknown", [key for key in given if key not in own]),
    ):
        if keys:
            problems.append(f"{len(keys)} {what} ({_some(keys)})")
    shapes = [f"{key} {given[key]} instead of {own[key]}" for key in own if given.get(key, own[key]) != own[key]]
    if shapes:
        problems.append(f"{len(shapes)} of another shape ({_some(shapes)})")
    if not problems:
        return None
    return f"the weights do not fit this model, nothing was loaded: {'; '.join(problems)}"


def load_weights(
    model: nn.Module,
    source: str | Path | Mapping[str, Any],
    *,
    copy: Literal["raw", "ema"] | None = None,
    fresh_classifier: bool = False,
) -> LoadReport:
    """Fill ``model`` from a file or a state dict; everything is checked before anything is changed.

    Understands released checkpoints of both layouts, checkpoints of our tasks, plain state dicts and
    safetensors. A classifier with another number of classes is left fresh, and a warning says so. Weights
    may go from one ``routing`` to another: only ``random_fixed`` keeps something of its own, its seeds.

    Args:
        model: A :class:`BiFormer`, or the feature extractor that ``features_only=True`` gives.
        source: A ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file, or what one holds.
        copy: Which weights where a file holds both ``raw`` and ``ema`` (averaged) ones. None takes those that
            the file's figures belong to: the raw ones of a released checkpoint (the released code evaluates
            these), those that were validated in our tasks' checkpoints
            (the averaged ones, unless the EMA callback says ``evaluate: raw``).
        fresh_classifier: Leave the classifier as it is even if its shape fits, for its classes are others.

    Returns:
        What was loaded and what was not.

    Raises:
        CheckpointError: If the file cannot be read, or keys are missing, unknown or of another shape.
    """
    contents = read_checkpoint(source) if isinstance(source, (str, Path)) else dict(source)
    where = f"{source}: " if isinstance(source, (str, Path)) else ""
    state_dict, description = pick_weights(contents, copy, where)
    inner = getattr(model, "model", None)  # features_only wraps the network
    net = inner if isinstance(inner, nn.Module) else model
    own = net.state_dict()
    head = [key for key in ("head.weight", "head.bias") if key in own]
    optional = [key for key in state_dict if key.startswith(("head.", "norm.")) or key.endswith(_SEED)]
    unused = [key for key in optional if key not in own]
    for key in unused:
        del state_dict[key]
    seeds = [key for key in own if key.endswith(_SEED) and key not in state_dict]
    state_dict.update({key: own[key] for key in seeds})
    fresh = []
    other = any(key not in state_dict or state_dict[key].shape != own[key].shape for key in head)
    if other or fresh_classifier:
        fresh = head
        state_dict.update({key: own[key] for key in head})
    if problem := check_fits(net, state_dict):
        raise CheckpointError(f"{where}{problem}; use the settings of the model that they are from")
    net.load_state_dict(state_dict)
    report = LoadReport(f"{where}{description}", (*fresh, *seeds), tuple(unused))
    logger.info("loaded %s", report.source)
    if other:
        logger.warning("%sthe classifier has another number of classes or is absent: the head is fresh", where)
    return report


def read_checkpoint(path: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """The contents of a checkpoint file, tensors on the CPU; code in it is never run.

    Args:
        path: The file. The checksums of one that ``torch.save`` wrote are looked at first.
        resume: Whether training is to go on from it, and so from the one that is named if it is damaged.

    Raises:
        CheckpointError: If the file does not exist, is damaged, or holds more than plain data. Where a run's
            checkpoint is damaged and another in its folder is not, that one is named.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; give the path of a .pth, .ckpt or .safetensors file")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        _check_bytes(path, resume)
        with warnings.catch_warnings():  # about pickle protocols: a file of another kind is an error below
            warnings.simplefilter("ignore", UserWarning)
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}); fetch or save it again") from None
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))  # torch's own text is a page of advice
        reason = f"it would run {code[1]}" if code else "its pickle cannot be read"
        raise CheckpointError(
            f"{path}: holds something else than tensors and plain data, or is damaged ({reason}); "
            "save a plain state dict, and load only files you trust"
        ) from None
    except Exception as error:  # noqa: BLE001  # damaged bytes without checksums may lead torch anywhere
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        reason = type(error).__name__ if isinstance(error, KeyError) else reason[:120]  # a KeyError says nothing
        raise CheckpointError(_damaged(path, f"or not a PyTorch file ({reason})", resume)) from None
    if not isinstance(contents, dict):
        raise CheckpointError(f"{path}: holds a {type(contents).__name__} instead of a dict of tensors")
    if name := _unreal(contents):
        raise CheckpointError(f"{path}: {name} is no plain tensor with all its numbers in the file; save it as one")
    return contents


def _unreal(contents: Mapping[Any, Any], prefix: str = "") -> str | None:
    """The name of a tensor of weights that claims more numbers than the file holds, or is of another kind."""
    for key, value in contents.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.device.type == "meta" or value.is_quantized:
                return name
            if value.numel() > _MOST_REPEATED and value.untyped_storage().nbytes() < value.nbytes:
                return name
        elif isinstance(value, Mapping) and prefix.count(".") < _DEEPEST and (found := _unreal(value, f"{name}.")):
            return found
    return None


def _check_bytes(path: Path, resume: bool) -> None:
    if reason := damage(path):
        raise CheckpointError(_damaged(path, f"({reason})", resume))


def _damaged(path: Path, reason: str, resume: bool) -> str:
    return f"{path}: damaged {reason}; {whole_instead(path, resume=resume) or 'fetch or save it again'}"


def convert_checkpoint(
    source: str | Path, destination: str | Path, *, copy: Literal["raw", "ema"] | None = None
) -> str:
    """Rewrite a checkpoint as safetensors with our parameter names.

    What one of our checkpoints says of its classes and of its preprocessing is kept as metadata.

    Args:
        source: Any file that :func:`load_weights` reads.
        destination: The ``.safetensors`` file to make; an existing one is never overwritten.
        copy: As in :func:`load_weights`.

    Returns:
        Which weights were written, for people.

    Raises:
        CheckpointError: If the source cannot be read or the destination exists or is not ``.safetensors``.
    """
    destination = Path(destination)
    if destination.suffix != ".safetensors":
        raise CheckpointError(f"{destination}: the result is a .safetensors file; give it that suffix")
    if destination.exists():
        raise CheckpointError(f"{destination}: exists already; remove it or choose another name")
    if not destination.parent.is_dir():
        raise CheckpointError(f"{destination}: the folder {destination.parent} does not exist; make it first")
    contents = read_checkpoint(source)
    state_dict, description = pick_weights(contents, copy, f"{source}: ")
    said = {name: json.dumps(contents[name]) for name in _SAID if isinstance(contents.get(name), list | dict)}
    try:
        with durable(destination) as file:
            save_file({key: tensor.contiguous() for key, tensor in state_dict.items()}, file.name, metadata=said)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{destination}: cannot be written ({error}); choose another place") from None
    return description


def pick_weights(contents: dict[str, Any], copy: str | None, where: str) -> tuple[dict[str, Tensor], str]:
    """The wanted state dict under our names, and what it is."""
    if "current_model_state" in contents:  # a checkpoint of our tasks, trained with the EMA callback
        copies = {"ema": "state_dict", "raw": "current_model_state"}
        wanted = copy or "ema"
    elif "averaged_model_state" in contents:  # the same, trained with the EMA callback's evaluate: raw
        copies = {"raw": "state_dict", "ema": "averaged_model_state"}
        wanted = copy or "raw"
    elif "model" in contents:  # a released checkpoint
        copies = {"raw": "model"} | ({"ema": "model_ema"} if "model_ema" in contents else {})
        wanted = copy or "raw"
    else:
        copies = {"raw": "state_dict" if "state_dict" in contents else ""}
        wanted = copy or "raw"
    if wanted not in copies:
        raise CheckpointError(
            f"{where}holds no {wanted} weights, only {', '.join(copies)}; leave copy (weights_copy) out"
        )
    entry = copies[wanted]
    tensors = contents[entry] if entry else contents
    if not isinstance(tensors, Mapping) or not tensors or not all(isinstance(t, Tensor) for t in tensors.values()):
        found = ", ".join(list(map(str, contents))[:5]) or "nothing"
        raise CheckpointError(f"{where}holds no state dict of tensors; its entries are: {found}")
    others = [name for name in copies if name != wanted]
    description = f"the {wanted} weights" + (f" (the file has {others[0]} weights too)" if others else "")
    tensors = {_WRAPPER.sub("", key): tensor for key, tensor in tensors.items()}
    return rename_released(tensors), description


def _some(items: list[str], most: int = 3) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
