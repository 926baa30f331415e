"""Draw digits and clutter into pictures."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Pixels = npt.NDArray[np.uint8]
Canvas = npt.NDArray[np.float32]

_MARGIN = 2  # empty pixels around a digit, so that its outermost strokes get round edges
_EDGE = 0.45  # grey level, of 1, at which ink begins; lower than a half, or thin strokes would break
_DARK, _LIGHT = (0, 110), (100, 255)  # ink is lighter than the ground, so that a small network learns it in minutes
_COLOUR_DISTANCE = 110  # Euclidean, of 442 between black and white


def draw_digit(picture: Pixels, size: float, angle: float) -> Canvas:
    """Enlarge and rotate a digit, with smooth edges.

    Args:
        picture: Grey image of the digit, uint8 (8, 8).
        size: Side of the digit in pixels.
        angle: Rotation in degrees.

    Returns:
        Share of ink in each pixel, 0 to 1, float32 (side, side); the side is that of the rotated square. A pixel
        belongs to the digit from 0.5 on.
    """
    padded = np.pad(picture, _MARGIN)
    scale, turn = size / picture.shape[0], np.deg2rad(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    side = int(np.ceil(size * (abs(cos) + abs(sin))))
    across, down, middle = cos / scale, sin / scale, padded.shape[0] / 2
    start = side / 2
    matrix = (
        *(across, down, middle - (across + down) * start),
        *(-down, across, middle - (across - down) * start),
    )
    large = Image.fromarray(padded).transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    grey = np.asarray(large, np.float32) / 255
    sharpness = np.float32(0.7 * scale)  # the edge of an enlarged digit is as soft as its pixels were large
    ink: Canvas = ((grey - np.float32(_EDGE)) * sharpness + np.float32(0.5)).clip(0, 1)
    return ink


def blend(canvas: Canvas, ink: Canvas, top: int, left: int, colour: Any) -> None:
    """Put ``ink`` of one colour on a canvas (height, width, 3), in place; ink beyond the canvas is lost."""
    window = canvas[top : top + ink.shape[0], left : left + ink.shape[1]]
    share = ink[: window.shape[0], : window.shape[1], None]
    window += share * (np.asarray(colour, np.float32) - window)


def pick_colour(rng: np.random.Generator, others: list[Any]) -> Any:
    """A random light colour that can be told from each of ``others``; values 0 to 255, (3,)."""
    candidates = rng.integers(_LIGHT[0], _LIGHT[1] + 1, (16, 3))
    distances = np.min([np.linalg.norm(candidates - other, axis=1) for other in others], axis=0)
    far = np.flatnonzero(distances >= _COLOUR_DISTANCE)
    return candidates[far[0] if len(far) else distances.argmax()]


def draw_background(
    size: int, clutter: float, digit_size: tuple[int, int], digits: Pixels, rng: np.random.Generator
) -> tuple[Any, Canvas]:
    """A background of smooth texture, with lines, shapes and pieces of digits on it.

    Args:
        size: Height and width in pixels.
        clutter: How much of all that, 0 to 1.
        digit_size: Least and greatest size of the digits that the pieces are taken from.
        digits: Grey images to take pieces of, uint8 (n, 8, 8).
        rng: Where chance comes from.

    Returns:
        The mean colour (3,), and the picture, float32 (size, size, 3) with values 0 to 255.
    """
    colour = rng.integers(_DARK[0], _DARK[1] + 1, 3)
    coarse = (colour + rng.normal(0, 40 * clutter, (5, 5, 3))).clip(0, 255).astype(np.uint8)
    # twice the size, and halved at the end, for smooth edges
    picture = Image.fromarray(coarse).resize((2 * size, 2 * size), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(0, round(12 * clutter) + 1)):
        _draw_piece(draw, 2 * size, rng)
    canvas = np.asarray(picture.reduce(2), np.float32).copy()
    for _ in range(rng.integers(0, round(6 * clutter) + 1)):
        piece = np.zeros_like(digits[0])
        half = len(piece) // 2
        row, column = (np.s_[:half], np.s_[half:])[rng.integers(2)], (np.s_[:half], np.s_[half:])[rng.integers(2)]
        piece[row, column] = digits[rng.integers(len(digits))][row, column]
        ink = draw_digit(piece, rng.uniform(*digit_size), rng.uniform(-180, 180))
        top, left = rng.integers(0, size + 1 - np.array(ink.shape))
        blend(canvas, ink, int(top), int(left), pick_colour(rng, [colour]))
    return colour, canvas


def _draw_piece(draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    """A line across the picture, a large arc, or a small filled shape: nothing that could pass for a digit."""
    fill = tuple(int(level) for level in rng.integers(_LIGHT[0], _LIGHT[1] + 1, 3))
    x, y = (float(place) for place in rng.uniform(0, size, 2))
    kind, width = rng.integers(4), int(rng.integers(2, 7))
    if kind == 0:
        draw.line([(x, 0.0), (float(rng.uniform(0, size)), float(size))], fill, width)
    elif kind == 1:
        draw.line([(0.0, y), (float(size), float(rng.uniform(0, size)))], fill, width)
    elif kind == 2:
        radius, start = float(rng.uniform(0.3, 0.8)) * size, float(rng.uniform(0, 360))
        draw.arc([x - radius, y - radius, x + radius, y + radius], start, start + 120, fill, width)
    else:
        corners = np.array([x, y]) + rng.uniform(-0.08, 0.08, (3, 2)) * size
        draw.polygon([(float(a), float(b)) for a, b in corners], fill)
