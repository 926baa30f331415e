"""BatchNorm over the images of all processes, on the CPU too."""

from typing import Any

import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import Tensor, distributed, nn


class SyncBatchNorm(TorchSyncBatchNorm):
    """Lightning's plug-in behind ``trainer.sync_batchnorm: true``, which works on the CPU as well.

    On a GPU the layers become PyTorch's ``nn.SyncBatchNorm``, which refuses tensors of the CPU; there they become
    :class:`CPUSyncBatchNorm2d`. The command line puts it in place of Lightning's own.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the BatchNorms of ``model``, whose weights are where training will be."""
        if all(parameter.device.type == "cpu" for parameter in model.parameters()):
            _replace(model, nn.BatchNorm2d, CPUSyncBatchNorm2d)
            return model
        return super().apply(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Put ordinary BatchNorms back, with what they have learned."""
        _replace(model, CPUSyncBatchNorm2d, nn.BatchNorm2d)
        return super().revert(model)


class CPUSyncBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` with the mean and the variance of the images of all processes; for the CPU.

    Two exchanges in a forward pass, the second for the squares of what is left without the mean, which loses fewer
    digits than the sum of squares, and as many backward. The processes may have different numbers of images. It is no
    ``nn.SyncBatchNorm``, for ``DistributedDataParallel`` refuses these on the CPU.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Normalise a map (N, C, H, W)."""
        if not self.training or not distributed.is_initialized():
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))  # as BatchNorm's own kernels do
        count = _sum_over_processes(x.new_tensor([x.numel() // x.shape[1]]))
        mean = _sum_over_processes(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self._remember(mean, variance * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        normal = centred * scale[:, None, None]
        if self.bias is not None:
            normal = normal + self.bias[:, None, None]
        return normal.to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Bring the running statistics up to date."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def is_synchronised(net: nn.Module) -> bool:
    """Return whether BatchNorms of ``net`` see the images of all processes."""
    return any(isinstance(module, nn.SyncBatchNorm | CPUSyncBatchNorm2d) for module in net.modules())


class _Sum(torch.autograd.Function):
    """Sum over the processes; the gradient of each one's part is the sum of all the gradients of the sum."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:  # noqa: ARG004 (the contract of autograd)
        return _summed(mine)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:  # noqa: ARG004
        return _summed(gradient[0])


def _summed(mine: Tensor) -> Tensor:
    total = mine.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


def _sum_over_processes(mine: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(mine)
    return total


def _replace(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> None:
    """Make layers of one class of another in place: they hold the same, and all references to them stay valid."""
    for module in model.modules():
        if type(module) is old:
            module.__class__ = new
