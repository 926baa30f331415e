"""RetinaNet: classes and boxes for anchors on every level at once."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead

from biformer_lit.heads.detector_settings import DetectorSettings
from biformer_lit.heads.head_layers import ASPECT_RATIOS, NoBackbone, give_float32

_OCTAVES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))


class AnchorHead(RetinaNet):  # type: ignore[misc]  # torchvision has no types
    """torchvision's RetinaNet without its backbone and its transform of the images.

    Args:
        settings: Widths and thresholds.
        num_classes: Number of classes.
        sides: Side of the smallest square anchor of each level in pixels; there are two more, larger by the third
            root of two each, and each of the three has three shapes.
        names: Names of the levels that are stages, of no use here.
        norm: Makes the normalisation of a map of so many channels, or None.
    """

    parts: ClassVar[dict[str, tuple[str, ...]]] = {"head.": ("head.classification_head.cls_logits.",)}

    def __init__(
        self,
        settings: DetectorSettings,
        num_classes: int,
        sides: list[float],
        names: list[str],
        norm: Callable[[int], nn.Module] | None,
    ) -> None:
        sizes = tuple(tuple(side * octave for octave in _OCTAVES) for side in sides)
        anchors = AnchorGenerator(sizes, (ASPECT_RATIOS,) * len(sizes))
        head = RetinaNetHead(settings.channels, anchors.num_anchors_per_location()[0], num_classes, norm)
        super().__init__(
            NoBackbone(settings.channels),
            num_classes,
            anchor_generator=anchors,
            head=head,
            score_thresh=settings.score_threshold,
            nms_thresh=settings.nms_threshold,
            detections_per_img=settings.detections_per_image,
        )
        give_float32(head)

    def forward(
        self, levels: "OrderedDict[str, Tensor]", images: ImageList, targets: list[dict[str, Tensor]] | None = None
    ) -> Any:
        """Losses in training, else objects; see :class:`biformer_lit.heads.Detector`."""
        maps = list(levels.values())
        outputs = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        if self.training:
            losses = self.compute_loss(targets, outputs, anchors)
            return {"loss_classifier": losses["classification"], "loss_box_reg": losses["bbox_regression"]}
        per_place = self.anchor_generator.num_anchors_per_location()[0]
        counts = [x.shape[-2] * x.shape[-1] * per_place for x in maps]
        by_level = {name: list(x.split(counts, 1)) for name, x in outputs.items()}
        return self.postprocess_detections(by_level, [list(x.split(counts)) for x in anchors], images.image_sizes)

    def predict_for_counting(self, maps: list[Tensor]) -> None:
        """Compute what does not depend on the images, which is all but the choice among the anchors."""
        self.head(maps)

    def get_classifier(self) -> nn.Module:
        """The convolution to classes."""
        last: nn.Module = self.head.classification_head.cls_logits
        return last
