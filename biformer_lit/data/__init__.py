"""Data: from Hugging Face data sets to batches."""

from biformer_lit.data.base import HFDataModule
from biformer_lit.data.box_transforms import DetectionAugmentation
from biformer_lit.data.classification import ClassificationDataModule
from biformer_lit.data.detection import DetectionDataModule
from biformer_lit.data.mask_transforms import SegmentationAugmentation
from biformer_lit.data.preprocessing import image_transform
from biformer_lit.data.scenes import Scenes
from biformer_lit.data.segmentation import SegmentationDataModule
from biformer_lit.data.transforms import Augmentation

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
]
