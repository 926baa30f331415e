"""Private parts of PyTorch. Seen in PyTorch 2.14.1."""

from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

__all__ = ["FakeTensor", "FakeTensorMode", "tree_map_only"]


def is_batch_norm(module: nn.Module) -> bool:
    """Return whether a module is a BatchNorm of any kind, whose common base is private."""
    return isinstance(module, _BatchNorm)


def child_names(module: nn.Module) -> list[str]:
    """Return the names of a module's direct children in order, also of those that are None."""
    return list(module._modules)


def write_count(parameter: Tensor) -> int:
    """Return how often a tensor was written to in place, which PyTorch counts for autograd."""
    return 0 if parameter.is_inference() else int(parameter._version)


def storage_key(tensor: Tensor) -> int:
    """Return a number that tensors share if and only if they share memory, also where they have none to point at."""
    return int(tensor.untyped_storage()._cdata)


def unscale_before_clipping(optimizer: Optimizer) -> None:
    """Keep a fused optimiser from taking the scale of 16-bit gradients out of them itself, after they were clipped.

    See https://github.com/Lightning-AI/pytorch-lightning/issues/15501.
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]


def lerp_all(tensors: list[Tensor], others: list[Tensor], weight: float) -> None:
    """Move tensors towards others in place, all in one kernel."""
    torch._foreach_lerp_(tensors, others, weight)


def copy_all(tensors: list[Tensor], others: list[Tensor]) -> None:
    """Copy others into tensors, all in one kernel."""
    torch._foreach_copy_(tensors, others)


def end_workers(loader: Any) -> None:
    """End the workers of a ``DataLoader`` now, not when whoever holds its iterator is collected."""
    iterator = loader._iterator
    loader._iterator = None
    if hasattr(iterator, "_shutdown_workers"):  # none without workers
        iterator._shutdown_workers()
