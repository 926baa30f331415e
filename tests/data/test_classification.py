import logging
import os
import random

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from biformer_lit.data import Augmentation, ClassificationDataModule
from biformer_lit.errors import ConfigError, DataError

FULL = Augmentation(rand_augment="rand-m9-mstd0.5-inc1", erasing=0.5)


def module(folder="digits", **changes):
    settings = {"batch_size": 4, "image_size": 8, "num_workers": 0, "augmentation": FULL}
    (data := ClassificationDataModule(**{"dataset": folder, **settings, **changes})).setup("fit")
    return data


def epoch_of(data, epoch=0, batches=None):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return [batch for batch, _ in zip(loader, range(batches or len(loader)), strict=False)]


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a[key], b[key]) for a, b in zip(first, second, strict=True) for key in a
    )


def indices(batches):
    return [index for batch in batches for index in batch["index"].tolist()]


def test_digits_out_of_the_box():
    data = ClassificationDataModule(num_workers=0)
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    assert data.class_names == [str(digit) for digit in range(10)]
    assert [data.num_rows(part) for part in ("train", "validation", "test", "predict")] == [
        1347,
        200,
        250,
        250,
    ]
    batch = next(iter(data.train_dataloader()))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "image": ((64, 3, 224, 224), torch.float32),
        "label": ((64,), torch.int64),
        "index": ((64,), torch.int64),
    }
    assert len(data.train_dataloader()) == 1347 // 64


def test_evaluation_is_complete_and_in_order(make_table, write):
    data = module(write(train=make_table(9), validation=make_table(7)), eval_batch_size=3)
    batches = list(data.val_dataloader())
    assert [len(batch["index"]) for batch in batches] == [3, 3, 1]
    assert indices(batches) == list(range(7))
    plain = module(write(train=make_table(9), validation=make_table(7)), mean=(0, 0, 0), std=(1, 1, 1))
    levels = torch.cat([batch["image"].mean((1, 2, 3)) for batch in plain.val_dataloader()])
    torch.testing.assert_close(levels * 255, torch.arange(7.0))


def test_setup_is_idempotent_and_checks_what_the_stage_needs(make_table, monkeypatch):
    splits = {"train": make_table(9), "validation": make_table(3), "test": make_table(3).select([])}
    monkeypatch.setattr("biformer_lit.data.data_module.load_splits", lambda *_, **__: splits)
    data = module()  # the empty test split does not disturb training
    loaded = data._tables
    data.setup("fit")
    data.setup("validate")
    assert data._tables is loaded
    with pytest.raises(DataError, match=r"split 'test' of .* is empty"):
        data.setup("test")
    with pytest.raises(ConfigError, match="the test data is not set up"):
        data.test_dataloader()


def test_predict_means_every_image_of_a_single_split(make_table, write):
    data = ClassificationDataModule(dataset=write(train=make_table(60)), num_workers=0, image_size=8)
    data.setup("predict")
    assert indices(data.predict_dataloader()) == list(range(60))
    with pytest.raises(DataError, match=r"data\.init_args\.test_split: none to test on; there are train"):
        data.setup("test")


def test_workers_do_not_change_the_batches():
    alone, two = module(batch_size=16), module(batch_size=16, num_workers=2)
    first = epoch_of(alone, 0, 8)
    assert same(first, epoch_of(two, 0, 8))
    assert same(first, epoch_of(alone, 0, 8))
    loader = two.train_dataloader()  # workers that live on through epochs
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        assert same(epoch_of(alone, epoch, 3), [batch for batch, _ in zip(loader, range(3), strict=False)])


def test_epoch_and_seed_change_the_augmentation(monkeypatch):
    def by_index(epoch):
        return {
            int(i): image
            for b in epoch_of(module(batch_size=64), epoch)
            for i, image in zip(b["index"], b["image"], strict=True)
        }

    first, second = by_index(0), by_index(1)
    common = set(first) & set(second)
    assert sum(torch.equal(first[i], second[i]) for i in common) < 0.01 * len(common)
    monkeypatch.setenv("PL_GLOBAL_SEED", "8")
    other = by_index(0)
    common = set(first) & set(other)
    assert sum(torch.equal(first[i], other[i]) for i in common) < 0.01 * len(common)


class Process:
    """As much of a trainer as tells the data module its place among processes."""

    def __init__(self, rank, world_size):
        self._trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        self.global_rank, self.world_size, self.num_devices = rank, world_size, world_size

    def __getattr__(self, name):
        return getattr(self._trainer, name)


def test_ranks_see_the_samples_of_a_single_process(make_table, write):
    folder = write(train=make_table(24), validation=make_table(7))
    alone = module(folder, batch_size=8)
    ranks = [module(folder, batch_size=4) for _ in range(2)]
    for rank, data in enumerate(ranks):
        data.trainer = Process(rank, 2)
    for whole, *halves in zip(epoch_of(alone), *map(epoch_of, ranks), strict=True):
        for key in ("index", "label", "image"):
            assert torch.equal(whole[key][0::2], halves[0][key])
            assert torch.equal(whole[key][1::2], halves[1][key])
    assert sorted(row for data in ranks for row in indices(data.val_dataloader())) == list(range(7))


def test_repeats_differ(make_table, write):
    data = module(
        write(train=make_table(12), validation=make_table(3)),
        batch_size=3,
        augmentation=Augmentation(repeats=3),
    )
    batch = epoch_of(data)[0]
    assert len(set(batch["index"].tolist())) == 1
    assert not torch.equal(batch["image"][0], batch["image"][1])


def test_fetching_leaves_the_global_generators_alone():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    for workers in (0, 1):
        epoch_of(module(num_workers=workers), 0, 2)
    assert random.getstate() == states[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[1], strict=True))  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_a_one_line_error(make_table, write, workers):
    data = module(write(train=make_table(9), validation=make_table(9, bad=[5])), num_workers=workers)
    with pytest.raises(DataError) as caught:
        list(data.val_dataloader())
    assert str(caught.value).startswith("split 'validation', row 5: the image cannot be read")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_bad_images(make_table, write, caplog, workers):
    bad = [1, 4, 5, 6, 7]
    folder = write(train=make_table(12, bad=bad), validation=make_table(9, bad=bad))
    data = module(folder, num_workers=workers, on_bad_image="skip")
    with caplog.at_level(logging.WARNING, "biformer_lit"):
        batches = list(data.val_dataloader())  # rows 4 to 7 are a whole batch
    assert [batch["index"].tolist() for batch in batches] == [[0, 2, 3], [8]]
    assert data.skipped["validation"].rows == set(bad)
    (record,) = caplog.records
    assert record.getMessage() == "split 'validation': 5 images cannot be read and are skipped (rows 1, 4, 5, 6, 7)"
    first = epoch_of(data)
    assert [len(batch["index"]) for batch in first] == [4, 4, 4]  # the next rows stand in
    assert set(indices(first)) == set(range(12)) - set(bad)
    assert data.skipped["train"].rows == set(bad)
    assert same(first, epoch_of(data))


def test_nothing_but_bad_images(make_table, write):
    folder = write(train=make_table(6, bad=range(6)), validation=make_table(3, bad=range(3)))
    data = module(folder, on_bad_image="skip")
    with pytest.raises(DataError, match="split 'train': none of the 6 images can be read"):
        epoch_of(data)
    with pytest.raises(DataError, match="split 'validation': there is a process without any image to evaluate"):
        list(data.val_dataloader())


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("batch_size", 0),
        ("eval_batch_size", 0),
        ("val_fraction", 0.0),
        ("val_fraction", 1.0),
        ("split_seed", -1),
        ("num_workers", -1),
        ("shuffle_buffer", 0),
        ("image_size", 0),
        ("crop_pct", 1.5),
        ("num_classes", 0),
        ("mean", (0.5, 0.5)),
        ("std", (0.5, 0.5, 0.0)),
        ("on_bad_image", "ignore"),
        ("dataset", ""),
    ],
)
def test_bad_arguments_are_refused_at_once(argument, value):
    with pytest.raises(ConfigError, match=rf"^data\.init_args\.{argument}: ") as caught:
        ClassificationDataModule(**{argument: value})
    assert repr(value) in str(caught.value)


def test_a_batch_larger_than_the_data(make_table, write):
    data = module(write(train=make_table(6), validation=make_table(3)), batch_size=7)
    with pytest.raises(ConfigError, match=r"data\.init_args\.batch_size: 7 .* 6 training rows"):
        data.train_dataloader()


def test_unknown_train_split_and_classes_before_setup(make_table, write):
    folder = write(train=make_table(6), validation=make_table(3))
    with pytest.raises(ConfigError, match=r"data\.init_args\.train_split: no split 'all'; the data set has train, val"):
        module(folder, train_split="all")
    with pytest.raises(ConfigError, match="call setup"):
        _ = ClassificationDataModule().num_classes


class Nothing(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["index"].tolist())
        return self.layer(batch["image"].mean().view(1, 1)).sum()

    def validation_step(self, batch, batch_idx):
        pass

    def predict_step(self, batch, batch_idx):
        return batch["index"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


SILENT = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


def test_lightning_predicts_every_row_once():
    rows = torch.cat(
        Trainer(**SILENT).predict(Nothing(), datamodule=ClassificationDataModule(image_size=8, num_workers=0))
    )
    assert rows.tolist() == list(range(250))


def test_overfit_batches_sees_the_same_rows():
    model = Nothing()
    with pytest.warns(UserWarning, match="overfit"):
        Trainer(**SILENT, overfit_batches=2, max_epochs=2).fit(
            model, datamodule=ClassificationDataModule(image_size=8, num_workers=0)
        )
    assert model.seen[:2] == model.seen[2:]


def test_no_hyper_parameters_are_saved():
    # the same name in task and data module would end the run
    assert not ClassificationDataModule().hparams


@pytest.mark.skipif(
    "BIFORMER_LIT_TEST_DATA" not in os.environ, reason="BIFORMER_LIT_TEST_DATA, a folder with clothing10, is not set"
)
def test_real_photos():
    data = module(f"{os.environ['BIFORMER_LIT_TEST_DATA']}/clothing10", image_size=64)
    assert data.num_classes == 10
    assert data.num_rows("train") == 3068
    assert torch.isfinite(next(iter(data.train_dataloader()))["image"]).all()
