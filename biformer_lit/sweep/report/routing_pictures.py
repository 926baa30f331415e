"""Routing maps of the best cell and of the baseline, as the trials drew them for TensorBoard."""

import io
from dataclasses import dataclass
from pathlib import Path

from biformer_lit.sweep.report.content import Content

_TAG = "routing/maps"
_WIDTH = 1400  # pixels that are kept: enough for half a screen, and for print
_MOST_PIXELS = 64_000_000  # of a picture that is worth opening


@dataclass(frozen=True)
class RoutingMap:
    """A picture of a trial's routing at its last drawing.

    Args:
        cell: The cell's name.
        seed: The trial's seed.
        role: What the cell is: best, baseline.
        step: Training steps done when it was drawn.
        png: The picture as a file.
        webp: The same, smaller and finer.
    """

    cell: str
    seed: int
    role: str
    step: int
    png: bytes
    webp: bytes


def routing_maps(content: Content) -> list[RoutingMap]:
    """Pictures of the best cell and of the baseline, of the first seed that both have; fewer if there are no more."""
    roles: dict[str, str] = {}
    for role, row in (("best", content.best), ("baseline", content.baseline)):
        if row is not None:
            roles[row["cell"]] = f"{roles[row['cell']]} and {role}" if row["cell"] in roles else role
    folders = {cell: content.trial_folders(cell) for cell in roles}
    seeds = set.intersection(*(set(found) for found in folders.values())) if folders else set()
    maps = []
    for cell, role in roles.items():
        seed = min(seeds or set(folders[cell]), default=None)
        found = None if seed is None else _last_picture(folders[cell][seed])
        if seed is not None and found is not None:
            maps.append(RoutingMap(cell, seed, role, *found))
    return maps


def _last_picture(folder: Path) -> tuple[int, bytes, bytes] | None:
    """Step and file of the first validation image's last map."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # noqa: PLC0415 (takes a second)

    found = None
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag.startswith(_TAG) and len(value.tensor.string_val) > 2:
                    found = event.step, value.tensor.string_val[2]  # width, height, then the images
    if found is None:
        return None
    small = _shrunk(found[1])
    return None if small is None else (found[0], *small)


def _shrunk(picture: bytes) -> tuple[bytes, bytes] | None:
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
            if image.width * image.height > _MOST_PIXELS:
                return None
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    if small.width > _WIDTH:
        small = small.resize((_WIDTH, round(small.height * _WIDTH / small.width)), Image.Resampling.LANCZOS)
    png, webp = io.BytesIO(), io.BytesIO()
    small.quantize(256).save(png, "PNG", optimize=True)
    small.save(webp, "WEBP", quality=80)
    return png.getvalue(), webp.getvalue()
