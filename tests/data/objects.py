"""Pictures whose pixels tell what is on them, and data sets of these."""

import datasets
import numpy as np
import torch
from PIL import Image

from biformer_lit.data import DetectionAugmentation, DetectionDataModule

from .test_segmentation import stored

PLAIN = DetectionAugmentation(flip=0.0)
NAMES = ["red", "green", "blue"]
HEIGHT, WIDTH = 40, 56


def boxes_of(row, count=3, height=HEIGHT, width=WIDTH):
    """Left, top, right, bottom of some rectangles, different for each row."""
    rng = np.random.default_rng(row)
    corners = np.stack([rng.integers(0, (width - 9, height - 9)) for _ in range(count)])
    return np.hstack([corners, corners + rng.integers(6, 10, (count, 2))]).astype(float)


def blocks(boxes, height=HEIGHT, width=WIDTH):
    """The pixels in each box, bool (n, height, width)."""
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, (left, top, right, bottom) in zip(masks, np.asarray(boxes, int), strict=True):
        mask[top:bottom, left:right] = True
    return masks


def telling(boxes, labels, height=HEIGHT, width=WIDTH):
    """A picture with the boxes of class c in channel c."""
    image = np.zeros((height, width, 3), np.uint8)
    for mask, label in zip(blocks(boxes, height, width), labels, strict=True):
        image[mask, label] = 255
    return stored(Image.fromarray(image))


def objects_of(row, count=3):
    boxes = boxes_of(row, count)
    left_top, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    return {"bbox": np.hstack([left_top, size]).tolist(), "category": list(range(count))}


def as_features(objects, listed):
    """Features of objects as a struct of lists or a list of structs; a mask among them may be a picture."""
    kinds = {
        "bbox": [datasets.Value("float32")],
        "category": datasets.ClassLabel(names=NAMES),
        "area": datasets.Value("float32"),
        "iscrowd": datasets.Value("int8"),
        "polygons": [[datasets.Value("float64")]],
        "runs": {"counts": datasets.Value("string"), "size": [datasets.Value("int64")]},
        "uncompressed": {"counts": [datasets.Value("int64")], "size": [datasets.Value("int64")]},
        "pictures": datasets.Image(),
        "label": datasets.Value("string"),
        "number": datasets.Value("int64"),
    }
    fields = {name: kinds[name] for name in objects}
    return [fields] if listed else {name: [kind] for name, kind in fields.items()}


def table(objects, images=None, listed=False, **renamed):
    """Rows of objects, each a struct of lists; ``renamed`` is the name of a field for the kind of its values."""
    images = [telling(boxes_of(row), range(3)) for row in range(len(objects))] if images is None else images
    kinds = {name: kind for kind, name in renamed.items()}
    some = next(row for row in objects if row is not None)
    feature = as_features([kinds.get(name, name) for name in some], listed)
    rename = dict(zip([kinds.get(name, name) for name in some], some, strict=True))
    if listed:
        feature = [{rename[kind]: item for kind, item in feature[0].items()}]
        objects = [
            row if row is None else [dict(zip(row, item, strict=True)) for item in zip(*row.values(), strict=True)]
            for row in objects
        ]
    else:
        feature = {rename[kind]: item for kind, item in feature.items()}
    features = datasets.Features({"image": datasets.Image(), "objects": feature})
    return datasets.Dataset.from_dict({"image": images, "objects": objects}, features=features)


def write_rows(write):
    """Eight images with three objects each to train on, and four to validate on."""
    rows = [objects_of(row) for row in range(8)]
    return write(train=table(rows), validation=table(rows[:4]))


def module(folder, stage="fit", **changes):
    settings = {
        "dataset": str(folder),
        "image_size": HEIGHT,
        "max_size": 1000,
        "batch_size": 2,
        "num_workers": 0,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "augmentation": PLAIN,
    }
    (data := DetectionDataModule(**{**settings, **changes})).setup(stage)
    return data


def samples(batches):
    """Index, image without padding, and objects of each image."""
    for batch in batches:
        for index, image, (height, width), objects in zip(
            batch["index"].tolist(), batch["image"], batch["size"].tolist(), batch["objects"], strict=True
        ):
            yield index, image[:, :height, :width], objects


def alike(first, second):
    """Whether the same images with the same objects are in both."""
    pairs = zip(samples(first), samples(second), strict=True)
    return all(
        a[0] == b[0] and torch.equal(a[1], b[1]) and all(torch.equal(a[2][key], b[2][key]) for key in a[2])
        for a, b in pairs
    )
