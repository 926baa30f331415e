"""The embedded default data set: 1,797 handwritten digits that come with scikit-learn."""

from functools import cache

import datasets
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from biformer_lit.data.images.decoding import stored_png

_HELD_OUT = {"validation": 200, "test": 250}
_SPLIT_SEED = 0


@cache
def load_digits_dataset() -> datasets.DatasetDict:
    """The digits as a data set in memory, without any download.

    The images are 8x8 pixels, 8-bit grey (the 17 levels 0..16 of the source scaled to 0..255), stored as
    PNG. The splits are stratified and fixed: train 1,347, validation 200 and test 250 images.

    Returns:
        Splits ``train``, ``validation`` and ``test`` with the columns ``image`` (``datasets.Image``) and
        ``label`` (``datasets.ClassLabel`` with the names ``0`` to ``9``).
    """
    source = load_digits()
    pixels = np.rint(source.images * (255 / 16)).astype(np.uint8)
    labels = source.target
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=_HELD_OUT["test"], stratify=labels, random_state=_SPLIT_SEED
    )
    train, validation = train_test_split(
        rest, test_size=_HELD_OUT["validation"], stratify=labels[rest], random_state=_SPLIT_SEED
    )
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[str(digit) for digit in range(10)])}
    )
    splits = {"train": train, "validation": validation, "test": test}
    return datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(
                {"image": [stored_png(Image.fromarray(pixels[row])) for row in rows], "label": labels[rows].tolist()},
                features=features,
                split=datasets.NamedSplit(name),
            )
            for name, rows in ((name, np.sort(rows)) for name, rows in splits.items())
        }
    )
