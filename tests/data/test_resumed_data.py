"""A resumed run goes on with the very batches that the uninterrupted run had."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from biformer_lit.data import Augmentation, ClassificationDataModule
from biformer_lit.errors import ConfigError


class Recorder(LightningModule):
    """Records the rows and pixels of each training batch; can fail before a given step."""

    def __init__(self, fail_at=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen, self.fail_at = [], fail_at

    def training_step(self, batch, batch_idx):
        if self.global_step == self.fail_at:
            raise KeyboardInterrupt
        self.seen.append((*batch["index"].tolist(), round(float(batch["image"].double().sum()), 4)))
        return self.layer(batch["image"].mean().view(1, 1)).sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def trainer(folder, callbacks, **options):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        default_root_dir=folder,
        callbacks=callbacks,
        num_sanity_val_steps=0,
        **options,
    )


@pytest.fixture
def data(make_table, write):
    folder = write(train=make_table(43), validation=make_table(5))

    def make(workers=0, batch_size=10):  # 4 batches an epoch
        augmentation = Augmentation(rand_augment=None, erasing=1.0)
        return ClassificationDataModule(
            dataset=folder,
            batch_size=batch_size,
            image_size=8,
            num_workers=workers,
            augmentation=augmentation,
        )

    return make


EVERY_STEP = {"every_n_train_steps": 1}
EPOCH_END = {"every_n_epochs": 1, "save_on_train_epoch_end": True}
VALIDATION_END = {"every_n_epochs": 1, "save_on_train_epoch_end": False}
pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`:UserWarning")


@pytest.mark.parametrize(
    ("workers", "checkpoint", "options"),
    [
        (0, EVERY_STEP, {"max_epochs": 2}),
        (2, EVERY_STEP, {"max_epochs": 2, "limit_val_batches": 0}),
        (0, EVERY_STEP, {"max_epochs": 2, "limit_train_batches": 3}),
        (0, EVERY_STEP, {"max_epochs": 2, "accumulate_grad_batches": 2}),
        (0, EVERY_STEP, {"max_steps": 9}),
        (2, EPOCH_END, {"max_epochs": 3}),
        (0, EPOCH_END, {"max_steps": 9}),
        (0, VALIDATION_END, {"max_epochs": 3}),
        (2, VALIDATION_END, {"max_epochs": 2, "val_check_interval": 2}),
        (0, VALIDATION_END, {"max_steps": 9}),
    ],
)
def test_resume(tmp_path, data, workers, checkpoint, options):
    whole = Recorder()
    keep = ModelCheckpoint(tmp_path / "saved", save_top_k=-1, filename="{step}", **checkpoint)
    trainer(tmp_path, [keep], **options).fit(whole, datamodule=data(workers))
    accumulate = options.get("accumulate_grad_batches", 1)
    assert len(set(whole.seen)) == len(whole.seen)
    files = sorted(tmp_path.glob("saved/*.ckpt"))
    assert len(files) >= 2
    for file in files:
        steps = torch.load(file, weights_only=True)["global_step"]
        resumed = Recorder()
        trainer(tmp_path, [], **options).fit(resumed, datamodule=data(workers), ckpt_path=file, weights_only=True)
        assert resumed.seen == whole.seen[steps * accumulate :], file.name


def test_resume_after_a_step_that_failed(tmp_path, data):
    whole, failing, resumed = Recorder(), Recorder(fail_at=6), Recorder()
    trainer(tmp_path, [], max_epochs=2).fit(whole, datamodule=data())
    stopped = trainer(tmp_path, [], max_epochs=2)
    with pytest.raises(SystemExit):
        stopped.fit(failing, datamodule=data())
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    trainer(tmp_path, [], max_epochs=2).fit(
        resumed, datamodule=data(), ckpt_path=tmp_path / "last.ckpt", weights_only=True
    )
    assert failing.seen + resumed.seen == whole.seen


def test_resume_in_mid_epoch_with_another_batch_size_is_refused(tmp_path, data):
    keep = ModelCheckpoint(tmp_path / "saved", save_top_k=-1, filename="{step}", **EVERY_STEP)
    trainer(tmp_path, [keep], max_epochs=1).fit(Recorder(), datamodule=data())
    middle = next(tmp_path.glob("saved/*step=2*"))
    with pytest.raises(ConfigError, match=r"cannot be continued with other settings \(batch_size 10 -> 5\)"):
        trainer(tmp_path, [], max_epochs=1).fit(
            Recorder(), datamodule=data(batch_size=5), ckpt_path=middle, weights_only=True
        )
