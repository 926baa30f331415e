"""Object detection and instance segmentation."""

import contextlib
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from biformer_lit.backbone import Backbone
from biformer_lit.checkpoints.saved_weights import Copy
from biformer_lit.dense.dense_task import DenseTask
from biformer_lit.detection.object_scores import ObjectScores, find_objects
from biformer_lit.errors import ConfigError, DataError
from biformer_lit.heads import DETECTION_HEADS, Detector, DetectorSettings, build_detector
from biformer_lit.tasks.batches import is_empty, require_class_numbers
from biformer_lit.tasks.compile_options import Compilation
from biformer_lit.tasks.optim import Optimization
from biformer_lit.tasks.template import identifiers


class DetectionTask(DenseTask):
    """Find objects: a class, a box and, with ``mask_rcnn``, a mask for each.

    Batches are ``{"image": (N, C, H, W), "size": (N, 2), "stored_size": (N, 2), "index": (N,), "objects": [...]}`` as
    :class:`biformer_lit.data.DetectionDataModule` makes them: ``size`` is each image's height and width, what lies
    beyond is padding; ``objects`` has for each image ``boxes`` (n, 4), left, top, right and bottom, ``labels`` (n,)
    and, if needed, ``masks`` (n, h, w), in training in pixels of the image, in evaluation of the stored image, there
    also ``area`` (n,) and ``crowd`` (n,). Images are neither normalised nor resized here.

    Logs ``train/loss`` and its parts, and after an epoch COCO's figures over the whole set, for boxes ``val/map``
    (average precision, averaged over the classes and IoU 0.50 to 0.95), ``val/map_50``, ``val/map_75``,
    ``val/map_small``, ``val/map_medium``, ``val/map_large``, ``val/mar_1``, ``val/mar_10``, ``val/mar_100``,
    ``val/ap/<class name>``, and the same for masks: ``val/mask_map`` and so on. What has nothing to be measured on is
    not logged. There is no validation loss: torchvision's detectors compute losses or objects.

    Args:
        backbone: The variant and what is to differ from it.
        num_classes: Number of classes, without a background; None takes the data set's.
        weights: File of weights to start from or to evaluate: a classifier's for the backbone, or a whole network's;
            see :func:`biformer_lit.heads.load_dense_weights`.
        weights_copy: Which weights where the file holds both: raw or average.
        optim: The optimiser and its schedule.
        head: retinanet, faster_rcnn, or mask_rcnn, which also predicts masks.
        head_channels: Channels of the pyramid and of the heads.
        head_norm: Normalisation in pyramid and heads: none (released), or group, which helps without pretrained
            weights.
        anchor_scale: Side of each level's smallest square anchor in strides of the level; None takes 4 for retinanet,
            else 8.
        score_threshold: Least score of a prediction.
        nms_threshold: Of a class' predictions that overlap by more than this IoU the best is kept.
        detections_per_image: Most predictions for an image; COCO's figures count the best 100.
        frozen_batch_norm: Keep the running statistics of the backbone's BatchNorm, as released; for pretrained weights.
        timm_backbone: Name of a model of timm's to take instead of backbone, untrained, for comparisons; of backbone,
            in_chans and drop_path_rate stay in force.
        compile: Compile backbone and pyramid; see :class:`BiFormerTask`. Images of many sizes need ``dynamic``.
        grad_checkpointing: Recompute each block of the backbone in the backward pass.

    Raises:
        ConfigError: On a setting that cannot work.
    """

    monitor: ClassVar[str] = "val/map"
    mode: ClassVar[Literal["min", "max"]] = "max"
    kind: ClassVar[str] = "detection"
    net: Detector
    head_settings: DetectorSettings
    scores: nn.ModuleDict

    def __init__(
        self,
        backbone: Backbone = Backbone(),  # noqa: B008 (frozen)
        num_classes: int | None = None,
        weights: str | None = None,
        weights_copy: Copy | None = None,
        optim: Optimization = Optimization(),  # noqa: B008 (frozen)
        head: Literal["retinanet", "faster_rcnn", "mask_rcnn"] = "retinanet",
        head_channels: int = 256,
        head_norm: Literal["none", "group"] = "none",
        anchor_scale: float | None = None,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        detections_per_image: int = 100,
        frozen_batch_norm: bool = False,
        timm_backbone: str | None = None,
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
        self.head_settings = DetectorSettings(
            head=head,
            channels=head_channels,
            norm=head_norm,
            anchor_scale=anchor_scale,
            score_threshold=score_threshold,
            nms_threshold=nms_threshold,
            detections_per_image=detections_per_image,
            frozen_batch_norm=frozen_batch_norm,
        )
        self.save_settings()
        self.timm_backbone = timm_backbone
        self.category_ids: list[int] = []

    @property
    def needs_masks(self) -> bool:
        """True if the data needs a mask for each object."""
        return DETECTION_HEADS[self.head_settings.head].masks

    # -- building ----------------------------------------------------------------------------------------

    def build_net(self, num_classes: int) -> nn.Module:
        """The backbone with its added norms, pyramid and head."""
        return build_detector(self.backbone, num_classes, self.head_settings, self.timm_backbone)

    def build_metrics(self, num_classes: int) -> None:
        """Scores of validation and of tests; the data set's own numbers of the classes are known now."""
        data = getattr(self._trainer, "datamodule", None) if self._trainer is not None else None
        with contextlib.suppress(ConfigError):  # images without labels can still be predicted
            numbers, own = list(getattr(data, "class_numbers", [])), list(getattr(data, "category_ids", []))
            if sorted(numbers) == list(range(num_classes)):
                self.category_ids = [own[numbers.index(number)] for number in range(num_classes)]
        self.scores = nn.ModuleDict({name: ObjectScores(self.needs_masks) for name in ("val", "test")})

    def check_data_module(self) -> None:
        """Refuse the data module of another task, and have masks read if the head learns them.

        Raises:
            ConfigError: If it is of another task, or is told to read none.
        """
        super().check_data_module()
        data = getattr(self.trainer, "datamodule", None)
        if self.needs_masks and getattr(data, "masks", None) is False:
            raise ConfigError(
                f"data.init_args.masks=False, but head={self.head_settings.head!r} learns masks; set it to true or null"
            )
        tell = getattr(data, "need_masks", None)
        if tell is not None:
            tell(self.needs_masks)

    def setup(self, stage: str) -> None:
        """Agree with the data module, and refuse a precision in which boxes are rounded.

        Raises:
            ConfigError: On either.
        """
        super().setup(stage)
        if self.trainer.precision in ("bf16-true", "16-true"):
            raise ConfigError(
                f"trainer.precision={self.trainer.precision} would round boxes, beyond 256 pixels to even numbers or "
                f"worse; use {self.trainer.precision.replace('true', 'mixed')}"
            )

    # -- steps -------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        """Loss of one batch: the sum of the parts that the head names."""
        if self.left_out(batch):
            return None
        self._require_masks(batch)
        sizes = [(height, width) for height, width in batch["size"].tolist()]
        losses: Any = self.net(batch["image"], sizes, batch["objects"])
        for name, value in losses.items():
            self.log(f"train/{name}", value, batch_size=len(sizes))
        loss: Tensor = torch.stack(list(losses.values())).sum()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(sizes))
        return loss

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return what identifies the images, and for each the result of :func:`.object_scores.find_objects`."""
        if is_empty(batch):
            return {**identifiers(batch), "objects": []}
        found = find_objects(self.net, batch["image"], batch["size"], batch["stored_size"])
        return {**identifiers(batch), "objects": found}

    def evaluate(self, batch: dict[str, Any], name: str) -> dict[str, Any]:
        """Score a batch; returns what :meth:`predict_step` does."""
        if is_empty(batch):
            return {**identifiers(batch), "objects": []}
        self._require_masks(batch)
        found = self.predict_step(batch, 0)
        scores: Any = self.scores[name]
        scores.update(batch, found["objects"])
        return found

    def whole_set_scores(self, name: str, class_names: list[str]) -> dict[str, Tensor]:
        """COCO's figures; see :meth:`biformer_lit.detection.object_scores.ObjectScores.compute`."""
        scores: Any = self.scores[name]
        values: dict[str, Tensor] = scores.compute(class_names)
        return values

    def _require_masks(self, batch: dict[str, Any]) -> None:
        if self.needs_masks and "masks" not in batch["objects"][0]:  # of a loader of others
            raise DataError(
                f"the objects of a batch have no 'masks' (they have {', '.join(batch['objects'][0])}), but "
                f"head={self.head_settings.head!r} learns masks; have the loader give them"
            )

    # -- checkpoints -------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the data set's own numbers of the classes with the weights, for the files of ``predict``."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["category_ids"] = self.category_ids

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore them, unless they do not fit the classes."""
        super().on_load_checkpoint(checkpoint)
        stored = checkpoint.get("category_ids", [])
        whole = isinstance(stored, list) and all(type(number) is int for number in stored)
        self.category_ids = list(stored) if whole and len(stored) == self.num_classes else []


def check_objects(objects: Any, task: Any) -> None:
    """Refuse objects whose labels are no classes; see :class:`biformer_lit.kinds.Kind`."""
    for one in objects:
        if one is not None:
            require_class_numbers(one.get("labels"), task.num_classes)
