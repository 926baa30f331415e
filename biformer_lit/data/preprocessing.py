"""Preprocessing of images: stated by a data module, saved in checkpoints, and used again."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Final, TypeAlias

from PIL import Image
from torch import Tensor
from typing_extensions import Self

from biformer_lit.errors import CheckpointError
from biformer_lit.kinds import KINDS, present_name

Transform: TypeAlias = Callable[[Image.Image], Tensor]
"""From an RGB image to what a network is fed, float32 (3, height, width)."""

ALWAYS: Final = ("mean", "std", "value_range", "bands")
"""What prepares images of every kind: arguments of the data module."""

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


def present_form(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says of the preparation of images as this version writes it."""
    if "kind" in stored or not isinstance(stored.get("targets"), str):
        return dict(stored)
    return {"kind": present_name(stored["targets"])} | {name: stored[name] for name in stored if name != "targets"}


def check_preprocessing(stored: Any, source: str) -> dict[str, Any]:
    """Return the preprocessing in a checkpoint after checking it.

    Args:
        stored: The entry ``preprocessing``.
        source: Where it is from, for the error.

    Raises:
        CheckpointError: If something is missing or out of its range.
    """
    given = present_form(stored) if isinstance(stored, Mapping) else {}
    kind = given.get("kind")
    names = _names(KINDS[kind].data.prepared_by) if isinstance(kind, str) and kind in KINDS else []
    if not names:
        raise CheckpointError(f"{source}: its preprocessing is for no kind of data that is known; save it again")
    for name in names:
        if name not in given or not _CHECKS.get(name, lambda _: True)(given[name]):
            raise CheckpointError(
                f"{source}: its preprocessing holds no usable {name} ({str(given.get(name))[:80]}); save it again"
            )
    return {"kind": kind} | {name: given[name] for name in names}


def image_transform(preprocessing: Mapping[str, Any]) -> Transform:
    """Return the evaluation transform as a function of a photo.

    Args:
        preprocessing: ``load_task(path).preprocessing``.

    Returns:
        Function from an RGB image to a float32 tensor (3, height, width). For a classifier that is its square; label
        maps and objects are found in whole images, resized as in evaluation but not padded.

    Raises:
        CheckpointError: If it is no preprocessing of a checkpoint.
    """
    known = check_preprocessing(preprocessing, "preprocessing")
    return KINDS[known["kind"]].data.transform_of(known)


class PreparedImages:
    """The part of a data module that knows how images are prepared.

    A trained network wants images as those that it was trained on. ``use_preprocessing`` prepares them so, but for what
    was given to the data module by name.
    """

    kind: ClassVar[str | None]
    prepared_by: ClassVar[tuple[str, ...]] = ()
    """Arguments that prepare an image in evaluation, kept in checkpoints by the last part of their dotted names; empty
    if it is not known."""
    for_training: ClassVar[frozenset[str]] = frozenset()
    """Those among them that only tell how the network was trained, and need not be the same in evaluation."""
    given_settings: frozenset[str] = frozenset()
    """Names of the arguments that were chosen; the others are defaults. Fields of groups are written with a dot."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note what is given."""
        module = super().__new__(cls)
        names = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
        module.given_settings = frozenset((*names[: len(args)], *kwargs))
        return module

    @staticmethod
    def transform_of(known: Mapping[str, Any]) -> Transform:
        """Return what prepares an image in evaluation.

        Args:
            known: Sound values of ``prepared_by``.

        Raises:
            CheckpointError: If this kind of data does not say.
        """
        raise CheckpointError(
            f"preprocessing: data of the kind {known['kind']!r} does not say how a single image is prepared"
        )

    def preprocessing(self) -> dict[str, Any] | None:
        """Return the evaluation preprocessing as plain data for checkpoints; None if it is not known."""
        if self.kind is None or not self.prepared_by:
            return None
        try:
            return {"kind": self.kind} | {_names([one])[0]: _plain(self._setting(one)) for one in self.prepared_by}
        except AttributeError:  # a user's own data module
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
            CheckpointError: If it is not sound, or for another kind of data.
        """
        wanted = check_preprocessing(stored, source)
        if wanted["kind"] != self.kind or self.preprocessing() is None:
            return {}
        values = {one: wanted[_names([one])[0]] for one in self.prepared_by if one not in self.for_training}
        differing = [one for one, value in values.items() if _plain(self._setting(one)) != _plain(value)]
        chosen = [one for one in differing if self._is_given(one)]
        for one in differing:
            if one not in chosen:
                self._set(one, values[one])
        self.adopt_preprocessing()
        return {one: (self._setting(one), values[one]) for one in chosen}

    def adopt_preprocessing(self) -> None:
        """Follow a change of the settings that prepare images, and refuse those that do not go together."""

    def _is_given(self, argument: str) -> bool:
        group, _, field = argument.partition(".")
        if field and group in self.given_settings:  # a group in Python, whose fields nobody tells
            defaults = {one.name: one.default for one in fields(getattr(self, group))}
            return bool(self._setting(argument) != defaults[field])
        return argument in self.given_settings

    def _setting(self, argument: str) -> Any:
        group, _, field = argument.partition(".")
        value = getattr(self, group)
        return getattr(value, field) if field else value

    def _set(self, argument: str, value: Any) -> None:
        group, _, field = argument.partition(".")
        if field:
            setattr(self, group, replace(getattr(self, group), **{field: value}))
        else:
            setattr(self, group, tuple(value) if isinstance(value, list) else value)


def _names(arguments: Iterable[str]) -> list[str]:
    """Names of arguments in checkpoints."""
    return [argument.rpartition(".")[2] for argument in arguments]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
