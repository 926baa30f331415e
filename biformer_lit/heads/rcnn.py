"""Faster R-CNN and Mask R-CNN: regions are proposed, then classified, refined and masked one by one."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from biformer_lit.heads.detector_settings import DetectorSettings
from biformer_lit.heads.head_layers import ASPECT_RATIOS, NoBackbone, give_float32

_BOX_CELLS, _MASK_CELLS = 7, 14  # per side of what is cut out of the levels for a region
_LAYERS = 4  # of the mask head
_PROPOSALS = 1000  # that are kept


class RegionHead(nn.Module):
    """Proposals and heads of torchvision's Faster R-CNN or Mask R-CNN, without backbone and transform of the images.

    As in the released configurations, 1,000 proposals are kept in training too.

    Args:
        settings: Widths and thresholds.
        num_classes: Number of classes, without a background.
        sides: Side of the square anchor of each level in pixels; there are three shapes.
        names: Names of the levels that regions are cut out of.
        norm: Makes the normalisation of a map of so many channels, or None.
        masks: Whether masks are learnt and predicted, as in Mask R-CNN.
    """

    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        "rpn.": (),
        "roi_heads.": ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits."),
    }

    def __init__(
        self,
        settings: DetectorSettings,
        num_classes: int,
        sides: list[float],
        names: list[str],
        norm: Callable[[int], nn.Module] | None,
        *,
        masks: bool = False,
    ) -> None:
        super().__init__()
        channels = settings.channels
        classes, width = num_classes + 1, 4 * channels  # torchvision's class 0 is the background
        anchors = AnchorGenerator(tuple((side,) for side in sides), (ASPECT_RATIOS,) * len(sides))
        options: dict[str, Any] = {
            "rpn_anchor_generator": anchors,
            "rpn_head": RPNHead(channels, anchors.num_anchors_per_location()[0]),
            "rpn_post_nms_top_n_train": _PROPOSALS,
            "box_roi_pool": MultiScaleRoIAlign(names, _BOX_CELLS, sampling_ratio=2),
            "box_head": TwoMLPHead(channels * _BOX_CELLS**2, width),
            "box_predictor": FastRCNNPredictor(width, classes),
            "box_score_thresh": settings.score_threshold,
            "box_nms_thresh": settings.nms_threshold,
            "box_detections_per_img": settings.detections_per_image,
        }
        if masks:
            options["mask_roi_pool"] = MultiScaleRoIAlign(names, _MASK_CELLS, sampling_ratio=2)
            options["mask_head"] = MaskRCNNHeads(channels, (channels,) * _LAYERS, 1, norm)
            options["mask_predictor"] = MaskRCNNPredictor(channels, channels, classes)
        model = (MaskRCNN if masks else FasterRCNN)(NoBackbone(channels), **options)
        self.rpn, self.roi_heads = model.rpn, model.roi_heads
        for part in (self.rpn.head, self.roi_heads.box_predictor, *([self.roi_heads.mask_predictor] if masks else ())):
            give_float32(part)

    def forward(
        self, levels: "OrderedDict[str, Tensor]", images: ImageList, targets: list[dict[str, Tensor]] | None = None
    ) -> Any:
        """Losses in training, else objects; see :class:`biformer_lit.heads.Detector`."""
        if targets is not None:
            targets = [{**target, "labels": target["labels"] + 1} for target in targets]
        proposals, losses = self.rpn(images, levels, targets)
        found, more = self.roi_heads(levels, proposals, images.image_sizes, targets)
        if self.training:
            return losses | more
        return [{**objects, "labels": objects["labels"] - 1} for objects in found]

    def predict_for_counting(self, maps: list[Tensor]) -> None:
        """Compute a prediction with 1,000 proposals, and with masks for as many objects as are kept at most."""
        self.rpn.head(maps)
        heads, channels = self.roi_heads, maps[0].shape[1]

        def regions(count: int, pool: Any) -> Tensor:
            return maps[0].new_empty(count, channels, *pool.output_size)

        heads.box_predictor(heads.box_head(regions(_PROPOSALS, heads.box_roi_pool)))
        if heads.has_mask():
            heads.mask_predictor(heads.mask_head(regions(heads.detections_per_img, heads.mask_roi_pool)))

    def get_classifier(self) -> nn.Module:
        """The layers to classes, boxes and masks."""
        heads = self.roi_heads
        masks = [heads.mask_predictor] if heads.has_mask() else []
        return nn.ModuleList([heads.box_predictor, *masks])
