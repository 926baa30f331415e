"""Objects as COCO writes them, and COCO's own evaluation of them.

torchmetrics' MeanAveragePrecision rests on the same evaluation, but (1.9.0) rounds the thresholds to float32, so that a
recall of just 0.1 falls below the one of 0.1; leaves images without objects out of the scores of masks; and waits for
ever where one process has more images than another. All three were seen.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools import mask as run_lengths

Entry: TypeAlias = dict[str, Any]
Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

_FIGURES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100")


def coco_entries(image_id: int | str, objects: Arrays, category_ids: Sequence[int] | None = None) -> list[Entry]:
    """Return the fields that COCO's lists of ground truth and of predictions share, for each object of an image.

    Args:
        image_id: Number or name of the image.
        objects: ``boxes`` (n, 4), left, top, right, bottom, ``labels`` (n,), and maybe ``masks`` (n, height, width).
        category_ids: Number to write for each class; by default the class numbers.

    Returns:
        ``image_id``, ``category_id``, ``bbox``: left, top, width, height, and maybe ``segmentation``: run lengths.
    """
    entries = []
    for i, (box, label) in enumerate(zip(objects["boxes"], objects["labels"].tolist(), strict=True)):
        corner, extent = box[:2], box[2:] - box[:2]
        category = label if category_ids is None else category_ids[label]
        entry = {"image_id": image_id, "category_id": category, "bbox": [_as_written(x) for x in (*corner, *extent)]}
        if "masks" in objects:
            runs = run_lengths.encode(np.asfortranarray(objects["masks"][i], dtype=np.uint8))
            entry["segmentation"] = {"size": runs["size"], "counts": runs["counts"].decode()}
        entries.append(entry)
    return entries


def coco_predictions(image_id: int | str, objects: Arrays, category_ids: Sequence[int] | None = None) -> list[Entry]:
    """Predictions of an image as ``COCO.loadRes`` takes them: :func:`coco_entries` with ``score``."""
    entries, scores = coco_entries(image_id, objects, category_ids), objects["scores"]
    return [{**entry, "score": _as_written(score)} for entry, score in zip(entries, scores, strict=True)]


def coco_truth(image_id: int | str, objects: Arrays, category_ids: Sequence[int] | None = None) -> list[Entry]:
    """Truth of an image as ``COCO`` takes it, but for ``id``: :func:`coco_entries` with ``area`` and ``iscrowd``."""
    rows = zip(coco_entries(image_id, objects, category_ids), objects["area"], objects["crowd"], strict=True)
    return [{**entry, "area": _as_written(area), "iscrowd": int(crowd)} for entry, area, crowd in rows]


def _as_written(value: Any) -> float:
    """Return a float32 with its own digits, not those of the float64 it becomes."""
    return float(str(value))


@dataclass(frozen=True)
class CocoScores:
    """Result of :func:`coco_scores`, between 0 and 1.

    Attributes:
        figures: ``map`` (average precision, averaged over classes and IoU 0.50 to 0.95), ``map_50``, ``map_75``,
            ``map_small``, ``map_medium``, ``map_large``, ``mar_1``, ``mar_10``, ``mar_100`` (average recall with so
            many predictions to an image); without those that nothing could be measured on.
        by_class: Average precision of each class that the truth has, by its number.
    """

    figures: dict[str, float]
    by_class: dict[int, float]


def coco_scores(
    truth: Sequence[Entry],
    found: Sequence[Entry],
    images: Sequence[Entry],
    num_classes: int,
    kind: Literal["bbox", "segm"],
) -> CocoScores:
    """COCO's evaluation, by faster-coco-eval where that is installed, else by pycocotools.

    Args:
        truth: Entries of :func:`coco_truth`, of all images.
        found: Entries of :func:`coco_predictions`.
        images: ``id``, ``height`` and ``width`` of each image, also of those without any object.
        num_classes: Number of classes.
        kind: What is compared: boxes, or masks, whose sizes are then those of the masks, not of the boxes.
    """
    fast = find_spec("faster_coco_eval") is not None
    home = import_module("faster_coco_eval" if fast else "pycocotools.coco")
    evaluator = home.COCOeval_faster if fast else import_module("pycocotools.cocoeval").COCOeval
    head = {"info": {}, "images": list(images), "categories": [{"id": i, "name": str(i)} for i in range(num_classes)]}
    kept = [{key: x for key, x in entry.items() if key != "bbox" or kind == "bbox"} for entry in found]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        reference = home.COCO()
        # from 1, for the evaluation takes 0 for "no match"
        reference.dataset = {**head, "annotations": [{**entry, "id": i} for i, entry in enumerate(truth, 1)]}
        reference.createIndex()
        if kept:
            results = reference.loadRes(kept)
        else:  # which loadRes does not take
            results = home.COCO()
            results.dataset = {**head, "annotations": []}
            results.createIndex()
        evaluation = evaluator(reference, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # COCO writes -1 for what it has not measured
    figures = {name: float(x) for name, x in zip(_FIGURES, evaluation.stats, strict=False) if x >= 0}
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class; all sizes, 100 predictions
    means = {i: precision[:, :, i] for i in range(num_classes)}
    return CocoScores(figures, {i: float(x.mean()) for i, x in means.items() if (x > -1).all()})
