"""Peak throughput of a device, to compare measured times with."""

from dataclasses import dataclass

import torch

from biformer_lit.benchmark.turns import seconds_of


@dataclass(frozen=True)
class Roofline:
    """Measured peak throughput of a device.

    Attributes:
        matmul: Multiply-adds per second of a large matrix product.
        copy: Bytes per second of a large copy, read and written both counted.
    """

    matmul: float
    copy: float


def measure_roofline(device: torch.device, dtype: torch.dtype, *, size: int | None = None) -> Roofline:
    """Measure the peak of matrix products and of copies.

    Args:
        device: Which one.
        dtype: Type of the products' factors.
        size: Side of the square factors; by default 1024 on a CPU and 8192 on a GPU.
    """
    size = size or (8192 if device.type == "cuda" else 1024)
    a = torch.randn(size, size, device=device, dtype=dtype)
    source = torch.empty(64 * 2**20 * (8 if device.type == "cuda" else 1), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    products, copies = [], []
    for _ in range(5):
        products.append(seconds_of(lambda: a @ a, 3, device))
        copies.append(seconds_of(lambda: target.copy_(source), 3, device))
    return Roofline(size**3 / min(products), 2 * source.numel() / min(copies))
