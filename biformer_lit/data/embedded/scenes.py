"""The embedded data set for dense tasks: handwritten digits scattered over cluttered pictures."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
from PIL import Image

from biformer_lit.data.checks import require
from biformer_lit.data.embedded.digits import load_digits_dataset
from biformer_lit.data.embedded.drawing import Canvas, Pixels, blend, draw_background, draw_digit, pick_colour
from biformer_lit.data.images.decoding import stored_png
from biformer_lit.errors import ConfigError

SCENES = "digit_scenes"
CLASS_NAMES = ("background", *(str(digit) for digit in range(10)))

_PLACES = 40  # places tried for a digit before the scene is started again
_ATTEMPTS = 100  # scenes begun before the settings are called impossible

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Digits = tuple[Pixels, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Scenes:
    """Settings of the scenes of ``digit_scenes``; the same settings give the same scenes, bit for bit.

    Attributes:
        image_size: Height and width of a scene in pixels, a multiple of 32.
        digits: Fewest and most digits in a scene.
        digit_size: Least and greatest side of the square that holds a digit, in pixels.
        rotation: Greatest rotation of a digit to either side, in degrees.
        overlap: Greatest share of a digit that others may hide; 0 keeps digits apart.
        clutter: Amount of lines, shapes, pieces of digits, texture and noise, from 0 (a plain background) to 1.
        train: Number of training scenes.
        validation: Number of validation scenes.
        test: Number of test scenes.
        seed: Which of the possible sets of scenes.

    Raises:
        ConfigError: If a setting is out of its range, or so many digits cannot fit into a scene.
    """

    image_size: int = 96
    digits: tuple[int, int] = (2, 4)
    digit_size: tuple[int, int] = (28, 48)
    rotation: float = 15.0
    overlap: float = 0.1
    clutter: float = 0.5
    train: int = 800
    validation: int = 100
    test: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("digits", "digit_size"):  # lists cannot be remembered by lru_cache
            object.__setattr__(self, field, tuple(getattr(self, field)))
        side = self.image_size
        _check(side >= 32 and side % 32 == 0, "image_size", side, "must be a multiple of 32")
        for field, least in (("digits", 1), ("digit_size", 8)):
            pair = getattr(self, field)
            good = len(pair) == 2 and least <= pair[0] <= pair[1]
            _check(good, field, pair, f"must be two numbers, {least} <= least <= most")
        fits = self.digit_size[1] * 1.5 <= side
        _check(fits, "digit_size", self.digit_size, f"must be at most 2/3 of image_size={side}")
        room = self.digits[1] * self.digit_size[0] ** 2 <= side**2 / 2
        _check(room, "digits", self.digits, "leaves no room; lower it or digit_size, or raise image_size")
        _check(0 <= self.rotation <= 180, "rotation", self.rotation, "must be within 0..180")
        _check(0 <= self.overlap < 1, "overlap", self.overlap, "must be 0 or more and below 1")
        _check(0 <= self.clutter <= 1, "clutter", self.clutter, "must be within 0..1")
        for field in ("train", "validation", "test"):
            _check(getattr(self, field) >= 1, field, getattr(self, field), "must be 1 or more")
        _check(self.seed >= 0, "seed", self.seed, "must not be negative")


def _check(good: bool, field: str, value: object, problem: str) -> None:
    require(good, f"scenes.{field}", value, problem)


@dataclass(frozen=True)
class Scene:
    """One scene.

    Attributes:
        image: RGB, uint8 (size, size, 3).
        masks: What is seen of each digit, bool (digits, size, size); they do not overlap.
        digits: Which digit each is, 0..9.
    """

    image: Pixels
    masks: Mask
    digits: tuple[int, ...]

    def label_map(self) -> Labels:
        """0 where there is no digit, else the digit plus one; uint8 (size, size)."""
        labels = np.zeros(self.image.shape[:2], np.uint8)
        for mask, digit in zip(self.masks, self.digits, strict=True):
            labels[mask] = digit + 1
        return labels


_DEFAULT_SCENES = Scenes()


@lru_cache(maxsize=4)
def load_scenes(scenes: Scenes = _DEFAULT_SCENES) -> datasets.DatasetDict:
    """The scenes as a data set in memory, without any download; made once for the same settings.

    The digits keep the division of ``load_digits_dataset``: no digit of a test scene is in a training scene.
    Scene i of a split does not depend on how many scenes there are.

    Args:
        scenes: What they look like.

    Returns:
        Splits ``train``, ``validation`` and ``test`` with the columns ``image`` (RGB), ``annotation`` (grey, 0 for
        background, 1..10 for the digits 0..9), ``classes`` (the labels in the annotation, with their names),
        ``objects`` (lists of ``id``, ``bbox`` as x, y, width, height in pixels, ``category`` 0..9, ``area``,
        ``iscrowd``, and ``segmentation``, a bilevel picture of what is seen of the digit), ``image_id``, ``width``
        and ``height``.

    Raises:
        ConfigError: If so many digits do not fit.
    """
    splits = {}
    for number, (name, table) in enumerate(load_digits_dataset().items()):
        pixels = np.stack([np.asarray(image) for image in table["image"]])
        digits = pixels, np.asarray(table["label"], np.int64)
        count = int(getattr(scenes, name))
        made = (make_scene(scenes, digits, np.random.default_rng([scenes.seed, number, i])) for i in range(count))
        splits[name] = _table(name, made)
    return datasets.DatasetDict(splits)


def make_scene(scenes: Scenes, digits: Digits, rng: np.random.Generator) -> Scene:
    """Draw one scene.

    Args:
        scenes: What it looks like.
        digits: Digits to choose from: grey images, uint8 (n, 8, 8), and what they are (n,).
        rng: Where chance comes from.

    Raises:
        ConfigError: If so many digits do not fit.
    """
    for _ in range(_ATTEMPTS):
        scene = _attempt(scenes, digits, rng)
        if scene is not None:
            return scene
    raise ConfigError(
        f"data.init_args.scenes.digits: {scenes.digits} digits of {scenes.digit_size[0]} pixels or more find no place "
        f"in {scenes.image_size} pixels; lower digits or digit_size, or raise overlap or image_size"
    )


def _attempt(scenes: Scenes, digits: Digits, rng: np.random.Generator) -> Scene | None:
    pictures, names = digits
    background, canvas = draw_background(scenes.image_size, scenes.clutter, scenes.digit_size, pictures, rng)
    colours, chosen = [background], []
    masks: list[Mask] = []
    areas: list[int] = []
    for _ in range(rng.integers(scenes.digits[0], scenes.digits[1] + 1)):
        row = int(rng.integers(len(names)))
        placed = _place(scenes, pictures[row], masks, areas, rng)
        if placed is None:
            return None
        ink, (top, left) = placed
        colour = pick_colour(rng, colours)
        blend(canvas, ink, top, left, colour)
        mask = _on_canvas(scenes.image_size, ink, top, left)
        masks = [*(earlier & ~mask for earlier in masks), mask]
        areas.append(int(mask.sum()))
        colours.append(colour)
        chosen.append(int(names[row]))
    canvas += rng.normal(0, 16 * scenes.clutter, canvas.shape)
    return Scene(np.rint(canvas).clip(0, 255).astype(np.uint8), np.stack(masks), tuple(chosen))


def _place(
    scenes: Scenes, picture: Pixels, masks: list[Mask], areas: list[int], rng: np.random.Generator
) -> tuple[Canvas, tuple[int, int]] | None:
    """Ink of a digit, and a place where it hides little of the others; None if there is none.

    ``masks`` is what is left of the others, ``areas`` is how many pixels they had.
    """
    low, high = scenes.digit_size
    for attempt in range(_PLACES):
        most = high - (high - low) * attempt / _PLACES  # smaller digits find a place more easily
        ink = draw_digit(picture, rng.uniform(low, most), rng.uniform(-scenes.rotation, scenes.rotation))
        top, left = (int(place) for place in rng.integers(0, scenes.image_size + 1 - np.array(ink.shape)))
        mask = _on_canvas(scenes.image_size, ink, top, left)
        left_over = [int((earlier & ~mask).sum()) for earlier in masks]
        if all(seen >= (1 - scenes.overlap) * area for seen, area in zip(left_over, areas, strict=True)):
            return ink, (top, left)
    return None


def _on_canvas(size: int, ink: Canvas, top: int, left: int) -> Mask:
    mask = np.zeros((size, size), np.bool_)
    mask[top : top + ink.shape[0], left : left + ink.shape[1]] = ink >= 0.5
    return mask


def _table(name: str, scenes: Any) -> datasets.Dataset:
    rows: list[dict[str, Any]] = []
    objects = 0
    for number, scene in enumerate(scenes):
        labels = scene.label_map()
        height, width = labels.shape
        rows.append(
            {
                "image": _png(Image.fromarray(scene.image)),
                "annotation": _png(Image.fromarray(labels)),
                "classes": np.unique(labels).tolist(),
                "objects": _objects(scene, objects + 1),
                "image_id": number,
                "width": width,
                "height": height,
            }
        )
        objects += len(scene.digits)
    columns = {column: [row[column] for row in rows] for column in rows[0]}
    return datasets.Dataset.from_dict(columns, features=_features(), split=datasets.NamedSplit(name))


def _features() -> datasets.Features:
    integer, number = datasets.Value("int64"), datasets.Value("float32")
    box = datasets.Sequence(number, length=4)
    return datasets.Features(
        {
            "image": datasets.Image(),
            "annotation": datasets.Image(),
            "classes": [datasets.ClassLabel(names=list(CLASS_NAMES))],
            "objects": {
                "id": [integer],
                "bbox": [box],
                "category": [datasets.ClassLabel(names=list(CLASS_NAMES[1:]))],
                "area": [number],
                "iscrowd": [datasets.Value("int8")],
                "segmentation": [datasets.Image()],
            },
            "image_id": integer,
            "width": integer,
            "height": integer,
        }
    )


def _objects(scene: Scene, first: int) -> dict[str, list[Any]]:
    count = len(scene.digits)
    return {
        "id": list(range(first, first + count)),
        "bbox": [_box(mask) for mask in scene.masks],
        "category": list(scene.digits),
        "area": [float(mask.sum()) for mask in scene.masks],
        "iscrowd": [0] * count,
        "segmentation": [_png(Image.fromarray(mask)) for mask in scene.masks],
    }


def _box(mask: Mask) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    size = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return [float(columns[0]), float(rows[0]), float(size[0]), float(size[1])]


def _png(image: Image.Image) -> dict[str, bytes | None]:
    return stored_png(image, compress_level=1)  # the noise compresses no better at six times the cost
