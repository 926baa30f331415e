"""Scores of objects against COCO's own evaluation, and objects in pixels of the stored images."""

import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from biformer_lit.common import coco
from biformer_lit.detection.object_scores import ObjectScores, find_objects

NAMES = ["cat", "dog", "never"]
SIZE = (200, 300)


def made_up(seed, count=12):
    """Truth with crowds and objects of all sizes, and predictions near it; three images, one of them empty."""
    noise = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(3):
        n = 0 if image == 1 else count
        corner = noise.uniform(0, 150, (n, 2))
        boxes = np.concatenate(
            [corner, corner + noise.choice([10, 40, 120], (n, 1)) * noise.uniform(0.6, 1.2, (n, 2))], 1
        )
        boxes = boxes.clip(0, [SIZE[1], SIZE[0]] * 2)
        labels = noise.integers(0, 2, n)
        moved = boxes + noise.normal(0, 3, boxes.shape)
        moved = np.concatenate([moved, [[5, 5, 25, 25]]])  # and one that is not there
        scores = np.sort(noise.uniform(0.05, 1, n + 1))[::-1].copy()
        truth.append(
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                "labels": torch.tensor(labels),
                "crowd": torch.tensor(noise.uniform(size=n) < 0.15),
                "masks": rectangles(boxes),
            }
        )
        truth[-1]["area"] = truth[-1]["masks"].sum((1, 2)).float()
        found.append(
            {
                "boxes": torch.tensor(moved, dtype=torch.float32),
                "labels": torch.tensor([*labels, 0]),
                "scores": torch.tensor(scores, dtype=torch.float32),
                "masks": rectangles(moved).bool(),
            }
        )
    return truth, found


def batch(truth, rows=(0, 1, 2)):
    return {
        "index": torch.tensor(rows),
        "stored_size": torch.tensor([SIZE] * len(rows)),
        "objects": [truth[i] for i in rows],
    }


def rectangles(boxes):
    masks = torch.zeros(len(boxes), *SIZE, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, np.asarray(boxes).round().astype(int).clip(0), strict=True):
        mask[top:bottom, left:right] = 1
    return masks


def coco_s(truth, found, kind):
    """COCO's twelve figures, by pycocotools."""
    width = ["image_id", "category_id", "bbox"]
    annotations, results = [], []

    def encode(mask):
        return run_lengths.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))

    for image, (true, one) in enumerate(zip(truth, found, strict=True)):
        for i, (x0, y0, x1, y1) in enumerate(true["boxes"].tolist()):
            entry = dict(zip(width, [image, int(true["labels"][i]), [x0, y0, x1 - x0, y1 - y0]], strict=True))
            entry |= {"id": len(annotations) + 1, "iscrowd": int(true["crowd"][i]), "area": float(true["area"][i])}
            annotations.append({**entry, "segmentation": encode(true["masks"][i])})
        for i, (x0, y0, x1, y1) in enumerate(one["boxes"].tolist()):
            entry = dict(zip(width, [image, int(one["labels"][i]), [x0, y0, x1 - x0, y1 - y0]], strict=True))
            if kind == "segm":
                entry = {
                    "image_id": image,
                    "category_id": entry["category_id"],
                    "segmentation": encode(one["masks"][i]),
                }
            results.append({**entry, "score": float(one["scores"][i])})
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        images = [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(len(truth))]
        reference.dataset = {"images": images, "annotations": annotations, "categories": [{"id": i} for i in range(3)]}
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


FIGURES = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_figures_are_coco_s(seed):
    truth, found = made_up(seed)
    scores = ObjectScores(masks=True)
    for rows in ([2], [0, 1]):  # in any order, in batches of any size
        scores.update(batch(truth, rows), [found[i] for i in rows])
    ours = scores.compute(NAMES)
    for kind, name in (("bbox", ""), ("segm", "mask_")):
        theirs = coco_s(truth, found, kind)
        for figure, wanted in zip(FIGURES, theirs, strict=False):
            value = ours.get(f"{name}{figure}")
            assert (value is None) == (wanted < 0), figure
            assert value is None or value.item() == pytest.approx(wanted, abs=1e-6), figure
    assert 0.1 < ours["map"] < 0.9
    means = torch.stack([ours["ap/cat"], ours["ap/dog"]]).mean()
    assert torch.allclose(ours["map"], means)
    assert "ap/never" not in ours


def test_a_set_is_scored_anew_each_time():
    truth, found = made_up(0)
    scores = ObjectScores(masks=False)
    results = []
    for _ in range(2):
        scores.update(batch(truth), found)
        results.append(scores.compute(NAMES))
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])
    assert not any(key.startswith("mask_") for key in results[0])


@pytest.mark.parametrize("predicts", [True, False])
def test_nothing_to_measure_on_is_not_a_number_and_never_minus_one(predicts):
    truth, found = made_up(0)
    scores = ObjectScores(masks=False)
    one = found[0] if predicts else {key: value[:0] for key, value in found[0].items()}
    scores.update(batch(truth, [1]), [one])
    ours = scores.compute(NAMES)
    assert list(ours) == ["map"]
    assert ours["map"].isnan()


def test_figures_are_the_same_by_both_libraries(monkeypatch):
    truth, found = made_up(3)
    results = []
    for missing in (True, False):
        if missing:
            monkeypatch.setattr(coco, "find_spec", lambda name: None)
        else:
            monkeypatch.undo()
            pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
        scores = ObjectScores(masks=True)
        scores.update(batch(truth), found)
        results.append({key: value.item() for key, value in scores.compute(NAMES).items()})
    assert results[0] == pytest.approx(results[1], abs=1e-12)


def test_what_is_not_found_counts():
    truth, found = made_up(0)
    scores = ObjectScores(masks=False)
    scores.update(batch(truth), [{key: value[:0] for key, value in one.items()} for one in found])
    assert scores.compute(NAMES)["map"] == 0


class Finder(nn.Module):
    """Finds the brightest pixel, and remembers what it was shown."""

    stride = 32

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, images, sizes):
        self.shapes.append((tuple(images.shape[-2:]), len(images)))
        found = []
        for image in images:
            row, column = divmod(int(image[0].argmax()), image.shape[-1])
            box = torch.tensor([[column, row, column + 1.0, row + 1.0]])
            mask = torch.full((1, 1, 28, 28), 0.9)
            found.append({"boxes": box, "labels": torch.tensor([1]), "scores": torch.tensor([0.5]), "masks": mask})
        return found


def test_objects_come_back_in_pixels_of_the_stored_image():
    images = torch.zeros(3, 3, 96, 96)
    for image in images:
        image[:, 20, 40] = 1
    sizes = torch.tensor([[96, 96], [30, 60], [90, 70]])
    stored = torch.tensor([[96, 96], [60, 120], [45, 35]])
    net = Finder()
    found = find_objects(net, images, sizes, stored)
    assert [one["boxes"][0].tolist() for one in found] == [[40, 20, 41, 21], [80, 40, 82, 42], [20, 10, 20.5, 10.5]]
    assert [tuple(one["masks"].shape) for one in found] == [(1, 96, 96), (1, 60, 120), (1, 45, 35)]
    assert found[1]["masks"][0, 40:42, 80:82].all()
    assert found[1]["masks"].sum() <= 16  # torchvision rounds outwards
    assert net.shapes == [((96, 96), 2), ((32, 64), 1)]  # images that need the same padding go together
