"""Image classification."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import BatchSizeFinder
from timm.data import Mixup
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from biformer_lit.backbone import Backbone
from biformer_lit.checkpoints.saved_weights import Copy
from biformer_lit.errors import ConfigError
from biformer_lit.seams.lightning_seams import load_batches_again
from biformer_lit.tasks.batches import is_empty, require_class_numbers, target_of
from biformer_lit.tasks.compile_options import Compilation
from biformer_lit.tasks.memory_shortage import within_memory
from biformer_lit.tasks.optim import Optimization
from biformer_lit.tasks.template import BiFormerTask, as_group, identifiers


@dataclass(frozen=True)
class Mixing:
    """Mixup and CutMix on training batches, as in timm. The defaults are the released ImageNet recipe.

    Args:
        mixup: Parameter of mixup's Beta distribution, 0 = no mixup.
        cutmix: Parameter of CutMix's Beta distribution, 0 = no CutMix.
        prob: Probability that a batch is mixed at all.
        switch_prob: Probability of CutMix rather than mixup where both are on.
    """

    mixup: float = 0.8
    cutmix: float = 1.0
    prob: float = 1.0
    switch_prob: float = 0.5

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            ConfigError: Naming the field.
        """
        for name in ("mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ConfigError(f"mixing.{name}={getattr(self, name)} must be at least 0 (0 turns it off)")
        for name in ("prob", "switch_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"mixing.{name}={getattr(self, name)} must be between 0 and 1")

    @property
    def active(self) -> bool:
        """True if any batch is mixed."""
        return self.prob > 0 and (self.mixup > 0 or self.cutmix > 0)


_NO_CLASS = -100  # which torch leaves out of the loss
_REMEDY = "set a smaller data.init_args.image_size or eval_batch_size"


class ClassificationTask(BiFormerTask):
    """Classify images; batches are ``{"image": (N, C, H, W), "label": (N,), "index": (N,)}``.

    Logs ``train/loss``, and at the end of an epoch ``val/loss``, ``val/acc1`` and, with more than five classes,
    ``val/acc5`` (fractions, over the whole set).

    Args:
        backbone: The variant and what is to differ from it.
        num_classes: Number of classes; None takes the data set's.
        weights: File of weights to start from or to evaluate; see :class:`BiFormerTask`.
        weights_copy: Which weights where the file holds both: raw or average.
        optim: The optimiser and its schedule.
        mixing: Mixup and CutMix.
        label_smoothing: Probability taken from the right class and spread over all.
        compile: Compile the network in place; see :class:`BiFormerTask`.
        grad_checkpointing: Recompute each block in the backward pass instead of keeping its activations.

    Raises:
        ConfigError: On a setting that cannot work.
    """

    kind: ClassVar[str] = "classification"
    monitor: ClassVar[str] = "val/acc1"
    mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(
        self,
        backbone: Backbone = Backbone(),  # noqa: B008 (frozen)
        num_classes: int | None = None,
        weights: str | None = None,
        weights_copy: Copy | None = None,
        optim: Optimization = Optimization(),  # noqa: B008 (frozen)
        mixing: Mixing = Mixing(),
        label_smoothing: float = 0.1,
        compile: Compilation = False,  # noqa: A002 (the name users know from torch)
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__(
            backbone=backbone,
            num_classes=num_classes,
            weights=weights,
            weights_copy=weights_copy,
            optim=optim,
            compile=compile,
            grad_checkpointing=grad_checkpointing,
        )
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing={label_smoothing} must be at least 0 and below 1")
        self.save_settings()
        self.mixing = as_group(Mixing, mixing)
        self.label_smoothing = label_smoothing
        self.mix: Mixup | None = None

    def build_net(self, num_classes: int) -> nn.Module:
        """The backbone with its classifier."""
        return self.backbone.build(num_classes)

    def net_settings(self) -> dict[str, Any]:
        """The backbone's."""
        return {"backbone": asdict(self.backbone)}

    def build_metrics(self, num_classes: int) -> None:
        """Top-1 and, where it says something, top-5 accuracy over a whole epoch, and the mean loss."""
        # Lightning's own mean over processes (2.6) rounds the number of images in each down, and comes out too high
        self.losses = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in ("val", "test")})
        ranks = (1, 5) if num_classes > 5 else (1,)
        accuracy = MetricCollection(
            {f"acc{k}": MulticlassAccuracy(num_classes, top_k=k, average="micro") for k in ranks}
        )
        self.val_metrics = accuracy.clone(prefix="val/")
        self.test_metrics = accuracy.clone(prefix="test/")
        if self.mixing.active:
            self.mix = Mixup(
                mixup_alpha=self.mixing.mixup,
                cutmix_alpha=self.mixing.cutmix,
                prob=self.mixing.prob,
                switch_prob=self.mixing.switch_prob,
                label_smoothing=self.label_smoothing,
                num_classes=num_classes,
            )

    def on_fit_start(self) -> None:
        """Refuse a batch that cannot be mixed.

        Raises:
            ConfigError: If batches are mixed and have an odd size.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        size = getattr(data, "batch_size", 2)
        searched = any(isinstance(one, BatchSizeFinder) for one in self.trainer.callbacks)  # type: ignore[attr-defined]
        if self.mix is not None and searched and size > 2 and size % 2:
            size = data.batch_size = size - 1
            load_batches_again(self.trainer)
        if self.mix is not None and size % 2:
            raise ConfigError(f"data.init_args.batch_size={size} is odd, but mixing needs pairs; use an even size")

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | None:
        """Loss of one batch; what the network saw is left in ``batch["image"]`` for callbacks that draw it.

        Raises:
            ConfigError: If the batch cannot be mixed.
        """
        if self.left_out(batch):
            return None
        target = target_of(batch, self.row)
        if self.mix is not None:
            if self.is_searching and len(target) % 2:  # for a batch, of which the one before was no pair
                batch["image"], target = batch["image"][:-1], target[:-1]
            if len(target) % 2:
                raise ConfigError(
                    f"a batch of {len(target)} images is odd, but mixing needs pairs; have the loader leave out what "
                    "is left at the end (drop_last=True), or set mixing.mixup and mixing.cutmix to 0"
                )
            batch["image"], target = self.mix(batch["image"], target)
        logits = self.net(batch["image"])
        smoothing = 0.0 if self.mix is not None else self.label_smoothing  # mixed targets are smoothed already
        loss = F.cross_entropy(logits.float(), target, label_smoothing=smoothing)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Update the validation metrics; returns the predictions for callbacks."""
        return self._evaluate(batch, "val", self.val_metrics)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Update the test metrics; returns the predictions for callbacks."""
        return self._evaluate(batch, "test", self.test_metrics)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return what identifies the images (see ``identifiers``), and class probabilities (N, num_classes)."""
        if is_empty(batch):
            return {**identifiers(batch), "probabilities": torch.zeros(0, self.num_classes or 0, device=self.device)}
        return {**identifiers(batch), "probabilities": self._logits(batch["image"]).softmax(-1)}

    def _logits(self, images: Tensor) -> Tensor:
        with within_memory((len(images), images.shape[2], images.shape[3]), _REMEDY):
            logits: Tensor = self.net(images).float()
        return logits

    def _evaluate(self, batch: dict[str, Tensor], name: str, metrics: MetricCollection) -> dict[str, Tensor]:
        if is_empty(batch):
            none = torch.zeros(0, dtype=torch.int64, device=self.device)
            return {"prediction": none, "label": none}
        target_of(batch, self.row)
        logits = self._logits(batch["image"])
        losses = F.cross_entropy(logits, batch["label"], reduction="none")
        metrics.update(logits, batch["label"])
        mean_loss: Any = self.losses[name]
        mean_loss.update(losses)  # one by one: torchmetrics (1.9) forgets weights where it lets nan pass
        self.log(f"{name}/loss", mean_loss, batch_size=len(logits))
        self.log_dict(metrics, prog_bar=name == "val", batch_size=len(logits))
        return {"prediction": logits.argmax(-1), "label": batch["label"]}


def check_labels(labels: Any, task: Any) -> None:
    """Refuse labels (N,) that are no classes; see :class:`biformer_lit.kinds.Kind`."""
    require_class_numbers(labels, task.num_classes, _NO_CLASS)
