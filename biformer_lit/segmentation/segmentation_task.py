"""Semantic segmentation."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from biformer_lit.backbone import Backbone
from biformer_lit.checkpoints.saved_weights import Copy
from biformer_lit.dense.dense_task import DenseTask
from biformer_lit.errors import ConfigError
from biformer_lit.heads import SEGMENTATION_HEADS, Segmenter, SegmenterSettings, build_segmenter
from biformer_lit.heads.head_layers import HeadNorm
from biformer_lit.plugins import is_synchronised
from biformer_lit.segmentation.inference import Inference, label_map, logits_by_size, resized_rows
from biformer_lit.segmentation.segmentation_scores import pixel_loss, segmentation_scores, summed_loss
from biformer_lit.tasks.batches import is_empty, require_class_numbers, target_of
from biformer_lit.tasks.compile_options import Compilation
from biformer_lit.tasks.optim import Optimization
from biformer_lit.tasks.template import as_group, identifiers


class SegmentationTask(DenseTask):
    """Give each pixel a class.

    Batches are ``{"image": (N, C, H, W), "mask": (N, H', W'), "size": (N, 2), "stored_size": (N, 2), "index": (N,)}``;
    ``size`` is each image's rows and columns as it is fed, ``stored_size`` those of its mask (``size`` where it is
    missing), what lies beyond is padding. Predictions are scored at the stored size.
    Pixels of the value ``ignore_index``, which the data module
    tells (255 if it does not), count nowhere.

    Logs ``train/loss`` (with UPerNet also ``train/auxiliary_loss``, which is in it), and after an epoch ``val/loss``,
    ``val/miou``, ``val/mean_acc``, ``val/pixel_acc`` and ``val/iou/<class name>`` for each class that occurs in truth
    or prediction: fractions, from one confusion matrix over all pixels of the set.

    Args:
        backbone: The variant and what is to differ from it.
        num_classes: Number of classes; None takes the data set's.
        weights: File of weights to start from or to evaluate: a classifier's for the backbone, or a whole network's;
            see :func:`biformer_lit.heads.load_dense_weights`.
        weights_copy: Which weights where the file holds both: raw or average.
        optim: The optimiser and its schedule.
        head: semantic_fpn, or upernet with an auxiliary head on the third stage.
        head_channels: Channels of the head's levels; None takes 256 for semantic_fpn, 512 for upernet.
        head_norm: Normalisation in the heads: batch (released, over all processes with trainer.sync_batchnorm), or
            group, which does not depend on the batch.
        head_dropout: Probability that a channel is dropped before the classifier.
        auxiliary_weight: Weight of the auxiliary head's loss with upernet; 0 leaves that head out.
        class_weights: Weight of each class in the loss; None weighs them alike.
        timm_backbone: Name of a model of timm's to take instead of backbone, untrained, for comparisons; of backbone,
            in_chans and drop_path_rate stay in force.
        inference: How predictions are made in validation, test and predict.
        compile: Compile the network in place; see :class:`BiFormerTask`. Images of many sizes need ``dynamic``.
        grad_checkpointing: Recompute each block of the backbone in the backward pass.

    Raises:
        ConfigError: On a setting that cannot work.
    """

    monitor: ClassVar[str] = "val/miou"
    mode: ClassVar[Literal["min", "max"]] = "max"
    kind: ClassVar[str] = "segmentation"
    net: Segmenter
    head_settings: SegmenterSettings
    confusion: nn.ModuleDict

    def __init__(
        self,
        backbone: Backbone = Backbone(),  # noqa: B008 (frozen)
        num_classes: int | None = None,
        weights: str | None = None,
        weights_copy: Copy | None = None,
        optim: Optimization = Optimization(),  # noqa: B008 (frozen)
        head: Literal["semantic_fpn", "upernet"] = "semantic_fpn",
        head_channels: int | None = None,
        head_norm: HeadNorm = "batch",
        head_dropout: float = 0.1,
        auxiliary_weight: float = 0.4,
        class_weights: list[float] | None = None,
        timm_backbone: str | None = None,
        inference: Inference = Inference(),  # noqa: B008 (frozen)
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
        if auxiliary_weight < 0:
            raise ConfigError(f"auxiliary_weight={auxiliary_weight} must be at least 0 (0 leaves the head out)")
        if class_weights is not None and (min(class_weights, default=0) < 0 or not any(class_weights)):
            raise ConfigError(f"class_weights={class_weights} must be numbers of at least 0 that are not all 0")
        self.head_settings = SegmenterSettings(head, head_channels, head_norm, head_dropout, auxiliary_weight > 0)
        self.save_settings()
        self.auxiliary_weight = auxiliary_weight
        self.timm_backbone = timm_backbone
        self.inference = as_group(Inference, inference)
        self.ignore_index = 255
        given = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", given, persistent=False)  # a setting, which checkpoints hold as such

    # -- building ----------------------------------------------------------------------------------------

    def require_classes(self, number: int) -> None:
        """Refuse fewer than two classes.

        Raises:
            ConfigError: If there are.
        """
        super().require_classes(number)
        if number < 2:
            raise ConfigError(f"num_classes={number} must be at least 2 to tell pixels apart; count the background")

    def build_net(self, num_classes: int) -> nn.Module:
        """The backbone with its added norms and head.

        Raises:
            ConfigError: If the classes are too few or not those of ``class_weights``.
        """
        self.require_classes(num_classes)
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise ConfigError(
                f"class_weights has {len(self.class_weights)} numbers for {num_classes} classes; give one for each"
            )
        return build_segmenter(self.backbone, num_classes, self.head_settings, self.timm_backbone)

    def build_metrics(self, num_classes: int) -> None:
        """One confusion matrix for validation and one for tests; what does not count is known now."""
        data = getattr(self._trainer, "datamodule", None) if self._trainer is not None else None
        self.ignore_index = int(getattr(data, "ignore_index", self.ignore_index))
        # Lightning's own mean over processes (2.6) rounds the number of images in each down, and comes out too high
        self.losses = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in ("val", "test")})
        # the loss refuses labels out of range; sorting all pixels to check them once more takes longer than counting
        self.confusion = nn.ModuleDict(
            {
                name: MulticlassConfusionMatrix(num_classes, ignore_index=self.ignore_index, validate_args=False)
                for name in ("val", "test")
            }
        )

    def on_fit_start(self) -> None:
        """Refuse a batch whose statistics do not exist.

        Raises:
            ConfigError: If pyramid pooling would normalise a single pixel by itself.
        """
        size = getattr(getattr(self.trainer, "datamodule", None), "batch_size", 2)
        head, norm = self.head_settings.head, self.head_settings.norm
        alone = size == 1 and SEGMENTATION_HEADS[head].pools_images and norm == "batch"
        if alone and not (self.trainer.world_size > 1 and is_synchronised(self.net)):
            raise ConfigError(
                f"data.init_args.batch_size=1 is too small for head_norm='batch' with head={head!r}, whose pooling "
                "leaves one pixel of each image; use head_norm='group', or at least 2"
            )

    # -- steps -------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | None:
        """Loss of one batch."""
        if self.left_out(batch):
            return None
        target_of(batch, self.row)
        logits, auxiliary = self.net(batch["image"], with_auxiliary=True)
        loss = pixel_loss(logits, batch["mask"], self.ignore_index, self.class_weights)
        if auxiliary is not None:
            extra = pixel_loss(auxiliary, batch["mask"], self.ignore_index, self.class_weights)
            self.log("train/auxiliary_loss", extra, batch_size=len(logits))
            loss = loss + self.auxiliary_weight * extra
        self.log("train/loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Any]:
        """Return what identifies the images, and for each its classes at the stored size (rows, columns), int64."""
        if is_empty(batch):
            return {**identifiers(batch), "labels": []}
        found = logits_by_size(self.inference, self.net, batch["image"], batch["size"])
        labels = [label_map(logits, size) for logits, size in zip(found, _stored_sizes(batch), strict=True)]
        return {**identifiers(batch), "labels": labels}

    def evaluate(self, batch: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        """Count a batch, at the size that its images are stored in.

        Returns:
            ``prediction`` (N, H, W), 0 in the padding, and ``label`` (N, H, W), ``ignore_index`` there.
        """
        if is_empty(batch):
            none = torch.zeros(0, 1, 1, dtype=torch.int64, device=self.device)
            return {"prediction": none, "label": none}
        label: Tensor = target_of(batch, self.row)
        prediction = torch.zeros_like(label)
        losses = []
        found = logits_by_size(self.inference, self.net, batch["image"], batch["size"])
        for i, size in enumerate(_stored_sizes(batch)):
            total, pixels = found[i].new_zeros(()), label.new_zeros(())
            for rows, part in resized_rows(found[i], size):
                truth = label[i, rows, : size[1]]
                prediction[i, rows, : size[1]] = part.argmax(0)
                total = total + summed_loss(part[None], truth[None], self.ignore_index)
                pixels = pixels + (truth != self.ignore_index).sum()
            losses.append(total / pixels.clamp_min(1).to(total.dtype))
        mean_loss: Any = self.losses[name]
        mean_loss.update(torch.stack(losses))
        self.log(f"{name}/loss", mean_loss, batch_size=len(label))
        metric: Any = self.confusion[name]
        metric.update(prediction, label)
        return {"prediction": prediction, "label": label}

    def whole_set_scores(self, name: str, class_names: list[str]) -> dict[str, Tensor]:
        """See :func:`.segmentation_scores.segmentation_scores`; ``iou/NAME`` of the classes that occur."""
        metric: Any = self.confusion[name]
        scores = segmentation_scores(metric.compute().cpu(), self.network_classes.there)  # summed over all processes
        metric.reset()
        values = {figure: getattr(scores, figure) for figure in ("miou", "mean_acc", "pixel_acc")}
        occurs = ~scores.iou.isnan()
        return values | {f"iou/{class_names[i]}": scores.iou[i] for i in range(len(class_names)) if occurs[i]}

    # -- checkpoints -------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the class names and the value that is ignored with the weights."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["ignore_index"] = self.ignore_index

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the class names and, where no data module tells it, the value that is ignored."""
        super().on_load_checkpoint(checkpoint)
        if getattr(self._trainer, "datamodule", None) is None:
            self.ignore_index = int(checkpoint.get("ignore_index", self.ignore_index))


def _stored_sizes(batch: dict[str, Tensor]) -> list[tuple[int, int]]:
    """Rows and columns of each image as it is stored."""
    return [(rows, columns) for rows, columns in batch.get("stored_size", batch["size"]).tolist()]


def complete_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch with label maps (N, H, W) as int64, and sizes of images that fill it; see ``Kind``."""
    if isinstance(mask := batch.get("mask"), Tensor):
        batch = {**batch, "mask": (mask[:, 0] if mask.ndim == 4 else mask).long()}
    if "image" in batch and "size" not in batch:
        image = batch["image"]
        batch = {**batch, "size": torch.tensor(image.shape[-2:], device=image.device).expand(len(image), 2)}
    return batch


def check_mask(mask: Any, task: Any) -> None:
    """Refuse label maps (N, H, W) whose numbers are no classes; see :class:`biformer_lit.kinds.Kind`."""
    require_class_numbers(mask, task.num_classes, task.ignore_index)
