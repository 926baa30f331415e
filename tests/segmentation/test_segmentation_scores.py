"""Scores of segmentation, and the ways in which others go wrong."""

import math

import numpy as np
import pytest
import torch
from shapes import IGNORED, reference_miou
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from biformer_lit.segmentation.segmentation_scores import pixel_loss, segmentation_scores


def made_up(seed, images=6, classes=5, absent=(3,)):
    """Predictions and truths of different sizes; some classes occur nowhere."""
    noise = np.random.default_rng(seed)
    kinds = [i for i in range(classes) if i not in absent]
    pairs = []
    for _ in range(images):
        size = noise.integers(5, 20, 2)
        truth = noise.choice(kinds, size)
        wrong = noise.random(size) < 0.4
        prediction = np.where(wrong, noise.choice(kinds, size), truth)
        truth[noise.random(size) < 0.2] = IGNORED
        pairs.append((prediction, truth))
    return pairs


def counted(pairs, classes=5):
    matrix = MulticlassConfusionMatrix(classes, ignore_index=IGNORED, validate_args=False)
    for prediction, truth in pairs:
        matrix.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    return matrix.compute()


@pytest.mark.parametrize("seed", range(5))
def test_miou_is_the_reference_s(seed):
    pairs = made_up(seed)
    scores = segmentation_scores(counted(pairs))
    assert abs(float(scores.miou) - reference_miou(pairs, 5)) < 1e-12
    every = np.concatenate([p[t != IGNORED] == t[t != IGNORED] for p, t in pairs])
    assert abs(float(scores.pixel_acc) - every.mean()) < 1e-12
    found = [np.concatenate([p[t == kind] == kind for p, t in pairs]).mean() for kind in (0, 1, 2, 4)]
    assert abs(float(scores.mean_acc) - np.mean(found)) < 1e-12


def test_a_class_that_occurs_nowhere_is_not_averaged():
    """torchmetrics' MulticlassJaccardIndex gives 0 for it, whose mean would be too low."""
    pairs = made_up(0)
    scores = segmentation_scores(counted(pairs))
    assert math.isnan(scores.iou[3])
    assert not scores.iou[[0, 1, 2, 4]].isnan().any()
    theirs = MulticlassJaccardIndex(5, average="none", ignore_index=IGNORED, validate_args=False)
    for prediction, truth in pairs:
        theirs.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    each = theirs.compute()
    assert each[3] == 0
    assert float(each.mean()) < float(scores.miou) - 0.05
    torch.testing.assert_close(each[[0, 1, 2, 4]].double(), scores.iou[[0, 1, 2, 4]], atol=1e-6, rtol=0)


def test_a_class_that_is_only_predicted_has_an_iou_of_zero():
    scores = segmentation_scores(torch.tensor([[8, 0, 2], [0, 5, 0], [0, 0, 0]]))
    assert scores.iou.tolist() == [0.8, 1.0, 0.0]
    assert float(scores.miou) == pytest.approx(0.6)
    assert float(scores.mean_acc) == pytest.approx(0.9)  # over the classes of the truth


def test_the_mean_over_batches_is_another_number():
    pairs = made_up(1)
    batches = [float(segmentation_scores(counted([pair])).miou) for pair in pairs]
    assert abs(np.mean(batches) - reference_miou(pairs, 5)) > 1e-3


def test_nothing_at_all_is_not_a_number():
    scores = segmentation_scores(torch.zeros(3, 3, dtype=torch.int64))
    assert all(math.isnan(x) for x in (scores.miou, scores.mean_acc, scores.pixel_acc))


def test_large_counts_are_exact():
    scores = segmentation_scores(torch.tensor([[2**40 + 1, 0], [1, 2**40]]))
    assert float(scores.iou[0]) == (2**40 + 1) / (2**40 + 2)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_torch_s(weighted):
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 6, 7), torch.randint(4, (2, 6, 7))
    target[:, :3] = IGNORED
    weights = torch.tensor([0.5, 1.0, 2.0, 0.0]) if weighted else None
    wanted = torch.nn.functional.cross_entropy(logits, target, weights, ignore_index=IGNORED)
    torch.testing.assert_close(pixel_loss(logits, target, IGNORED, weights), wanted)


@pytest.mark.parametrize("weights", [None, torch.ones(4)])
def test_a_batch_of_ignored_pixels_costs_nothing(weights):
    logits = torch.randn(1, 4, 3, 3, requires_grad=True)
    loss = pixel_loss(logits, torch.full((1, 3, 3), IGNORED), IGNORED, weights)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
