"""The kinds of task that come with the package; importing this makes all of them known.

A config names their classes without a module, and finds those that have been imported.
"""

import sys

from biformer_lit.classification import classification_data, classification_task
from biformer_lit.detection import detection_data, detection_task
from biformer_lit.segmentation import segmentation_data, segmentation_task

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
