import itertools
import logging

import pytest
import torch

from biformer_lit.data import Augmentation, ClassificationDataModule
from biformer_lit.errors import ConfigError, DataError

from .test_classification import Process

PLAIN = Augmentation("none", hflip=0, rand_augment=None, color_jitter=0, erasing=0)
RANDOM = Augmentation(rand_augment=None, erasing=1.0)
ROWS = 48


@pytest.fixture
def folder(make_table, write):
    return write(shards=4, train=make_table(ROWS), validation=make_table(10))


def module(folder, **changes):
    settings = {
        "batch_size": 3,
        "image_size": 8,
        "num_workers": 0,
        "augmentation": PLAIN,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "shuffle_buffer": 16,
    }
    data = ClassificationDataModule(**{"dataset": folder, "streaming": True, **settings, **changes})
    data.setup("fit")
    return data


def rows_of(batches):
    """The rows, which the grey levels of the images tell."""
    return [round(level * 255) for batch in batches for level in batch["image"].mean((1, 2, 3)).tolist()]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2])
def test_each_row_once_over_ranks_and_workers(folder, workers, world_size):
    train, validation, numbers = [], [], []
    for rank in range(world_size):
        data = module(folder, num_workers=workers)
        data.trainer = Process(rank, world_size)
        batches = list(data.train_dataloader())
        assert {len(batch["label"]) for batch in batches} == {3}
        train += rows_of(batches)
        numbers += [index for batch in batches for index in batch["index"].tolist()]
        validation += rows_of(data.val_dataloader())
    assert sorted(train) == list(range(ROWS))
    assert len(set(numbers)) == ROWS
    assert sorted(validation) == list(range(10))


@pytest.mark.parametrize("workers", [0, 2])
def test_order_depends_on_seed_and_epoch(folder, workers, monkeypatch):
    loader, orders = module(folder, num_workers=workers).train_dataloader(), []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)
        orders.append(rows_of(loader))
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]
    assert orders[0] != list(range(ROWS))
    monkeypatch.setenv("PL_GLOBAL_SEED", "8")
    assert rows_of(module(folder, num_workers=workers).train_dataloader()) != orders[0]


def test_workers_leave_the_epoch_alone(folder):
    """They share its number with this process; if each added to it, the order would depend on who is quicker."""
    stream = module(folder, num_workers=2).train_dataloader().dataset
    stream.start(3, 0)
    list(stream)
    assert stream._stream.epoch == 3
    stream._stream.set_epoch(5)  # as if it were a worker's business
    list(stream)
    assert stream._stream.epoch == 5


def test_workers_do_not_share_their_augmentation(make_table, tmp_path):
    # erased rectangles hold noise; equal images would mean equal random numbers
    black = make_table(1).select([0] * ROWS)
    black.to_parquet(tmp_path / "train.parquet")
    black.to_parquet(tmp_path / "validation.parquet")
    images = []
    for rank in range(2):
        data = module(str(tmp_path), num_workers=2, augmentation=RANDOM, num_classes=3)
        data.trainer = Process(rank, 2)
        images += [image for batch in data.train_dataloader() for image in batch["image"]]
    assert len(images) >= ROWS // 2
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(images, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_batches_takes_the_rest_of_the_epoch(folder, workers):
    data = module(folder, num_workers=workers)
    whole = [rows_of([batch]) for batch in data.train_dataloader()]
    loader = data.train_dataloader()
    loader.dataset.start(0, 4)
    rest = [rows_of([batch]) for batch in loader]
    assert rest == whole[4:]
    loader.sampler.set_epoch(1)
    assert sorted(rows_of(loader)) == list(range(ROWS))


def test_bad_images(make_table, write, caplog):
    folder = write(shards=2, train=make_table(12, bad=[3]), validation=make_table(6, bad=[4]))
    with pytest.raises(DataError, match=r"split 'validation', row 4: the image cannot be read"):
        list(module(folder).val_dataloader())
    with caplog.at_level(logging.WARNING, "biformer_lit"):
        rows = rows_of(module(folder, on_bad_image="skip").val_dataloader())
    assert rows == [0, 1, 2, 3, 5]
    assert len(caplog.records) == 1


def test_digits_can_be_streamed_and_trained_on():
    data = module("digits", batch_size=64)
    assert data.class_names == [str(digit) for digit in range(10)]
    assert len(rows_of(data.val_dataloader())) == 200


def test_settings_a_stream_cannot_have(make_table, tmp_path):
    make_table(12, [0, 1, 2] * 4).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"data\.init_args\.num_classes: with streaming"):
        module(str(tmp_path), val_split="train")
    with pytest.raises(ConfigError, match=r"data\.init_args\.val_split: None does not do for a stream.* train"):
        module(str(tmp_path), num_classes=3)
    with pytest.raises(ConfigError, match=r"data\.init_args\.augmentation\.repeats: 3 needs random access"):
        module("digits", augmentation=Augmentation(repeats=3))
    with pytest.raises(ConfigError, match="number of rows of a stream is unknown"):
        module("digits").num_rows("train")


def test_unlabelled_rows_end_a_stream_even_when_bad_images_are_skipped(make_table, tmp_path):
    for split in ("train", "validation"):
        make_table(6, [0, 1, -1] * 2).to_parquet(tmp_path / f"{split}.parquet")
    data = module(str(tmp_path), num_classes=2, on_bad_image="skip")
    with pytest.raises(DataError, match=r"row 2: the label is negative or missing"):
        list(data.val_dataloader())
