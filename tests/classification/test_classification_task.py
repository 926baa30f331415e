"""The classification task used from Python, without the command line."""

import pytest
import torch
from lightning.pytorch import Trainer

from biformer_lit import Backbone, ClassificationTask, ConfigError, load_task
from biformer_lit.classification.image_augmentation import Augmentation
from biformer_lit.data import ClassificationDataModule
from biformer_lit.errors import CheckpointError
from biformer_lit.tasks import Mixing, Optimization

SMALL = Backbone(depths=[1], dims=[16], head_dim=16, stem_stride=2, attention="bra", topk=1, regions=2)
PLAIN = Mixing(mixup=0, cutmix=0)


def trainer(folder, **options):
    return Trainer(
        default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, **{"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1, **options},
    )  # fmt: skip


def digits(**options):
    augmentation = Augmentation(crop="none", hflip=0, rand_augment=None, color_jitter=0, erasing=0)
    return ClassificationDataModule(num_workers=0, image_size=16, batch_size=32, augmentation=augmentation, **options)


def test_in_python_as_on_the_command_line(tmp_path):
    task = ClassificationTask(SMALL, optim=Optimization(lr_batch=0), mixing=PLAIN)
    run = trainer(tmp_path)
    run.fit(task, datamodule=digits())
    assert task.num_classes == 10
    run.save_checkpoint(tmp_path / "a.ckpt")
    for restored in (load_task(tmp_path / "a.ckpt"), ClassificationTask.load_from_checkpoint(tmp_path / "a.ckpt")):
        assert restored.backbone == SMALL
        assert restored.mixing == PLAIN
        assert all(torch.equal(v, task.state_dict()[k]) for k, v in restored.state_dict().items())


def test_mixed_targets_carry_the_smoothing_once(tmp_path):
    task = ClassificationTask(SMALL, num_classes=4, mixing=Mixing(mixup=1.0, cutmix=0), label_smoothing=0.2)
    task.configure_model()
    images, targets = task.mix(torch.randn(4, 3, 8, 8), torch.arange(4))
    assert images.shape == (4, 3, 8, 8)
    torch.testing.assert_close(targets.sum(-1), torch.ones(4))
    assert targets.min() == pytest.approx(0.2 / 4)


def test_what_the_network_sees_is_left_in_the_batch():
    task = ClassificationTask(SMALL, num_classes=4, mixing=Mixing(mixup=1.0, cutmix=0))
    task.configure_model()
    task.log = lambda *_, **__: None
    images = torch.randn(4, 3, 16, 16)
    batch = {"image": images.clone(), "label": torch.arange(4)}
    task.training_step(batch, 0)
    assert not torch.equal(batch["image"], images)


def test_learns_something(tmp_path):
    task = ClassificationTask(SMALL, optim=Optimization(lr=3e-3, lr_batch=0, warmup_epochs=0.1), mixing=PLAIN)
    run = trainer(tmp_path, max_epochs=4, limit_train_batches=1.0, limit_val_batches=1.0)
    run.fit(task, datamodule=digits())
    assert run.callback_metrics["val/acc1"] > 0.5


def test_the_number_of_classes_must_be_known():
    with pytest.raises(ConfigError, match=r"num_classes is unknown: set model.init_args.num_classes"):
        ClassificationTask(SMALL).configure_model()


def test_an_unknown_length_of_the_run(tmp_path):
    task = ClassificationTask(SMALL, mixing=PLAIN)
    with pytest.raises(
        ConfigError, match=r"the length of the run is unknown: set trainer.max_steps, or trainer.max_epochs"
    ):
        trainer(tmp_path, max_epochs=-1).fit(task, datamodule=digits())


@pytest.mark.parametrize("field", ["mixup", "cutmix", "prob", "switch_prob"])
def test_mixing_out_of_range(field):
    with pytest.raises(ConfigError, match=rf"mixing.{field}=-1"):
        Mixing(**{field: -1})


def test_a_file_that_is_no_training_run(tmp_path):
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "released.pth")
    with pytest.raises(CheckpointError, match=r"is not a checkpoint of a training run.*model.init_args.weights"):
        load_task(tmp_path / "released.pth")
