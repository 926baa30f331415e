"""The command ``visualize``: the routing of a trained network on one photo, as pictures and as data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from biformer_lit.backbone import Backbone, load_weights
from biformer_lit.checkpoints.saved_weights import SavedWeights, read_weights
from biformer_lit.common.seeding import base_seed, local_seed
from biformer_lit.data.images.rendering import Range, Rendering
from biformer_lit.errors import ConfigError
from biformer_lit.routing.blocks import RoutedBlock, check_point, record_blocks, routing_backbone
from biformer_lit.routing.draw import draw_block, draw_sheet
from biformer_lit.routing.paint import Array
from biformer_lit.routing.photo import Triple, find_preprocessing, read_photo
from biformer_lit.tasks.memory_shortage import within_memory
from biformer_lit.tasks.saved_task import task_of
from biformer_lit.text.escaping import visible

_DPI = 100


def visualize(
    checkpoint: str | None = None,
    image: str | None = None,
    out: str | None = None,
    point: str = "0.5,0.5",
    size: int | None = None,
    mean: Triple | None = None,
    std: Triple | None = None,
    value_range: Range | None = None,
    bands: tuple[int, ...] | None = None,
    backbone: Backbone = Backbone(),  # noqa: B008 (frozen)
) -> None:
    """Draw what a trained network routes on a photo: which regions are read, the attention, how often each is read.

    Writes a PNG for each block with bi-level routing, contact_sheet.png, and the numbers as routing.npz.

    Args:
        checkpoint: The weights: a checkpoint of a training run, which brings its network along, or released or other
            weights (.pth, .safetensors), for which the backbone options say the network.
        image: The photo. It is not cropped, and need not be square.
        out: Folder for the pictures; made if it does not exist, refused if it holds anything.
        point: The query: x and y as fractions of the photo's width and height, from the upper left.
        size: Pixels that the photo's shorter side is resized to. By default what the network was trained with, as its
            checkpoint says (or, made by version 0.1, the config.yaml of its run beside its folder), else 224.
        mean: Mean of the channels, for pixel values 0 to 1; default as for size, else ImageNet's.
        std: Standard deviation of the channels; default as for size, else ImageNet's.
        value_range: The values of black and white in a photo of more than 8 bits; default as for size, else the data
            module's.
        bands: Which bands of the photo, counted from 1, are red, green and blue; default as for size.
        backbone: The network of weights that do not bring their settings along, as in a training config.
    """
    if checkpoint is None or image is None or out is None:
        missing = "checkpoint" if checkpoint is None else "image" if image is None else "out"
        raise ConfigError(
            f"{missing}: none was given; visualize needs --checkpoint FILE, --image FILE and --out FOLDER"
        )
    at = _parse_point(point)
    folder = Path(out)
    _check_folder(folder)
    given: dict[str, Any] = {
        name: value for name, value in (("size", size), ("mean", mean), ("std", std)) if value is not None
    }
    saved = read_weights(checkpoint)
    preprocessing = replace(find_preprocessing(saved), **given)
    rendering = preprocessing.rendering
    photo = read_photo(image, Rendering(value_range or rendering.value_range, bands or rendering.bands))
    net, names = _load_net(saved, backbone)
    pixels = preprocessing.resize(photo)
    with local_seed(base_seed(), "visualize"):  # routing: random draws
        image_batch = preprocessing.normalise(pixels)
        with within_memory((1, *image_batch.shape[2:]), f"give a --size below {preprocessing.size}"):
            blocks, output = record_blocks(net, image_batch)
    height, width = pixels.shape[:2]
    where = f"; size, mean and std not given: {preprocessing.source}" if len(given) < 3 else ""
    print(f"{image}: {photo.width} x {photo.height}, seen as {width} x {height}{where}")
    _print_prediction(output, names)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, pixels, blocks, at)
    print(f"{folder}: {len(blocks)} blocks, contact_sheet.png, routing.npz")


def _parse_point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(number) for number in text.strip("[]() ").split(","))
    except ValueError:
        raise ConfigError(f"point={text!r} is not a point; give x and y as two numbers, such as 0.4,0.6") from None
    check_point((x, y))
    return x, y


def _check_folder(folder: Path) -> None:
    """Refuse to write where something lies already."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"out={folder} is a file; give a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"out={folder} is not empty, and nothing is overwritten; give a new folder or empty this one")


def _load_net(saved: SavedWeights, backbone: Backbone) -> tuple[nn.Module, list[str]]:
    """The network in evaluation mode, and its classes' names if they are known."""
    if saved.origin.is_run:
        if backbone != Backbone():
            raise ConfigError(
                f"backbone: {saved.source} brings its own network along; leave the --backbone options out"
            )
        task = task_of(saved)
        net, names = task.net, task.class_names
    else:
        net, names = backbone.build(saved.count_outputs()).eval(), []
        load_weights(net, saved)
    if routing_backbone(net) is None:
        raise ConfigError(
            f"checkpoint={saved.source}: no stage of this network has bi-level routing (backbone.attention: bra), so "
            "there is nothing to draw; give a network that routes"
        )
    return net, names


def _print_prediction(output: Any, names: list[str]) -> None:
    if not isinstance(output, Tensor) or not names or output.shape != (1, len(names)):
        return
    probability, number = output[0].float().softmax(-1).max(-1)
    print(f"prediction: {visible(names[int(number)])} ({float(probability):.1%})")


def _write(folder: Path, photo: Array, blocks: list[RoutedBlock], point: tuple[float, float]) -> None:
    """The pictures, and ``routing.npz``: for each block index, affinity, attention of the point, and grid."""
    arrays = {"point": np.array(point), "image_size": np.array(photo.shape[:2])}
    for block in blocks:
        draw_block(photo, block, point).savefig(folder / f"{block.name}.png", dpi=_DPI)
        record = block.record
        grid = record.grid
        row, column = block.token_at(point, (photo.shape[0], photo.shape[1]))
        arrays |= {
            f"{block.name}.index": record.index[0].numpy(),
            f"{block.name}.affinity": record.affinity[0].numpy(),
            f"{block.name}.attention": record.token_attention(0, row, column).numpy(),
            f"{block.name}.grid": np.array([grid.height, grid.width, grid.region_height, grid.region_width]),
        }
    draw_sheet(photo, blocks, point).savefig(folder / "contact_sheet.png", dpi=_DPI)
    np.savez_compressed(folder / "routing.npz", **arrays)  # type: ignore[arg-type]
