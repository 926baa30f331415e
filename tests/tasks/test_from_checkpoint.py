"""What a checkpoint decides, and what it does not."""

import inspect
from dataclasses import fields

import pytest

from biformer_lit import Backbone, ClassificationTask, DetectionTask, SegmentationTask
from biformer_lit.tasks import Optimization
from biformer_lit.tasks.from_checkpoint import EVALUATION, MACHINE, NETWORK, TRAINING, left_settings, taken_settings

ROWS = {"network": NETWORK, "training": TRAINING, "evaluation": EVALUATION, "machine": MACHINE}


@pytest.mark.parametrize("task", [ClassificationTask, SegmentationTask, DetectionTask])
def test_every_setting_of_a_task_is_in_one_row(task):
    for name in inspect.signature(task).parameters:
        assert len([row for row, names in ROWS.items() if name in names]) == 1, name


def test_the_table_names_nothing_that_is_not_there():
    arguments = {name for task in (ClassificationTask, SegmentationTask, DetectionTask) for name in vars_of(task)}
    groups = {"backbone": Backbone, "optim": Optimization}
    arguments |= {f"{group}.{field.name}" for group, kind in groups.items() for field in fields(kind)}
    assert {name for names in ROWS.values() for name in names} <= arguments


def vars_of(task):
    return inspect.signature(task).parameters


def test_what_changes_no_weight_is_not_taken():
    given = {
        "_class_path": "biformer_lit.SegmentationTask",
        "_instantiator": "os.system",
        "num_classes": 3,
        "backbone": {"name": "biformer_tiny", "backend": "triton", "topk": 2},
        "optim": {"lr": 0.1, "fused": False, "on_bad_loss": "skip"},
        "inference": {"mode": "slide"},
        "weights": "/etc/passwd",
        "compile": {"options": {"cpp.cxx": [None, "/bin/false"]}},
    }
    taken = taken_settings(given)
    assert taken == {
        "num_classes": 3,
        "backbone": {"name": "biformer_tiny", "topk": 2},
        "optim": {"lr": 0.1},
    }
    assert taken_settings(given, evaluation=True) == taken | {"inference": {"mode": "slide"}}
    assert left_settings(given) == {"inference": {"mode": "slide"}}


def test_text_of_settings_of_somebody_s_own_is_not_taken():
    """It may name a file or code."""
    given = {"width": 8, "rates": [0.5, 0.25], "teacher": "http://x/y.ckpt", "sources": {"a": ["b"]}}
    assert taken_settings(given) == {"width": 8, "rates": [0.5, 0.25]}
    assert left_settings(given) == {"teacher": "http://x/y.ckpt", "sources": {"a": ["b"]}}
