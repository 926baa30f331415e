import numpy as np
from sklearn.datasets import load_digits

from biformer_lit.data.embedded.digits import load_digits_dataset


def test_splits_are_complete_stratified_and_disjoint():
    splits = load_digits_dataset()
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 1347,
        "validation": 200,
        "test": 250,
    }
    everything = np.concatenate(
        [[[*np.asarray(row["image"]).ravel().tolist(), row["label"]] for row in split] for split in splits.values()]
    )
    source = load_digits()
    expected = np.column_stack([np.rint(source.data * 255 / 16), source.target])
    np.testing.assert_array_equal(np.unique(everything, axis=0), np.unique(expected, axis=0))
    for split in splits.values():
        counts = np.bincount(split["label"], minlength=10)
        assert np.abs(counts - len(split) / 10).max() <= 0.015 * len(split) + 1


def test_images_and_names():
    train = load_digits_dataset()["train"]
    assert train.features["label"].names == [str(digit) for digit in range(10)]
    image = train[0]["image"]
    assert (image.mode, image.size) == ("L", (8, 8))
    assert np.asarray(image).max() > 200


def test_deterministic():
    first, second = load_digits_dataset(), load_digits_dataset.__wrapped__()
    assert first["test"]["label"] == second["test"]["label"]
    assert first["train"][3]["image"].tobytes() == second["train"][3]["image"].tobytes()
