"""How images are prepared for a network: told by a data module, kept in checkpoints, and used again."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as TF
from typing_extensions import Self

from biformer_lit.classification.image_augmentation import Transform, eval_transform
from biformer_lit.detection.box_augmentation import ImageSize
from biformer_lit.errors import CheckpointError
from biformer_lit.segmentation.mask_augmentation import normalise

_ALWAYS = ("mean", "std", "value_range", "bands")
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "classes": ("image_size", "crop_pct", "interpolation", *_ALWAYS),
    "maps": ("image_size", "eval_size", *_ALWAYS),
    "objects": ("image_size", "max_size", *_ALWAYS),
}
"""What prepares an image in evaluation, for each kind of targets: arguments of the data module."""

_CROPS = ("maps", "image_size")  # which training alone cuts out
_LARGEST = 16_384  # pixels of a side: more than any network is fed, less than what fills the memory


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_three(values: Any) -> bool:
    return _is_list(values, 3) and all(map(_is_number, values))


def _is_list(values: Any, length: int) -> bool:
    return isinstance(values, list | tuple) and len(values) == length


_CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "image_size": lambda x: _is_side(x) or (_is_list(x, 2) and all(map(_is_side, x))),
    "eval_size": lambda x: x is None or _is_side(x),
    "max_size": _is_side,
    "crop_pct": lambda x: _is_number(x) and 0.01 <= x <= 1,
    "interpolation": lambda x: x in ("bicubic", "bilinear"),
    "mean": _are_three,
    "std": lambda x: _are_three(x) and min(x) > 0,
    "value_range": lambda x: x is None or (_is_list(x, 2) and all(map(_is_number, x)) and x[0] < x[1]),
    "bands": lambda x: x is None or ((_is_list(x, 1) or _is_list(x, 3)) and all(map(_is_side, x))),
}


def check_preprocessing(stored: Any, source: str) -> dict[str, Any]:
    """What a checkpoint says of the preparation of images, if it is sound.

    Args:
        stored: The entry ``preprocessing``.
        source: Where it is from, for the error.

    Raises:
        CheckpointError: If something is missing or out of its range.
    """
    kind = stored.get("targets") if isinstance(stored, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(f"{source}: its preprocessing is for no kind of data that is known; save it again")
    for name in KINDS[kind]:
        if name not in stored or not _CHECKS[name](stored[name]):
            raise CheckpointError(
                f"{source}: its preprocessing holds no usable {name} ({str(stored.get(name))[:80]}); save it again"
            )
    return {"targets": kind} | {name: stored[name] for name in KINDS[kind]}


def image_transform(preprocessing: Mapping[str, Any]) -> Transform:
    """What a network is fed in evaluation, as a function of a photo.

    Args:
        preprocessing: ``load_task(path).preprocessing``.

    Returns:
        Function from an RGB image to a float32 tensor (3, height, width). For a classifier that is its square; label
        maps and objects are found in whole images, resized as in evaluation but not padded.

    Raises:
        CheckpointError: If it is no preprocessing of a checkpoint.
    """
    known = check_preprocessing(preprocessing, "preprocessing")
    mean, std = tuple(known["mean"]), tuple(known["std"])
    if known["targets"] == "classes":
        return eval_transform(known["image_size"], known["crop_pct"], mean, std, known["interpolation"])

    def prepare(image: Image.Image) -> Tensor:
        picture = TF.pil_to_tensor(image)
        if (size := _dense_size(known, (image.height, image.width))) is not None:
            picture = TF.resize(picture, list(size), antialias=True)
        return normalise(picture, mean, std)

    return prepare


def _dense_size(known: Mapping[str, Any], stored: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width that an image is fed with, None for those that it has."""
    if known["targets"] == "objects":
        return ImageSize(known["image_size"], known["max_size"]).fit(stored, known["image_size"])
    if known["eval_size"] is None:
        return None
    height, width = (max(1, round(side * known["eval_size"] / min(stored))) for side in stored)
    return height, width


class PreparedImages:
    """The part of a data module that knows how images are prepared.

    A trained network wants images as those that it was trained on. ``use_preprocessing`` prepares them so, but for what
    was given to the data module by name.
    """

    targets: ClassVar[Any]
    given_settings: frozenset[str] = frozenset()
    """Names of the arguments that somebody chose; the others are defaults. Fields of groups are written with a dot."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note what is given."""
        module = super().__new__(cls)
        names = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
        module.given_settings = frozenset((*names[: len(args)], *kwargs))
        return module

    def preprocessing(self) -> dict[str, Any] | None:
        """How images are prepared in evaluation, as plain data for checkpoints; None if it is not known."""
        if self.targets is None:
            return None
        try:
            return {"targets": self.targets} | {name: _plain(self._setting(name)) for name in KINDS[self.targets]}
        except AttributeError:  # a data module of somebody's own
            return None

    def use_preprocessing(self, stored: Mapping[str, Any], source: str) -> dict[str, tuple[Any, Any]]:
        """Prepare images as for the training of a network; call it before loaders are made.

        What was given to this data module stays.

        Args:
            stored: What ``preprocessing`` returned in training.
            source: Where it is from, for messages.

        Returns:
            What stays though it differs, by the name of the argument: the value that counts, and the stored one.

        Raises:
            CheckpointError: If it is not sound, or for another kind of targets.
        """
        wanted = check_preprocessing(stored, source)
        if wanted["targets"] != self.targets or self.preprocessing() is None:
            return {}
        used = [name for name in KINDS[wanted["targets"]] if (wanted["targets"], name) != _CROPS]
        differing = [name for name in used if _plain(self._setting(name)) != _plain(wanted[name])]
        chosen = [name for name in differing if self._is_given(name)]
        for name in differing:
            if name not in chosen:
                self._set(name, wanted[name])
        self.adopt_preprocessing()
        return {_argument(name): (self._setting(name), wanted[name]) for name in chosen}

    def adopt_preprocessing(self) -> None:
        """Follow a change of the settings that prepare images, and refuse those that do not go together."""

    def _is_given(self, name: str) -> bool:
        group = _argument(name).partition(".")[0]
        if name == "interpolation" and group in self.given_settings:  # a group in Python, whose fields nobody tells
            return bool(self._setting(name) != "bicubic")
        return _argument(name) in self.given_settings

    def _setting(self, name: str) -> Any:
        settings: Any = self
        return settings.augmentation.interpolation if name == "interpolation" else getattr(settings, name)

    def _set(self, name: str, value: Any) -> None:
        settings: Any = self
        if name == "interpolation":
            settings.augmentation = replace(settings.augmentation, interpolation=value)
        else:
            setattr(settings, name, tuple(value) if isinstance(value, list) else value)


def _argument(name: str) -> str:
    return "augmentation.interpolation" if name == "interpolation" else name


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
