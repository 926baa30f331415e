"""The pets that the checkpoints of version 0.1 know: noisy coloured images, with labels of any kind and order."""

import datasets
import numpy as np
from lightning.pytorch import Trainer
from PIL import Image

from biformer_lit.data import ClassificationDataModule

datasets.disable_progress_bars()

COLOURS = {"cat": (200, 60, 60), "dog": (60, 200, 60), "fish": (60, 60, 200), "bird": (200, 200, 60)}
NAMES = ["cat", "dog", "fish"]
PREPARED = {"image_size": 24, "crop_pct": 1.0, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def photo(name, seed=0):
    """A picture of a pet: its colour, and noise."""
    noise = np.random.default_rng(seed).normal(0, 12, (24, 24, 3))
    return Image.fromarray(np.clip(np.array(COLOURS[name.strip().lower()]) + noise, 0, 255).astype(np.uint8))


def split_of(animals, names=None, values=None, count=4):
    """A split of ``count`` images of each animal; labels are a ClassLabel of ``names``, or ``values``, or text."""
    rows = [animal for animal in animals for _ in range(count)]
    labels = rows if values is None else [values[row] for row in rows]
    content = {"image": [photo(row, seed) for seed, row in enumerate(rows)], "label": labels}
    table = datasets.Dataset.from_dict(content).cast_column("image", datasets.Image())
    return table if names is None else table.cast_column("label", datasets.ClassLabel(names=list(names)))


def save(folder, **splits):
    """Write splits as ``save_to_disk`` does."""
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return str(folder)


def pets(folder, **settings):
    """A data module of pets, prepared as the checkpoints want them unless told otherwise."""
    return ClassificationDataModule(dataset=folder, num_workers=0, batch_size=8, **{**PREPARED, **settings})


def trainer(**settings):
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return Trainer(accelerator="cpu", devices=1, **{"max_epochs": 1, "num_sanity_val_steps": 0, **quiet, **settings})
