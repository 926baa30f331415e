"""Transforms that users register, for training: they move an image and what is known of it together.

They come after this package's own augmentation and before the normalisation, and draw from the random numbers of their
sample, so that a resumed run draws the same ones.
"""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as TF

from biformer_lit.data.checks import require
from biformer_lit.errors import DataError
from biformer_lit.registry import Registry

Sample: TypeAlias = dict[str, Any]
"""``image``, a ``tv_tensors.Image``, uint8 (3, height, width), and what the task has besides: ``mask``, a
``tv_tensors.Mask`` of class numbers, int64 (height, width); or ``boxes``, ``tv_tensors.BoundingBoxes`` (n, 4) as left,
top, right and bottom in pixels, ``labels``, int64 (n,), and, if they are read, ``masks``, a ``tv_tensors.Mask``, uint8
(n, height, width)."""
Transform: TypeAlias = Callable[[Sample], Sample]
Given = TypeVar("Given", bound=Callable[..., Any])

TRANSFORMS: Registry[Transform] = Registry("transform")
_ROOM = 1.0  # pixels that a box may leave its image by; it is clipped


def register_transform(
    name: str, transform: Callable[..., Any] | None = None, *, keywords: bool = False
) -> Callable[..., Any]:
    """Register a transform under the name that ``data.init_args.transforms`` lists it by.

    Args:
        name: Lower-case letters, digits and underscores.
        transform: A function or another callable: from a sample to a sample (see ``Sample``), as those of
            ``torchvision.transforms.v2`` are. None to use this as a decorator.
        keywords: Whether it is called as those of Albumentations are: with ``image`` (height, width, 3), ``mask``,
            ``bboxes``, ``labels`` and ``masks`` by keyword, as NumPy arrays and lists, returning a dict of these.

    Returns:
        The transform, or a decorator.

    Raises:
        ConfigError: If the name is taken or cannot be one.
    """

    def register(given: Given) -> Given:
        TRANSFORMS.register(name, ByKeywords(given) if keywords else given)
        return given

    return register if transform is None else register(transform)


def require_transforms(names: Sequence[str]) -> None:
    """Refuse names under which no transform is registered.

    Raises:
        ConfigError: With those that are.
    """
    known = f"there are {', '.join(TRANSFORMS)}" if TRANSFORMS else "there are none"
    for name in names:
        problem = f"is not registered ({known}); give --plugin with the file that calls register_transform"
        require(name in TRANSFORMS, "transforms", name, problem)


class OwnTransforms:
    """Applies registered transforms one after the other, and checks what each returns.

    Args:
        names: Their names.
        ignore_index: The number of pixels without a class, which a mask may gain.
    """

    def __init__(self, names: Sequence[str], ignore_index: int | None = None) -> None:
        self._steps = [(name, TRANSFORMS[name]) for name in names]
        self._ignore_index = ignore_index

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __call__(self, sample: Sample) -> Sample:
        """Transform a sample.

        Raises:
            DataError: If one fails, or returns what is no sample.
        """
        for name, transform in self._steps:
            try:
                result = transform(dict(sample))
            except Exception as error:
                raise DataError(f"transform {name!r}: {type(error).__name__}: {error} ({_place_of(error)})") from error
            if problem := _problem(result, sample, self._ignore_index):
                raise DataError(f"transform {name!r}: {problem}")
            sample = _wrapped(result)
        return sample

    def on_picture(self, image: Image.Image) -> Tensor:
        """Transform an RGB image alone; float32 (3, height, width) within 0..1."""
        moved = self({"image": tv_tensors.Image(TF.pil_to_tensor(image))})["image"]
        numbers: Tensor = moved.as_subclass(Tensor)
        return numbers.float() / 255  # to the last bit what torchvision makes of a picture


class ByKeywords:
    """Calls a transform as those of Albumentations are called, seeded from torch's random numbers.

    Args:
        transform: The transform. Boxes are handed over as left, top, right and bottom in pixels (``pascal_voc``) with
            their ``labels``, the masks of objects as a list.
    """

    def __init__(self, transform: Callable[..., Any]) -> None:
        self._transform = transform

    def __call__(self, sample: Sample) -> Sample:
        """Transform a sample."""
        if hasattr(self._transform, "set_random_seed"):  # it has random numbers of its own
            self._transform.set_random_seed(int(torch.randint(2**31, (1,))))
        given: dict[str, Any] = {"image": np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy())}
        if "mask" in sample:
            numbers = sample["mask"].numpy()  # in a type that OpenCV moves
            given["mask"] = numbers.astype(np.uint8 if numbers.max() < 256 and numbers.min() >= 0 else np.int16)
        if "boxes" in sample:
            given |= {"bboxes": sample["boxes"].tolist(), "labels": sample["labels"].tolist()}
        if "masks" in sample:
            given["masks"] = list(sample["masks"].numpy())
        moved = self._transform(**given)
        height, width = np.shape(moved["image"])[:2]
        result: Sample = {"image": torch.from_numpy(np.ascontiguousarray(moved["image"])).permute(2, 0, 1)}
        if "mask" in sample:
            result["mask"] = torch.from_numpy(np.asarray(moved["mask"], np.int64))
        if "boxes" in sample:
            result["boxes"] = torch.tensor(np.asarray(moved["bboxes"], np.float32).reshape(-1, 4))
            result["labels"] = torch.tensor(np.asarray(moved["labels"], np.int64))
        if "masks" in sample:
            masks = np.stack([*moved["masks"]]) if len(moved["masks"]) else np.zeros((0, height, width))
            result["masks"] = torch.from_numpy(masks.astype(np.uint8))
        return result


def _wrapped(result: Sample) -> Sample:
    """A sample whose tensors know what they are, for the next transform."""
    wrapped = {**result, "image": tv_tensors.Image(result["image"])}
    for name in {"mask", "masks"} & result.keys():
        wrapped[name] = tv_tensors.Mask(result[name])
    if "boxes" in result:
        size = tuple(result["image"].shape[-2:])
        edges = _edges(result["boxes"]).as_subclass(Tensor)
        limit = edges.new_tensor([size[1], size[0], size[1], size[0]])
        clipped = edges.clamp_min(0).minimum(limit)
        wrapped["boxes"] = tv_tensors.BoundingBoxes(clipped, format="XYXY", canvas_size=size)
    return wrapped


def _edges(boxes: Tensor) -> Tensor:
    """Left, top, right and bottom of boxes in any format; those of a plain tensor are these."""
    if isinstance(boxes, tv_tensors.BoundingBoxes) and boxes.format != tv_tensors.BoundingBoxFormat.XYXY:
        converted: Tensor = TF.convert_bounding_box_format(boxes, new_format=tv_tensors.BoundingBoxFormat.XYXY)
        return converted
    return boxes


def _problem(result: Any, before: Sample, ignore_index: int | None) -> str | None:
    """Return what is wrong with the result of a transform, and what is right; None if it can be used."""
    if not isinstance(result, dict) or result.keys() != before.keys():
        found = f"a dict of {', '.join(map(str, result))}" if isinstance(result, dict) else type(result).__name__
        return f"returns {found}; it must return the sample, a dict of {', '.join(before)}"
    image = result["image"]
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
        return f"returns an image that is {_described(image)}; it must be uint8 (3, height, width)"
    size = tuple(image.shape[-2:])
    if "boxes" not in before and size != tuple(before["image"].shape[-2:]):
        height, width = before["image"].shape[-2:]
        return f"returns an image of {size[0]} x {size[1]} pixels; it must keep the size, {height} x {width}"
    if "mask" in before:
        return _problem_of_mask(result["mask"], before["mask"], size, ignore_index)
    return _problem_of_objects(result, size) if "boxes" in before else None


def _problem_of_mask(mask: Any, before: Tensor, size: tuple[int, ...], ignore_index: int | None) -> str | None:
    if not isinstance(mask, Tensor) or mask.dtype != torch.int64 or tuple(mask.shape) != size:
        return f"returns a mask that is {_described(mask)}; it must be int64 {size}, as its image"
    new = set(torch.unique(mask).tolist()) - set(torch.unique(before).tolist()) - {ignore_index}
    if new:
        return (
            f"returns a mask with the class {min(new)}, which it had not; take the nearest pixel where it is resized, "
            f"and fill with {ignore_index} where it is moved (in torchvision fill={{tv_tensors.Mask: {ignore_index}}})"
        )
    return None


def _problem_of_objects(result: Sample, size: tuple[int, ...]) -> str | None:
    boxes, labels, masks = result["boxes"], result["labels"], result.get("masks")
    if not isinstance(boxes, Tensor) or not boxes.is_floating_point() or boxes.shape[1:] != (4,):
        return f"returns boxes that are {_described(boxes)}; they must be float32 (n, 4)"
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != boxes.shape[:1]:
        return f"returns labels that are {_described(labels)}; they must be int64 ({len(boxes)},), one for each box"
    if isinstance(boxes, tv_tensors.BoundingBoxes) and tuple(boxes.canvas_size) != size:
        return f"returns boxes on an image of {tuple(boxes.canvas_size)}, but the image is {size}; move both"
    edges = _edges(boxes).as_subclass(Tensor)
    room = edges.new_tensor([size[1], size[0], size[1], size[0]]) + _ROOM
    if not bool(((edges >= -_ROOM) & (edges <= room)).all() and (edges[:, 2:] >= edges[:, :2]).all()):  # nor NaN
        return f"returns boxes that leave the image of {size[0]} x {size[1]} pixels; clip them, and drop those outside"
    return None if masks is None else _problem_of_object_masks(masks, (len(boxes), *size))


def _problem_of_object_masks(masks: Any, shape: tuple[int, ...]) -> str | None:
    if not isinstance(masks, Tensor) or masks.dtype != torch.uint8 or tuple(masks.shape) != shape:
        return f"returns masks that are {_described(masks)}; they must be uint8 {shape}, one for each box"
    if bool((masks > 1).any()):
        return "returns masks with other numbers than 0 and 1; take the nearest pixel where they are resized"
    return None


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _place_of(error: BaseException) -> str:
    """File and line where an error was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}"
