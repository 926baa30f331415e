"""Figures of merit of semantic segmentation, from one confusion matrix over all pixels of a set."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SegmentationScores:
    """Result of :func:`segmentation_scores`; all float64, between 0 and 1.

    Attributes:
        iou: Intersection over union of each class (C,), NaN where a class is in neither truth nor prediction.
        miou: Mean of it over the other classes.
        mean_acc: Mean share of the pixels of a class that are found, over the classes of the truth.
        pixel_acc: Share of all pixels that are right.
    """

    iou: Tensor
    miou: Tensor
    mean_acc: Tensor
    pixel_acc: Tensor


def segmentation_scores(confusion: Tensor, there: list[int] | None = None) -> SegmentationScores:
    """Scores of a whole set; NaN where there is nothing to divide by.

    A class that is only predicted has a union and so an IoU of 0; one that occurs nowhere has none and is not in the
    mean. This is how ADE20K, Cityscapes and others are scored; averages of the scores of images or batches differ.

    Args:
        confusion: Number of pixels of each true class (row) predicted as each class (column), shape (C, C).
        there: Numbers of the classes that the data has; the others have no IoU, though predictions of them count as
            wrong. None for all.
    """
    counts = confusion.double()
    right, true, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    iou = right / (true + predicted - right)  # 0 / 0 is NaN, which is meant
    if there is not None:
        absent = torch.ones_like(iou, dtype=torch.bool)
        absent[there] = False
        iou = iou.masked_fill(absent, math.nan)
    return SegmentationScores(iou, iou.nanmean(), (right / true).nanmean(), right.sum() / counts.sum())


def pixel_loss(logits: Tensor, target: Tensor, ignore_index: int, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, averaged over the pixels that hold a class (by their weights); 0 if there is none.

    Args:
        logits: Logits (N, C, H, W).
        target: Classes (N, H, W), int64.
        ignore_index: Value of the pixels that do not count.
        weights: Weight of each class (C,), or None.
    """
    if weights is not None:
        weights = weights.to(logits.dtype)  # logits of half precision are float32, the buffer is not
    total = summed_loss(logits, target, ignore_index, weights)
    valid = target != ignore_index
    if weights is None:
        amount = valid.sum().to(total.dtype)
    else:
        amount = (weights[target.where(valid, torch.zeros_like(target))] * valid).sum()
    return total / amount.where(amount > 0, torch.ones_like(amount))


def summed_loss(logits: Tensor, target: Tensor, ignore_index: int, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, summed over the pixels that hold a class; the arguments are those of :func:`pixel_loss`."""
    return torch.nn.functional.cross_entropy(logits, target, weights, ignore_index=ignore_index, reduction="sum")
