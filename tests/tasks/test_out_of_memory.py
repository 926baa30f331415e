"""Images that do not fit the memory: one line with the remedy of the task."""

import pytest
import torch
from shapes import SMALL

from biformer_lit import ClassificationTask
from biformer_lit.callbacks.trial import failure_kind
from biformer_lit.detection.object_scores import find_objects
from biformer_lit.errors import MemoryShortageError
from biformer_lit.segmentation.inference import Inference, logits_by_size
from biformer_lit.tasks.memory_shortage import within_memory

SIZES = torch.tensor([[40, 60]])
IMAGES = torch.zeros(1, 3, 64, 64)
CPU = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 24320000000 bytes. Error code 12"
ERRORS = {
    "cpu": RuntimeError(f"[enforce fail at alloc_cpu.cpp:117] . {CPU} (Cannot allocate memory)"),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 22.65 GiB. GPU 0 has a total capacity of"),
    "python": MemoryError(),
    "mask": MemoryShortageError("24.3 GB of memory are needed for a mask; take backend auto (9.0 GB are free)"),
}  # fmt: skip


class Full(torch.nn.Module):
    stride = 32

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, *_):
        raise self.error


def looks(error):
    net = Full(error)
    task = ClassificationTask(SMALL, num_classes=2)
    task.net = net
    return {
        "segmentation": lambda: logits_by_size(Inference(), net, IMAGES, SIZES),
        "windows": lambda: logits_by_size(Inference(mode="slide", window=32, stride=32), net, IMAGES, SIZES),
        "detection": lambda: find_objects(net, IMAGES, SIZES, SIZES),
        "classification": lambda: task.predict_step({"image": IMAGES, "index": torch.tensor([0])}, 0),
    }


REMEDIES = {
    "segmentation": "set model.init_args.inference.mode: slide, which looks at windows of 512 x 512 pixels",
    "windows": "set a smaller model.init_args.inference.window",
    "detection": "set a smaller data.init_args.image_size, max_size or eval_batch_size, or cut the images into tiles",
    "classification": "set a smaller data.init_args.image_size or eval_batch_size",
}


@pytest.mark.parametrize("task", REMEDIES)
@pytest.mark.parametrize("kind", ERRORS)
def test_the_memory_does_not_suffice(task, kind):
    with pytest.raises(MemoryShortageError) as caught:
        looks(ERRORS[kind])[task]()
    message = str(caught.value)
    size = {"segmentation": "40 x 60", "windows": "40 x 60", "detection": "64 x 64", "classification": "64 x 64"}[task]
    assert message.startswith(f"1 image of {size} pixels: ")
    assert REMEDIES[task] in message
    assert "\n" not in message
    told = {"cpu": "(24.3 GB in one piece)", "cuda": "(24.3 GB in one piece)", "python": "does not suffice; "}
    assert (
        told.get(kind, "24.3 GB of memory are needed for a mask; take backend auto (9.0 GB are free); or ") in message
    )
    assert failure_kind(caught.value) == "oom"


def test_other_errors_stay_what_they_are():
    for error in (RuntimeError("shapes cannot be multiplied"), KeyError("x"), ValueError("out of memory")):
        with pytest.raises(type(error)) as caught, within_memory((1, 2, 3), "do less"):
            raise error
        assert caught.value is error
