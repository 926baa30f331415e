"""Fill a network with the weights of a file, once everything about them is checked."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from biformer_lit.checkpoints.fitting import check_fits
from biformer_lit.checkpoints.saved_weights import Copy, SavedWeights, opened

logger = logging.getLogger(__name__)
_SEED = ".routing_seed"


@dataclass(frozen=True)
class LoadReport:
    """Result of :func:`load_weights`.

    Attributes:
        source: Where the weights came from, for people: the file and which of its copies.
        fresh: Entries of the model that the weights did not fill: a classifier of another size, and the seeds of
            ``routing: random_fixed`` where the weights are from another routing.
        unused: Entries of the weights that the model has no place for: a classifier or such seeds.
    """

    source: str
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def untrained(self) -> tuple[str, ...]:
        """The fresh entries that training would have to fill: all but the seeds."""
        return tuple(key for key in self.fresh if not key.endswith(_SEED))


def load_weights(
    model: nn.Module,
    source: str | Path | Mapping[str, Any] | SavedWeights,
    *,
    copy: Copy | None = None,
    fresh_classifier: bool = False,
) -> LoadReport:
    """Fill ``model`` from a file or a state dict; everything is checked before anything is changed.

    Understands released checkpoints of both layouts, checkpoints of our tasks, plain state dicts and
    safetensors. A classifier with another number of classes is left fresh, and a warning says so. Weights
    may go from one ``routing`` to another: only ``random_fixed`` keeps something of its own, its seeds.

    Args:
        model: A :class:`BiFormer`, or the feature extractor that ``features_only=True`` gives.
        source: A ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file, or what one holds.
        copy: Which weights where a file holds both ``raw`` and ``average`` (averaged) ones. None takes those that
            the file's figures belong to: the raw ones of a released checkpoint (the released code evaluates
            these), those that were validated in our tasks' checkpoints
            (the averaged ones, unless the EMA callback says ``evaluate: raw``).
        fresh_classifier: Leave the classifier as it is even if its shape fits, for its classes are others.

    Returns:
        What was loaded and what was not.

    Raises:
        CheckpointError: If the file cannot be read, or keys are missing, unknown or of another shape.
    """
    saved = opened(source)
    where = saved.where
    state_dict, description = saved.weights(copy)
    inner = getattr(model, "model", None)  # features_only wraps the network
    net = inner if isinstance(inner, nn.Module) else model
    own = net.state_dict()
    head = [key for key in ("head.weight", "head.bias") if key in own]
    optional = [key for key in state_dict if key.startswith(("head.", "norm.")) or key.endswith(_SEED)]
    unused = [key for key in optional if key not in own]
    for key in unused:
        del state_dict[key]
    seeds = [key for key in own if key.endswith(_SEED) and key not in state_dict]
    state_dict.update({key: own[key] for key in seeds})
    fresh = []
    other = any(key not in state_dict or state_dict[key].shape != own[key].shape for key in head)
    if other or fresh_classifier:
        fresh = head
        state_dict.update({key: own[key] for key in head})
    if problem := check_fits(net, state_dict):
        raise saved.misfit(problem)
    net.load_state_dict(state_dict)
    report = LoadReport(f"{where}{description}", (*fresh, *seeds), tuple(unused))
    logger.info("loaded %s", report.source)
    if other:
        logger.warning("%sthe classifier has another number of classes or is absent: the head is fresh", where)
    return report
