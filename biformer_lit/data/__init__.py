"""Data: from Hugging Face data sets to batches."""

from typing import TYPE_CHECKING

from biformer_lit.facade import offer

if TYPE_CHECKING:
    from biformer_lit.classification.classification_data import ClassificationDataModule
    from biformer_lit.classification.image_augmentation import Augmentation
    from biformer_lit.data.data_module import HFDataModule
    from biformer_lit.data.embedded.scenes import Scenes
    from biformer_lit.data.named_sets import register_dataset
    from biformer_lit.data.preprocessing import image_transform
    from biformer_lit.detection.box_augmentation import DetectionAugmentation
    from biformer_lit.detection.detection_data import DetectionDataModule
    from biformer_lit.segmentation.mask_augmentation import SegmentationAugmentation
    from biformer_lit.segmentation.segmentation_data import SegmentationDataModule

__all__ = [
    "Augmentation",
    "ClassificationDataModule",
    "DetectionAugmentation",
    "DetectionDataModule",
    "HFDataModule",
    "Scenes",
    "SegmentationAugmentation",
    "SegmentationDataModule",
    "image_transform",
    "register_dataset",
]

__getattr__, __dir__ = offer(
    __name__,
    {
        "Augmentation": "biformer_lit.classification.image_augmentation",
        "ClassificationDataModule": "biformer_lit.classification.classification_data",
        "DetectionAugmentation": "biformer_lit.detection.box_augmentation",
        "DetectionDataModule": "biformer_lit.detection.detection_data",
        "HFDataModule": "biformer_lit.data.data_module",
        "Scenes": "biformer_lit.data.embedded.scenes",
        "SegmentationAugmentation": "biformer_lit.segmentation.mask_augmentation",
        "SegmentationDataModule": "biformer_lit.segmentation.segmentation_data",
        "image_transform": "biformer_lit.data.preprocessing",
        "register_dataset": "biformer_lit.data.named_sets",
    },
)
