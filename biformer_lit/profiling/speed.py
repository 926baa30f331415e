"""Speed and peak memory of a network, measured here."""

import statistics
import time
from dataclasses import dataclass

import torch
from torch import nn

from biformer_lit.common.devices import peak_memory, restart_peak


@dataclass(frozen=True)
class Speed:
    """Measured speed of a network.

    Attributes:
        images_per_second: Median over the repetitions.
        slowest: Of the repetitions, in images per second.
        fastest: Likewise.
        memory: Peak of the device's memory over what the network itself takes, in bytes; on a CPU that of the
            process.
    """

    images_per_second: float
    slowest: float
    fastest: float
    memory: int


def measure_speed(
    net: nn.Module, image: torch.Tensor, *, train: bool = False, repetitions: int = 7, seconds: float = 0.5
) -> Speed:
    """Time a network on a batch, after a warm-up.

    Args:
        net: The network, on its device.
        image: A batch (N, C, H, W) on the same device.
        train: Time forward and backward rather than the forward of inference.
        repetitions: Timings, of which the median counts.
        seconds: Least length of one timing.
    """
    cuda = image.device.type == "cuda"
    net.train(train)

    def step() -> None:
        with torch.set_grad_enabled(train):
            out = net(image)
            if train:
                out.sum().backward()
                net.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize()

    before = restart_peak(image.device)
    started = time.perf_counter()
    step()
    step()
    steps = max(1, round(seconds / ((time.perf_counter() - started) / 2)))
    rates = []
    for _ in range(repetitions):
        started = time.perf_counter()
        for _ in range(steps):
            step()
        rates.append(steps * len(image) / (time.perf_counter() - started))
    memory = max(0, peak_memory(image.device) - before)
    return Speed(statistics.median(rates), min(rates), max(rates), memory)
