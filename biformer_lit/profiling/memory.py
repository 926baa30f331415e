"""Activation memory: what a forward of a training step leaves behind for the backward."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from biformer_lit.backbone import Backbone
from biformer_lit.seams.torch_seams import FakeTensorMode, storage_key


def activation_memory(
    backbone: Backbone, num_classes: int = 1000, size: tuple[int, int] = (224, 224), device: str = "cpu"
) -> dict[str, int]:
    """Activation memory of a training step on one image, by part, counted without computing anything.

    That is the bytes of the distinct storages that autograd saves for the backward in the forward, in float32 and with
    the backend that runs (``auto``, unless the settings name another). Parameters and buffers are left out; what
    several layers save is counted once, for the first of them. It grows in proportion to the batch but for masks that
    all images share. The loss, gradients, and what a kernel needs only while it runs are not in it.

    Args:
        backbone: The network.
        num_classes: Outputs of the classifier.
        size: Height and width of the image in pixels.
        device: Where the step would run, ``cpu`` or ``cuda``: kernels differ in what they save. A GPU has to be there.

    Returns:
        Bytes saved by ``stem``, ``stage 1`` and so on, and ``head`` (with the last normalisation).

    Raises:
        ConfigError: If the image is too small for the network.
    """
    with torch.device("meta"):
        net = backbone.build(num_classes).train()
    with FakeTensorMode(allow_non_fake_inputs=True):  # tensors of shape and device without contents
        net = net.to_empty(device=device)
        return saved_bytes(net, torch.empty(1, backbone.in_chans, *size, device=device))


def saved_bytes(net: nn.Module, image: Tensor) -> dict[str, int]:
    """Bytes of the distinct storages that autograd saves in one forward of a BiFormer, by part.

    Args:
        net: The network, in the mode (training or not) that is meant.
        image: Images (N, in_chans, H, W), real or fake.

    Returns:
        Bytes by part, as from :func:`activation_memory`.
    """
    stages: Any = net.stages
    starts: dict[str, Any] = {
        "stem": net.stem,
        **{f"stage {i}": stage for i, stage in enumerate(stages, 1)},
        "head": net.norm,
    }
    known = {storage_key(tensor) for tensor in (*net.parameters(), *net.buffers())}
    saved: dict[int, tuple[str, torch.UntypedStorage]] = {}  # the storages are kept, so that no address comes twice
    with _following(starts) as part:

        def save(tensor: Tensor) -> None:
            if (key := storage_key(tensor)) not in known:
                saved.setdefault(key, (part(), tensor.untyped_storage()))

        with torch.autograd.graph.saved_tensors_hooks(save, _no_backward):
            net(image)
    sums = dict.fromkeys(starts, 0)
    for name, storage in saved.values():
        sums[name] += storage.nbytes()
    return sums


@contextmanager
def _following(starts: dict[str, nn.Module]) -> Iterator[Callable[[], str]]:
    """A function that tells which part the forward has come to."""
    current = next(iter(starts))

    def enter(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            nonlocal current
            current = name

        return hook

    handles = [module.register_forward_pre_hook(enter(name)) for name, module in starts.items()]
    try:
        yield lambda: current
    finally:
        for handle in handles:
            handle.remove()


def _no_backward(_: None) -> Tensor:
    raise RuntimeError("this forward is for counting, and has no backward")
