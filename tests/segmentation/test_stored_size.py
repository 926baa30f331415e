"""Scores and label maps are at the size that images are stored in, whatever size they are fed at."""

import io

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from biformer_lit import SegmentationTask
from biformer_lit.data import SegmentationDataModule
from biformer_lit.segmentation import inference
from biformer_lit.segmentation.inference import label_map, resized_rows
from biformer_lit.segmentation.map_files import MapFiles
from biformer_lit.tasks import Inference

SIZES = [(64, 64), (64, 48), (33, 70), (40, 40)]
CLASSES, STEP = 4, 60


def stored(pixels):
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def truth(row):
    """Vertical stripes of one pixel on the left, blocks on the right."""
    height, width = SIZES[row]
    labels = np.random.default_rng(row).integers(0, CLASSES, (height, width // 2))
    blocks = np.kron(np.arange(12).reshape(3, 4) % CLASSES, np.ones((24, 24), np.int64))[:height, : width - width // 2]
    return np.concatenate([labels, blocks], 1).astype(np.uint8)


class Tells(torch.nn.Module):
    """Knows the class of a pixel by its grey level."""

    def forward(self, images):
        levels = torch.arange(CLASSES).view(1, -1, 1, 1) * STEP / 255
        return -((images[:, :1] - levels) ** 2) * 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("stored")
    rows = [truth(row) for row in range(len(SIZES))]
    images = [stored(np.stack([labels * STEP] * 3, -1)) for labels in rows]
    table = datasets.Dataset.from_dict({"image": images, "annotation": [stored(labels) for labels in rows]})
    table = table.cast_column("image", datasets.Image()).cast_column("annotation", datasets.Image())
    for split in ("train", "validation"):
        table.to_parquet(str(place / f"{split}-00000-of-00001.parquet"))
    return place


def scored(folder, settings, **changes):
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "num_workers": 0, "num_classes": CLASSES, "batch_size": 1}
    (data := SegmentationDataModule(dataset=str(folder), **{**plain, **changes})).setup("validate")
    task = SegmentationTask(num_classes=CLASSES, inference=settings)
    task.build_metrics(CLASSES)
    task.net, task.log = Tells(), lambda *_, **__: None
    loader = data.val_dataloader()
    maps = []
    for batch in loader:
        task.evaluate(batch, "val")
        maps += task.predict_step(batch, 0)["labels"]
    loss = task.losses["val"].compute()
    return task.whole_set_scores("val", [str(i) for i in range(CLASSES)]), maps, loss


def reference(side):
    """mIoU and maps of the fed image's logits, resized to the stored size."""
    maps, confusion = [], np.zeros((CLASSES, CLASSES))
    for row, size in enumerate(SIZES):
        labels = truth(row)
        image = torch.from_numpy(labels * STEP)[None].expand(3, -1, -1)
        if side is not None:
            short = min(size)
            image = TF.resize(image, [max(1, round(one * side / short)) for one in size], antialias=True)
        logits = F.interpolate(Tells()(image[None] / 255), size, mode="bilinear", align_corners=False)
        maps.append(logits[0].argmax(0))
        np.add.at(confusion, (labels, maps[-1].numpy()), 1)
    right = confusion.diagonal()
    return (right / (confusion.sum(0) + confusion.sum(1) - right)).mean(), maps


@pytest.mark.parametrize("side", [None, 16, 32, 80])
@pytest.mark.parametrize("batch", [1, 4])
def test_scores_of_the_stored_truth(folder, side, batch):
    scores, maps, _ = scored(folder, Inference(), eval_size=side, eval_batch_size=batch)
    expected, wanted = reference(side)
    assert float(scores["miou"]) == pytest.approx(expected, abs=1e-3)  # a tie may be rounded otherwise
    assert sum(int((one != other).sum()) for one, other in zip(maps, wanted, strict=True)) <= 3
    assert [tuple(one.shape) for one in maps] == SIZES
    assert bool(expected == 1.0) is (side is None)  # what a fed size loses, the score shows


@pytest.mark.parametrize(
    "settings",
    [
        Inference("slide", 32, 20),
        Inference(scales=(0.5, 1.0)),
        Inference(flip=True),
        Inference("slide", 24, 24, (0.75, 1.25), True),
    ],
)
def test_every_way_of_predicting_ends_at_the_stored_size(folder, settings):
    small, maps, loss = scored(folder, settings, eval_size=32, eval_batch_size=4)
    assert [tuple(one.shape) for one in maps] == SIZES
    alone, same, same_loss = scored(folder, settings, eval_size=32)
    assert small["miou"] == alone["miou"]
    assert all(torch.equal(one, other) for one, other in zip(maps, same, strict=True))
    assert loss == pytest.approx(float(same_loss), rel=1e-6)
    if settings.scales == (1.0,):  # such a network sees one pixel at a time
        assert small["miou"] == pytest.approx(float(scored(folder, Inference(), eval_size=32)[0]["miou"]), abs=1e-12)


@pytest.mark.parametrize("size", [(50, 70), (13, 9), (31, 17), (200, 5)])
def test_rows_at_a_time_are_the_whole(monkeypatch, size):
    logits = torch.randn(5, 31, 17, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    monkeypatch.setattr(inference, "_AT_ONCE", 5 * size[1] * 4)
    parts = list(resized_rows(logits, size))
    assert len(parts) == -(-size[0] // 4)
    torch.testing.assert_close(torch.cat([part for _, part in parts], 1), whole)
    assert [rows.stop for rows, _ in parts][-1] == size[0]
    assert label_map(logits, size).shape == size


def test_figures_do_not_depend_on_the_rows_at_a_time(folder, monkeypatch):
    whole, maps, loss = scored(folder, Inference(), eval_size=24)
    monkeypatch.setattr(inference, "_AT_ONCE", 1000)
    parts, others, other_loss = scored(folder, Inference(), eval_size=24)
    assert float(parts["miou"]) == pytest.approx(float(whole["miou"]), abs=1e-3)  # a tie may be rounded otherwise
    assert sum(int((one != other).sum()) for one, other in zip(maps, others, strict=True)) <= 3
    assert float(other_loss) == pytest.approx(float(loss), rel=1e-5)


def test_written_maps_and_overlays(tmp_path):
    files = MapFiles(tmp_path / "maps", CLASSES)
    files.write(3, torch.ones((40, 30), dtype=torch.int64), torch.rand(3, 20, 15))
    files.close()
    for kind in ("labels", "overlays"):
        with Image.open(tmp_path / "maps" / kind / "000003.png") as picture:
            assert picture.size == (30, 40)
