"""Backend for ``auto``: a table by device and data type, written by ``scripts/bench_attention.py --retune true``.

Dense attention under a mask computes 1 / share times the products that routing needs, but in one large call without a
gather; so above some share of the map, ``dense_share``, it is the faster, in the way that ``dense`` names. Below,
``gather`` names the way to gather. On maps whose mask would not fit the memory of most machines it is always that.
The rows of CPUs were measured (docs/benchmarks.md); those of GPUs were not, and name what is known to work.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch

from biformer_lit.ops.regions import RegionGrid

# Beyond so many keys a query the scores that a backend writes out outweigh what it saves; fused attention holds none.
# Gathering pays for the copies of its keys besides.
MOST_KEYS_WRITTEN_OUT = {"gather_matmul": 128, "masked_matmul": 256}

MOST_MASK_BYTES = 2**28
"""Of the mask of one image, with a number for each pair of its tokens, beyond which nothing is dense: 8,192 tokens in
float32, such as the third stage's of 1,024 x 2,048 pixels. The bound is one number for all machines, so that all
compute the same."""

FILE = Path(__file__).with_suffix(".json")
TABLE: dict[str, Any] = json.loads(FILE.read_text())
"""``TABLE[device type][dtype]`` with ``gather``, ``dense`` and ``dense_share``; read at import, for compilers."""


def choose_backend(
    grid: RegionGrid, topk: int, device: torch.device, dtype: torch.dtype, *, biased: bool = False
) -> str:
    """The backend that ``auto`` means.

    Never ``triton``, which has been tested under Triton's interpreter only and not been measured on a GPU: name it.

    Args:
        grid: How the map is cut.
        topk: Routed regions of each region.
        device: Where the queries are.
        dtype: Type of the queries.
        biased: Whether something is added to the scores.
    """
    row = TABLE.get(device.type, TABLE["cpu"])["bfloat16" if dtype.itemsize < 4 else "float32"]
    masked = topk < grid.count or biased
    fits = not masked or (grid.height * grid.width) ** 2 * dtype.itemsize <= MOST_MASK_BYTES
    way = "dense" if topk >= row["dense_share"] * grid.count and fits else "gather"
    return within_reach(row[way], grid, topk)


def keys_seen(backend: str, grid: RegionGrid, topk: int) -> int:
    """Keys that a query meets in this backend: those of its routed regions, or of the map where it is dense."""
    return grid.height * grid.width if backend.startswith("masked") else topk * grid.tokens


def within_reach(backend: str, grid: RegionGrid, topk: int) -> str:
    """The backend itself, or its fused sibling where it would write too many scores out."""
    if keys_seen(backend, grid, topk) > MOST_KEYS_WRITTEN_OUT.get(backend, math.inf):
        return backend.replace("matmul", "sdpa")
    return backend
