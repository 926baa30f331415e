"""Remake the table by which ``auto`` chooses the backend of routed attention, from measurements on this device."""

import itertools
import json
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch

from biformer_lit.benchmark.turns import time_in_turns
from biformer_lit.ops import RegionGrid, attend, route
from biformer_lit.ops.auto import FILE, MOST_KEYS_WRITTEN_OUT, TABLE, keys_seen, within_reach

# ways to gather and ways to be dense: the fused one and the one that writes the scores out
WAYS = {"gather": ("gather_sdpa", "gather_matmul"), "dense": ("masked_sdpa", "masked_matmul")}
# side of the map, regions per side, routed regions: shares of 2 to 65 % of maps as the stages at 224 have them
SHAPES = [(56, 7, 1), (56, 7, 4), (28, 7, 1), (28, 7, 4), (28, 7, 8), (28, 7, 16), (14, 7, 4), (14, 7, 8), (14, 7, 16)]
SHAPES += [(14, 7, 32)]
HEADS, HEAD_DIM, BATCH = 4, 32, 8


def write_table(device: torch.device, rounds: int) -> None:
    """Measure both types on this device and put its rows into the table.

    Args:
        device: The device whose rows to remake.
        rounds: Turns of each backend.
    """
    rows = {name: measure_row(device, getattr(torch, name), rounds) for name in ("float32", "bfloat16")}
    FILE.write_text(json.dumps({**TABLE, device.type: rows}, indent=1) + "\n")
    print(f"{FILE}: {device.type} {json.dumps(rows)}")


def measure_row(device: torch.device, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """The fastest way to gather, the fastest dense one, and the share of the map above which the dense one wins.

    Args:
        device: Where to measure.
        dtype: Type of queries, keys and values.
        rounds: Turns of each backend.

    Returns:
        ``gather``, ``dense`` and ``dense_share``, as in the table.
    """
    measured: list[tuple[RegionGrid, int, dict[str, float]]] = []  # map, topk, ratio of each backend to the first
    for side, regions, topk in SHAPES:
        sys.stderr.write(f"{device.type}, {dtype}: map {side} x {side}, top-{topk}\n")
        grid = RegionGrid.from_regions(side, side, (regions, regions))
        calls = {name: _call(name, grid, topk, device, dtype) for name in itertools.chain(*WAYS.values())}
        ratios = {c.variant: c.ratio for c in time_in_turns(calls, device, rounds=rounds, seconds=0.1)}
        measured.append((grid, topk, ratios))
    row: dict[str, Any] = {}
    for way, (fused, written) in WAYS.items():
        small = [
            ratios[written] / ratios[fused]
            for grid, topk, ratios in measured
            if keys_seen(written, grid, topk) <= MOST_KEYS_WRITTEN_OUT[written]
        ]
        row[way] = written if statistics.median(small) < 1 else fused

    def time(way: str, grid: RegionGrid, topk: int, ratios: dict[str, float]) -> float:
        return ratios[within_reach(row[way], grid, topk)]

    pairs = [
        (topk / grid.count, time("dense", grid, topk, r) / time("gather", grid, topk, r)) for grid, topk, r in measured
    ]
    return {**row, "dense_share": best_share(pairs)}


def best_share(measured: list[tuple[float, float]]) -> float:
    """The share that is on the right side of the most measurements.

    Args:
        measured: Pairs of a share and the time of dense attention over that of gathering.

    Returns:
        A share half-way between two measured ones, 1 where dense attention never won.
    """
    shares = sorted({share for share, _ in measured})
    between = [(low + high) / 2 for low, high in itertools.pairwise(shares)]

    def wrong(threshold: float) -> int:
        return sum((ratio < 1) != (share >= threshold) for share, ratio in measured)

    best: float = min([*between, 1.0], key=wrong)
    return round(best, 3)


def _call(backend: Any, grid: RegionGrid, topk: int, device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    """Forward and backward of token attention alone, with queries, keys and values as a projection leaves them."""
    torch.manual_seed(0)
    shape = (BATCH, grid.height, grid.width, 3 * HEADS * HEAD_DIM)
    qkv = torch.randn(shape, device=device, dtype=dtype, requires_grad=True)
    weight = torch.randn((*shape[:3], HEADS * HEAD_DIM), device=device, dtype=dtype)
    query, key, _ = qkv.detach().chunk(3, dim=-1)
    index = route(query, key, grid, topk)

    def call() -> None:
        qkv.grad = None
        q, k, v = qkv.chunk(3, dim=-1)
        out = attend(q, k, v, index, grid, heads=HEADS, scale=HEAD_DIM**-0.5, backend=backend)
        torch.autograd.backward(out, weight)

    return call
