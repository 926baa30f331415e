"""Weights for the network of a dense task: of a classifier for its backbone, or of a whole network."""

import logging
from pathlib import Path

from torch import Tensor

from biformer_lit.backbone import BiFormer, LoadReport
from biformer_lit.checkpoints.fitting import check_fits
from biformer_lit.checkpoints.saved_weights import Copy, SavedWeights, opened
from biformer_lit.heads.dense_network import DenseNetwork

logger = logging.getLogger(__name__)
_SEED = ".routing_seed"
_HEADS = ("head.", "auxiliary.", "pyramid.")  # of all kinds of networks


def load_dense_weights(
    net: DenseNetwork,
    source: str | Path | SavedWeights,
    *,
    copy: Copy | None = None,
    fresh_classifier: bool = False,
) -> LoadReport:
    """Fill the network of a dense task from a file; everything is checked before anything is changed.

    A classifier's checkpoint (released or ours) fills the backbone and leaves norms and heads fresh. A checkpoint of
    a whole network fills everything; a head of another kind or size, or its classifier for another number of classes,
    is left fresh, and a warning says so.

    Args:
        net: The network.
        source: A ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file, or one that was read.
        copy: Which weights where a file holds both, see :func:`biformer_lit.load_weights`.
        fresh_classifier: Leave what depends on the classes as it is even if it would fit, for they are others.

    Returns:
        What was loaded and what was not.

    Raises:
        CheckpointError: If the file cannot be read, or does not fit the backbone.
    """
    saved = opened(source)
    given, description = saved.weights(copy)
    whole = any(key.startswith("backbone.") for key in given)
    if not whole:
        given = {f"backbone.{key}": tensor for key, tensor in given.items()}
    own = net.state_dict()
    if not any(key.startswith("backbone.model.") for key in given):  # a classifier of timm's that was wrapped here
        wrapped = any(key.startswith("backbone.model.") for key in own)
        given = {key.replace("backbone.", "backbone.model.", 1) if wrapped else key: x for key, x in given.items()}
    fresh = _fresh(net, own, given, whole, fresh_classifier)
    # a classifier, its norm and the seeds of routing have no place here; other entries that we lack are an error
    unused = [key for key in given if (key not in own and _may_be_left(key, net)) or key in fresh]
    filled = {key: tensor for key, tensor in given.items() if key not in unused}
    filled |= {key: own[key] for key in fresh}
    if problem := check_fits(net, filled):
        raise saved.misfit(problem)
    net.load_state_dict(filled)
    report = LoadReport(f"{saved.where}{description}", tuple(fresh), tuple(unused))
    logger.info("loaded %s", report.source)
    if fresh:
        parts = sorted({key.partition(".")[0] for key in fresh})
        logger.warning("%shas no weights that fit %s: fresh there", saved.where, ", ".join(parts))
    return report


def _fresh(
    net: DenseNetwork, own: dict[str, Tensor], given: dict[str, Tensor], whole: bool, fresh_classifier: bool
) -> list[str]:
    """Entries that are not to be filled: a part of the heads if it does not fit, or what depends on the classes."""
    fresh = [key for key in own if key.endswith(_SEED) and key not in given]
    if not whole:
        return fresh + [key for key in own if not key.startswith("backbone.")]
    for part, by_class in net.head_parts.items():
        keys = [key for key in own if key.startswith(part)]
        body = [key for key in keys if not key.startswith(by_class)]
        if any(key not in given or given[key].shape != own[key].shape for key in body):
            fresh += keys
        elif fresh_classifier or any(key not in given or given[key].shape != own[key].shape for key in keys):
            fresh += [key for key in keys if key not in body]
    return fresh


def _may_be_left(key: str, net: DenseNetwork) -> bool:
    parts = (*_HEADS, "norms.", "backbone.head.", "backbone.norm.")
    # timm's classifiers go by many names
    return (
        key.startswith(parts)
        or key.endswith(_SEED)
        or (key.startswith("backbone.") and not isinstance(net.backbone, BiFormer))
    )
