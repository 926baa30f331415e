"""Benchmark of loading images: what decoding and augmentation cost beside a training step on the same images."""

import functools
import io
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import PIL
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from biformer_lit.backbone import Backbone
from biformer_lit.benchmark.compare import check_turns, compare
from biformer_lit.benchmark.results import Case, check_out, describe_machine, show
from biformer_lit.benchmark.roofline import measure_roofline
from biformer_lit.classification.image_augmentation import Augmentation, eval_transform, train_transform
from biformer_lit.common.devices import find_device
from biformer_lit.common.seeding import local_seed
from biformer_lit.data.columns import find_image_column, keep_columns
from biformer_lit.data.images.decoding import decode_image, stored_png
from biformer_lit.data.loading import load_splits
from biformer_lit.errors import ConfigError
from biformer_lit.recipes import read_config, recipes

Stored: TypeAlias = list[dict[str, Any]]
CLASSES = 1000


def make_images(count: int, width: int, height: int, dataset: str | None) -> list[Image.Image]:
    """Pictures of one size: those of a data set, enlarged or reduced, or smooth ones without noise.

    Args:
        count: How many.
        width: Pixels.
        height: Pixels.
        dataset: What ``data.dataset`` takes; None for smooth ones.
    """
    if dataset is None:
        noise = np.random.default_rng(0)
        coarse = noise.integers(0, 256, (count, height // 25 + 1, width // 25 + 1, 3), dtype=np.uint8)
        images = [Image.fromarray(picture) for picture in coarse]
    else:
        split = next(iter(load_splits(dataset).values()))
        column = find_image_column(split.features, None)
        split = keep_columns(split, [column])
        step = max(1, len(split) // count)
        images = [decode_image(split[row % len(split)][column], f"row {row}") for row in range(0, count * step, step)]
    return [image.resize((width, height), Image.Resampling.BICUBIC) for image in images]


def store(images: list[Image.Image], quality: int) -> Stored:
    """The pictures as a data set holds them: JPEG of that quality, or PNG if it is 0."""
    return [stored_png(image) if quality == 0 else _jpeg(image, quality) for image in images]


def _jpeg(image: Image.Image, quality: int) -> dict[str, Any]:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return {"bytes": buffer.getvalue(), "path": None}


def read_pillow(value: dict[str, Any]) -> object:
    """Decode as the data modules do."""
    return decode_image(value, "")


def read_draft(value: dict[str, Any], size: int) -> object:
    """Decode with Pillow's draft mode, at a half, a quarter or an eighth of a JPEG's size; the pixels differ."""
    image = Image.open(io.BytesIO(value["bytes"]))
    image.draft("RGB", (size, size))
    image.load()
    return image


def loading_call(variant: str, stored: Stored, settings: dict[str, Any]) -> Callable[[], object]:
    """A call of one variant on all pictures.

    Args:
        variant: step, training, evaluation, pillow or draft.
        stored: The pictures.
        settings: ``model.init_args`` and ``data.init_args`` of a recipe.
    """
    if variant == "step":
        return _step(len(stored), settings)
    data = settings["data"]
    size, plain = data["image_size"], {"mean": data["mean"], "std": data["std"]}
    crop_pct = data.get("crop_pct", 0.875)
    augmentation = Augmentation(**data["augmentation"])
    read: dict[str, Callable[[dict[str, Any]], object]] = {
        "pillow": read_pillow,
        "draft": functools.partial(read_draft, size=round(size / crop_pct)),
        "training": _transformed(train_transform(augmentation, size, **plain)),
        "evaluation": _transformed(eval_transform(size, crop_pct, **plain)),
    }
    chosen = read[variant]

    def load() -> None:
        with local_seed("bench data"):  # the same draws in each round
            for value in stored:
                chosen(value)

    return load


def _transformed(transform: Callable[[Image.Image], Tensor]) -> Callable[[dict[str, Any]], object]:
    return lambda value: transform(decode_image(value, ""))


def _step(batch_size: int, settings: dict[str, Any]) -> Callable[[], object]:
    torch.manual_seed(0)
    model = Backbone(**settings["model"]["backbone"]).build(CLASSES).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    size = settings["data"]["image_size"]
    image, label = torch.randn(batch_size, 3, size, size), torch.randint(CLASSES, (batch_size,))

    def step() -> None:
        F.cross_entropy(model(image), label).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def read_recipe(name: str) -> dict[str, Any]:
    """``init_args`` of model and data of a recipe for classification.

    Raises:
        ConfigError: If there is no such recipe.
    """
    known = {n: read_config(str(path)) for n, path in recipes().items()}
    known = {n: read for n, read in known.items() if read["model"]["class_path"] == "ClassificationTask"}
    if name not in known:
        raise ConfigError(f"recipe={name} is no recipe for classification; choose from {', '.join(known)}")
    settings = {part: known[name][part]["init_args"] for part in ("model", "data")}
    usual: Mapping[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return settings | {"data": {**usual, **settings["data"]}}


def bench_data(
    recipe: str = "imagenet1k_tiny",
    dataset: str | None = None,
    width: int = 500,
    height: int = 375,
    quality: int = 90,
    batch_size: int = 16,
    rounds: int = 7,
    out: str | None = None,
) -> None:
    """Time decoding and transforms on one CPU core beside a training step on as many images, in turns.

    The ratios of training and evaluation say how many cores of data workers one core of training keeps busy; nothing
    here says what a GPU needs. A step is forward, backward and AdamW. One thread computes.

    Args:
        recipe: Whose transforms and network, a recipe for classification.
        dataset: Where the pictures come from, as data.dataset; by default they are made up, smooth and without noise.
        width: Width of the stored pictures in pixels.
        height: Their height.
        quality: Quality of JPEG, or 0 for PNG.
        batch_size: Pictures.
        rounds: Turns of each variant.
        out: Write OUT.json and OUT.md.
    """
    if min(width, height, batch_size) < 1 or not 0 <= quality <= 100:
        raise ConfigError(f"{width=}, {height=}, {batch_size=} must be at least 1, and {quality=} within 0..100")
    settings, path, device = read_recipe(recipe), check_out(out), find_device("cpu")
    torch.set_num_threads(1)
    stored = store(make_images(batch_size, width, height, dataset), quality)
    kilobytes = sum(len(value["bytes"]) for value in stored) / len(stored) / 1e3
    progress = functools.partial(print, file=sys.stderr)
    decoders = ["pillow", *(["draft"] if quality else [])]
    cases = []
    for name, variants in (("images", ["step", "training", "evaluation"]), ("decoders", decoders)):
        check_turns(variants, rounds)
        arguments = {variant: (variant, stored, settings) for variant in variants}
        compared = compare(loading_call, arguments, device, rounds=rounds, memory=False, progress=progress)
        cases.append(Case(name, {}, compared))
    for comparison in (c for case in cases for c in case.comparisons):
        print(f"{comparison.variant}: {batch_size / comparison.seconds:.0f} images/s")
    title = (
        f"{recipe}, {batch_size} pictures of {width} x {height}, {'JPEG' if quality else 'PNG'} of {kilobytes:.1f} kB; "
        f"{describe_machine(device)}, Pillow {PIL.__version__}"
    )
    show(cases, measure_roofline(device, torch.float32), title, path)
