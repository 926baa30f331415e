"""Loaders of somebody's own: pairs, images alone, empty batches; and a task called like a module."""

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from biformer_lit import ClassificationTask, SegmentationTask
from biformer_lit.backbone import Backbone
from biformer_lit.data import DetectionDataModule
from biformer_lit.errors import ConfigError, DataError
from biformer_lit.kinds import KINDS
from biformer_lit.tasks import Mixing, Optimization
from biformer_lit.tasks.batches import as_named

SMALL = Backbone(
    "biformer_tiny", depths=(1, 1), dims=(16, 32), head_dim=16, stem_stride=2, regions=2, topk=(1, "all"),
    attention=("bra", "full"), full_heads=2,
)  # fmt: skip
DENSE = Backbone(
    "biformer_tiny",
    depths=(1,) * 4,
    dims=(16, 16, 32, 32),
    head_dim=16,
    stem_stride=2,
    regions=2,
    topk=(1, 2, 4, "all"),
)
IMAGES = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 3
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
PLAIN = Mixing(mixup=0, cutmix=0)
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
]


def trainer(**more):
    return Trainer(max_epochs=1, accelerator="cpu", num_sanity_val_steps=0, **QUIET, **more)


def classifier(**more):
    return ClassificationTask(SMALL, num_classes=3, **{"mixing": PLAIN, **more})


def loader(*tensors, **more):
    return DataLoader(TensorDataset(*tensors), batch_size=4, **more)


def test_a_task_is_called_like_its_network():
    task = classifier().eval()
    assert task(IMAGES).shape == (8, 3)
    assert torch.equal(task(IMAGES), task.net(IMAGES))
    with pytest.raises(ConfigError, match="num_classes is unknown"):
        ClassificationTask(SMALL)(IMAGES)


def test_pairs_are_trained_scored_and_predicted(tmp_path):
    task, runs = classifier(optim=Optimization(lr_batch=8)), trainer(default_root_dir=tmp_path)
    runs.fit(task, loader(IMAGES, LABELS), loader(IMAGES, LABELS))
    assert task.lr == pytest.approx(5e-4 * 4 / 8)  # the loader tells the batch
    assert runs.test(task, loader(IMAGES, LABELS), verbose=False)[0].keys() == {"test/acc1", "test/loss"}
    named = DataLoader(
        [{"image": image, "label": label} for image, label in zip(IMAGES, LABELS, strict=True)], batch_size=4
    )
    by_name = runs.test(task, named, verbose=False)[0]
    assert by_name == runs.test(task, loader(IMAGES, LABELS), verbose=False)[0]
    for images in (loader(IMAGES), loader(IMAGES, LABELS), DataLoader(IMAGES, batch_size=4)):
        found = torch.cat([batch["probabilities"] for batch in runs.predict(task, images)])
        torch.testing.assert_close(found, task.eval()(IMAGES).softmax(-1))


def test_a_data_module_of_somebody_s_own(tmp_path):
    class Own(LightningDataModule):
        def train_dataloader(self):
            return loader(IMAGES, LABELS)

        val_dataloader = test_dataloader = train_dataloader

    task, runs = classifier(), trainer(default_root_dir=tmp_path)
    runs.fit(task, datamodule=Own())
    assert task.lr == pytest.approx(5e-4 * 4 / 512)
    assert "test/acc1" in runs.test(task, datamodule=Own(), verbose=False)[0]


def test_pairs_of_images_and_maps(tmp_path):
    maps = torch.randint(0, 2, (8, 1, 32, 32))
    task, runs = SegmentationTask(DENSE, num_classes=2, head_channels=16), trainer(default_root_dir=tmp_path)
    runs.fit(task, loader(IMAGES, maps), loader(IMAGES, maps))
    assert 0 <= runs.callback_metrics["val/miou"] <= 1
    assert runs.predict(task, loader(IMAGES))[0]["labels"][0].shape == (32, 32)


def some_empty(samples):
    kept = [sample for sample in samples if int(sample[1]) != 0]
    images = torch.stack([image for image, _ in kept]) if kept else torch.zeros(0, 3, 32, 32)
    return images, torch.tensor([int(label) for _, label in kept], dtype=torch.int64)


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`. If this was on purpose")
def test_empty_batches_are_passed_over(tmp_path):
    labels = torch.tensor([1, 2, 1, 2, 0, 0, 0, 0])  # of the second batch nothing is left
    data = loader(IMAGES, labels, collate_fn=some_empty)
    task, runs = classifier(), trainer(default_root_dir=tmp_path)
    runs.fit(task, data, data)
    scores = runs.test(task, data, verbose=False)[0]
    assert scores == runs.test(task, loader(IMAGES[:4], labels[:4]), verbose=False)[0]
    assert [len(batch["probabilities"]) for batch in runs.predict(task, data)] == [4, 0]


def test_an_odd_rest_cannot_be_mixed(tmp_path):
    with pytest.raises(ConfigError, match=r"a batch of 3 images is odd, .*drop_last=True"):
        trainer(default_root_dir=tmp_path).fit(classifier(mixing=Mixing()), loader(IMAGES[:7], LABELS[:7]))


@pytest.mark.parametrize(
    ("batch", "kind", "problem"),
    [
        ((IMAGES, LABELS, LABELS), "classification", r"a tuple of 3 .*or \(image, label\)"),
        ("images", "classification", "of type str"),
        ([[IMAGES], [LABELS]], "segmentation", r"a list of 2 \(list, list\)"),
        ((IMAGES, LABELS), "detection", "have the loader give a dictionary"),
    ],
)
def test_other_batches_are_refused(batch, kind, problem):
    with pytest.raises(DataError, match=problem):
        as_named(batch, KINDS[kind])


def test_what_training_needs_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a batch has no 'label' \(it has image\)"):
        trainer(default_root_dir=tmp_path).fit(classifier(), loader(IMAGES))


def test_a_network_that_nothing_was_trained_or_loaded_into_is_told(tmp_path, caplog):
    loader = torch.utils.data.DataLoader([(torch.zeros(3, 32, 32), 0)] * 2, batch_size=2)
    small = Backbone(depths=(1, 1), dims=(8, 16), head_dim=8, attention="full", full_heads=1)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "default_root_dir": tmp_path}
    fresh, loaded = (ClassificationTask(small, num_classes=2) for _ in range(2))
    Trainer(**options).test(fresh, loader)
    assert "nothing has been trained or loaded" in caplog.text
    caplog.clear()
    loaded.configure_model()
    loaded.net.load_state_dict(fresh.net.state_dict())
    Trainer(**options).test(loaded, loader)
    assert "nothing has been trained or loaded" not in caplog.text


@pytest.mark.parametrize("wrong", [3, -2])
def test_labels_that_are_no_classes_are_named(tmp_path, wrong):
    labels = torch.where(torch.arange(8) == 5, wrong, LABELS)
    said = rf"the label {wrong}, but there are 3 classes, numbered from 0 to 2; correct the labels"
    with pytest.raises(DataError, match=said):
        trainer(default_root_dir=tmp_path).fit(classifier(), loader(IMAGES, labels))
    with pytest.raises(DataError, match=said):
        trainer(default_root_dir=tmp_path).test(classifier(), loader(IMAGES, labels), verbose=False)
    assert len(trainer(default_root_dir=tmp_path).predict(classifier(), loader(IMAGES, labels))) == 2
    maps = torch.full((8, 32, 32), 255)
    maps[:, :4], maps[6, 0, 0] = 1, wrong
    with pytest.raises(DataError, match=f"the label {wrong}, but there are 2 classes"):
        trainer(default_root_dir=tmp_path).fit(
            SegmentationTask(DENSE, num_classes=2, head_channels=16), loader(IMAGES, maps)
        )


def test_the_names_of_version_0_1_still_tell_the_kind():
    with pytest.warns(FutureWarning, match="predicts = 'maps' is called kind = 'segmentation' now"):

        class Earlier(SegmentationTask):
            predicts = "maps"

    assert Earlier.kind == "segmentation"
    with pytest.warns(FutureWarning, match="targets = 'objects' is called kind"):

        class EarlierData(DetectionDataModule):
            targets = "objects"

    assert EarlierData.kind == "detection"
