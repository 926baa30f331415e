"""Inference without normalisation layers that are only a scale and a shift by then."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from biformer_lit.backbone.biformer import BiFormer
from biformer_lit.errors import ConfigError
from biformer_lit.seams.torch_seams import child_names


@torch.no_grad()
def fold_norms(model: BiFormer) -> BiFormer:
    """A copy of ``model`` for inference, its BatchNorms folded into the convolutions and the classifier beside them.

    The logits stay what they are, up to rounding. The copy cannot be trained further, and its state dict fits no other
    model. LayerNorms stay: their statistics depend on the input.

    Args:
        model: A network with a classifier.

    Returns:
        The copy, in evaluation mode.

    Raises:
        ConfigError: If the network has no classifier over the mean of the map, into which the last norm could go.
    """
    if model.global_pool != "avg" or not isinstance(model.head, nn.Linear):
        raise ConfigError(
            "fold_norms folds the last BatchNorm into the classifier; give a network with num_classes above 0 and "
            "global_pool='avg'"
        )
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for part in (folded.stem, *(stage.downsample for stage in folded.stages)):
        if isinstance(part, nn.Sequential):
            _fold_row(part)
    scale, shift = _scale_and_shift(folded.norm)
    head: nn.Linear = folded.head  # type: ignore[assignment]
    head.bias.add_(head.weight @ shift)
    head.weight.mul_(scale)
    folded.norm = nn.Identity()
    return folded


def _fold_row(row: nn.Sequential) -> None:
    """Fold each BatchNorm of a row of layers into the convolution before it, or after it if there is none."""
    names = child_names(row)
    for i, name in enumerate(names):
        norm = row[i]
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = row[i - 1] if i else None
        if isinstance(before, nn.Conv2d):
            setattr(row, names[i - 1], fuse_conv_bn_eval(before, norm))
        else:
            after: nn.Conv2d = row[i + 1]  # type: ignore[assignment]  # merging of patches, without padding
            scale, shift = _scale_and_shift(norm)
            after.bias.add_(after.weight.sum((2, 3)) @ shift)  # type: ignore[union-attr]
            after.weight.mul_(scale[:, None, None])
        setattr(row, name, nn.Identity())


def _scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a BatchNorm in evaluation as ``x * scale + shift``."""
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_var is None or norm.running_mean is None:
        raise ConfigError("fold_norms: the last norm is gone already; give a network as it was trained")
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale
