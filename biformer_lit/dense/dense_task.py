"""Base of the tasks with a backbone and heads: initial weights, evaluation, scores of whole sets."""

import logging
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from torch import Tensor

from biformer_lit.backbone import LoadReport
from biformer_lit.checkpoints.saved_weights import SavedWeights
from biformer_lit.heads import DenseNetwork, load_dense_weights
from biformer_lit.heads.named_heads import HEADS
from biformer_lit.registry import Registry
from biformer_lit.tasks.template import BiFormerTask
from biformer_lit.text.class_names import distinct

logger = logging.getLogger(__name__)


class DenseTask(BiFormerTask):
    """Base of tasks whose figures are those of a whole set, computed after its last batch.

    Attributes:
        unmeasured: Names of the figures of the last evaluation that are not numbers because nothing in the data could
            be measured; a network that diverges has figures.
    """

    net: DenseNetwork
    head_settings: Any  # a dataclass of their own
    timm_backbone: str | None
    unmeasured: frozenset[str] = frozenset()

    @abstractmethod
    def evaluate(self, batch: dict[str, Any], name: str) -> dict[str, Any]:
        """Count a batch of ``val`` or ``test``; returns what was predicted, for callbacks."""

    @abstractmethod
    def whole_set_scores(self, name: str, class_names: list[str]) -> dict[str, Tensor]:
        """Scores of ``val`` or ``test`` over all processes, the same in each, by name; then begin anew."""

    def net_settings(self) -> dict[str, Any]:
        """Those of backbone and head."""
        head = asdict(self.head_settings)
        return {"backbone": asdict(self.backbone), "head": head, "timm_backbone": self.timm_backbone}

    def registered_parts(self) -> Iterator[tuple[Registry[Any], str]]:
        """Yield the head as well; see :class:`BiFormerTask`."""
        yield from super().registered_parts()
        if self.kind in HEADS:
            yield HEADS[self.kind][0], self.head_settings.head

    def load_start(self, saved: SavedWeights) -> LoadReport:
        """Start from the weights in a file."""
        fresh = self.network_classes.keep_fresh
        return load_dense_weights(self.net, saved, copy=self.weights_copy, fresh_classifier=fresh)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """See :meth:`evaluate`."""
        return self.evaluate(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """See :meth:`evaluate`."""
        return self.evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole set."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the whole set."""
        self._log_scores("test")

    def _log_scores(self, name: str) -> None:
        names = distinct(self.class_names or [str(i) for i in range(self.num_classes or 0)])
        scores = self.whole_set_scores(name, names)
        told = bool(self.unmeasured)
        self.unmeasured = frozenset(f"{name}/{key}" for key, value in scores.items() if bool(value.isnan()))
        if self.unmeasured and not told and not self.trainer.sanity_checking:
            logger.warning(
                "%s: nothing in the %s data could be measured, as it holds nothing that counts; label it, look at "
                "more of it (trainer.limit_val_batches), or name another split",
                ", ".join(sorted(self.unmeasured)),
                name,
            )
        for key, value in scores.items():
            figure = value.float() if self.device.type == "mps" else value  # which has no float64
            # all processes have the same value, and their maximum keeps its precision: a mean would be float32
            shown = f"{name}/{key}" == self.monitor
            self.log(f"{name}/{key}", figure.to(self.device), prog_bar=shown, reduce_fx="max", sync_dist=True)
