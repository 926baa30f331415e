import datasets
import numpy as np
import pytest
import torch

from biformer_lit.data import ClassificationDataModule
from biformer_lit.data.labels import stratified_split
from biformer_lit.errors import ConfigError, DataError


def module(folder, **changes):
    return ClassificationDataModule(
        **{"dataset": folder, "batch_size": 2, "image_size": 8, "num_workers": 0, **changes}
    )


def labels_of(loader):
    return [label for batch in loader for label in batch["label"].tolist()]


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        (["dog", "cat", "ant"] * 4, ["ant", "cat", "dog"]),
        ([10, 9, 2] * 4, ["2", "9", "10"]),
        ([True, False, True] * 4, ["0", "1"]),
    ],
)
def test_classes_are_the_sorted_labels(make_table, write, stored, names):
    data = module(write(train=make_table(12, stored), validation=make_table(3, stored[:3])))
    data.setup("fit")
    assert data.class_names == names
    assert data.num_classes == len(names)
    expected = [sorted(set(stored)).index(value) for value in stored[:3]]
    assert labels_of(data.val_dataloader()) == expected


def test_class_label_names(make_table, write):
    data = module(write(train=make_table(12)), val_fraction=0.25)
    data.setup("fit")
    assert data.class_names == ["ant", "bee", "cat"]
    batch = next(iter(data.train_dataloader()))
    assert batch["label"].dtype == batch["index"].dtype == torch.int64
    assert (batch["label"] == batch["index"] % 3).all()


def test_num_classes(make_table, write):
    folder = write(train=make_table(12, [0, 1, 4] * 4), validation=make_table(3, [0, 1, 2]))
    data = module(folder, num_classes=5)
    data.setup("fit")
    assert data.class_names == ["0", "1", "2", "3", "4"]
    assert labels_of(data.val_dataloader()) == [0, 1, 2]
    with pytest.raises(ConfigError, match=r"data\.init_args\.num_classes: 4 given, but the data set has 3 classes"):
        module(folder, num_classes=4).setup("fit")


def test_a_label_unknown_in_training_is_named(make_table, write):
    folder = write(train=make_table(4, ["a", "b"] * 2), validation=make_table(2, ["a", "zebra"]))
    with pytest.raises(DataError, match=r"split 'validation', row 1: label 'zebra' is not one of the 2 classes"):
        module(folder).setup("fit")


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        ([0, 1, -1, 1, 0, -1], r"split 'train', row 2: the label is negative or missing \(in 2 of 6 rows\)"),
        (["a", None, "b", "b", "a", "a"], r"split 'train', row 1: the label is negative or missing"),
        (
            [0.5, 1.0, 2.0, 0.5, 1.0, 2.0],
            r"column 'label' holds double, but labels must be integers or strings",
        ),
        ([None] * 6, "no row is labelled"),
        ([-1] * 6, "no row is labelled"),
    ],
)
def test_bad_labels(make_table, write, stored, problem):
    with pytest.raises(DataError, match=problem) as caught:
        module(write(train=make_table(6, stored))).setup("fit")
    assert "\n" not in str(caught.value)


def test_unlabelled_test_split_is_an_error_of_test_only(make_table, write):
    unlabelled = make_table(3, [-1, -1, -1], datasets.ClassLabel(names=["ant", "bee", "cat"]))
    data = module(write(train=make_table(30), test=unlabelled))
    data.setup("fit")
    data.setup("predict")
    assert labels_of(data.predict_dataloader()) == [-1, -1, -1]
    with pytest.raises(DataError, match=r"split 'test' is not labelled"):
        data.setup("test")


def test_prediction_needs_no_label_column(make_table, write):
    folder = write(test=make_table(3).remove_columns("label"))
    data = module(folder)
    data.setup("predict")
    assert labels_of(data.predict_dataloader()) == [-1, -1, -1]
    with pytest.raises(DataError, match=r"data\.init_args\.label_column: cannot tell"):
        data.setup("test")
    with pytest.raises(ConfigError, match="label_column"):
        _ = data.class_names


def test_stratified_split():
    numbers = np.repeat([0, 1, 2], [100, 50, 10])
    train, held_out = stratified_split(numbers, 0.2, 0, ["a", "b", "c"])
    assert sorted([*train, *held_out]) == list(range(160))
    assert np.bincount(numbers[held_out]).tolist() == [20, 10, 2]
    again, other = (
        stratified_split(numbers, 0.2, 0, ["a", "b", "c"])[1],
        stratified_split(numbers, 0.2, 1, ["a", "b", "c"])[1],
    )
    np.testing.assert_array_equal(held_out, again)
    assert held_out.tolist() != other.tolist()


def test_stratified_split_that_is_impossible(make_table, write):
    with pytest.raises(DataError, match=r"class b has a single row; add rows.*data\.init_args\.val_split"):
        module(write(train=make_table(5, ["a", "a", "b", "a", "a"]))).setup("fit")
    with pytest.raises(ConfigError, match=r"data\.init_args\.val_fraction: 0\.1 of 6 rows leaves 5 .* and 1"):
        module(write(train=make_table(6))).setup("fit")


def test_the_split_does_not_depend_on_the_global_seed(make_table, write, monkeypatch):
    folder, rows = write(train=make_table(60)), []
    for seed in ("1", "2"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        data = module(folder)
        data.setup("validate")
        rows.append([row for batch in data.val_dataloader() for row in batch["index"].tolist()])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 6
