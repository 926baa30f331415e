"""Which backend ``auto`` means: a table by device and type that ``scripts/bench_attention.py --retune true`` remakes.

Dense attention under a mask computes 1 / share times the products that routing needs, but in one large call without a
gather; so above some share of the map, ``dense_share``, it is the faster. Below, ``gather`` names the way to gather.
The rows of CPUs were measured (docs/benchmarks.md); those of GPUs were not, and name what is known to work.
"""

import json
from pathlib import Path
from typing import Any

import torch

from biformer_lit.ops.regions import RegionGrid

# Beyond so many keys a query the scores that gather_matmul writes out outweigh what it saves; gather_sdpa holds none.
MOST_KEYS_WRITTEN_OUT = 128


FILE = Path(__file__).with_suffix(".json")
TABLE: dict[str, Any] = json.loads(FILE.read_text())
"""``TABLE[device type][dtype]`` with ``gather`` and ``dense_share``; read once, at import, as compilers want it."""


def choose_backend(grid: RegionGrid, topk: int, device: torch.device, dtype: torch.dtype) -> str:
    """The backend that ``auto`` means.

    Never ``triton``, which has been tested under Triton's interpreter only and not been measured on a GPU: name it.

    Args:
        grid: How the map is cut.
        topk: Routed regions of each region.
        device: Where the queries are.
        dtype: Type of the queries.
    """
    row = TABLE.get(device.type, TABLE["cpu"])["bfloat16" if dtype.itemsize < 4 else "float32"]
    if topk >= row["dense_share"] * grid.count:
        return "masked_sdpa"
    if row["gather"] == "gather_matmul" and topk * grid.tokens > MOST_KEYS_WRITTEN_OUT:
        return "gather_sdpa"
    return str(row["gather"])
