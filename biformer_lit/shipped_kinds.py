"""The kinds of task that come with the package, a row for each; importing this makes them known.

A config names their classes without a module, and finds those that have been imported.
"""

import sys

from biformer_lit.classification import classification_data, classification_task
from biformer_lit.classification.class_table import open_class_table
from biformer_lit.detection import detection_data, detection_task
from biformer_lit.detection.detection_panels import DetectionPanels
from biformer_lit.detection.object_files import open_object_files
from biformer_lit.kinds import KINDS, Kind
from biformer_lit.segmentation import segmentation_data, segmentation_task
from biformer_lit.segmentation.map_files import open_map_files
from biformer_lit.segmentation.segmentation_panels import SegmentationPanels

KINDS.register(
    "classification",
    Kind(
        task=classification_task.ClassificationTask,
        data=classification_data.ClassificationDataModule,
        teaches="classes of images",
        target="label",
        check_target=classification_task.check_labels,
        predictions="predictions.csv",
        files=open_class_table,
        confusion=True,
    ),
)
KINDS.register(
    "segmentation",
    Kind(
        task=segmentation_task.SegmentationTask,
        data=segmentation_data.SegmentationDataModule,
        teaches="classes of pixels",
        target="mask",
        complete=segmentation_task.complete_batch,
        check_target=segmentation_task.check_mask,
        files=open_map_files,
        panels=SegmentationPanels,
        confusion=True,
        background=True,
    ),
)
KINDS.register(
    "detection",
    Kind(
        task=detection_task.DetectionTask,
        data=detection_data.DetectionDataModule,
        teaches="objects",
        target="objects",
        pairs=False,
        check_target=detection_task.check_objects,
        files=open_object_files,
        panels=DetectionPanels,
    ),
)

# as they were called in version 0.1, by which configs and scripts may name them
for _old, _module in {
    "tasks.classification": classification_task,
    "tasks.segmentation": segmentation_task,
    "tasks.detection": detection_task,
    "data.classification": classification_data,
    "data.segmentation": segmentation_data,
    "data.detection": detection_data,
}.items():
    sys.modules.setdefault(f"biformer_lit.{_old}", _module)
