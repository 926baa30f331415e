"""Benchmark of the attention module alone, backend by backend."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from biformer_lit.attention import BiLevelRoutingAttention
from biformer_lit.benchmark.compare import check_turns, compare
from biformer_lit.benchmark.results import Case, check_out, describe_machine, show
from biformer_lit.benchmark.retune import write_table
from biformer_lit.benchmark.roofline import measure_roofline
from biformer_lit.benchmark.setting import DType, find_callable, one_call
from biformer_lit.common.devices import find_device
from biformer_lit.errors import ConfigError
from biformer_lit.ops import BACKENDS

COMPILED = "+compile"
HEAD_DIM = 32


def build_call(
    variant: str, against: str | None, shape: tuple[int, ...], dtype: DType, device: str, train: bool
) -> Callable[[], object]:
    """The call of one variant.

    Args:
        variant: A backend, with ``+compile`` at its end if compiled, or ``against``.
        against: Where ``against`` comes from, ``module:callable``.
        shape: Batch, side of the map, channels, top-k, S.
        dtype: Type of the products.
        device: Name of the device.
        train: With the backward.
    """
    batch, side, dim, topk, regions = shape
    torch.manual_seed(0)
    module: nn.Module
    if variant == "against":
        module = find_callable(against or "")(dim=dim, heads=dim // HEAD_DIM, topk=topk, regions=regions)
    else:
        backend: Any = variant.removesuffix(COMPILED)
        module = BiLevelRoutingAttention(dim, dim // HEAD_DIM, topk=topk, regions=regions, backend=backend)
    module = module.to(device)
    if variant.endswith(COMPILED):
        module.compile(fullgraph=True)
    return one_call(module, torch.randn(batch, side, side, dim, device=device), dtype, train=train)


def bench_attention(
    size: int = 224,
    regions: int = 7,
    batch_size: int = 8,
    dims: list[int] = [64, 128, 256],  # noqa: B006 (never changed)
    topk: list[int] = [1, 4, 16],  # noqa: B006
    variants: list[str] = ["reference", "gather_sdpa", "masked_sdpa", "auto"],  # noqa: B006
    against: str | None = None,
    dtype: DType = "float32",
    train: bool = True,
    rounds: int = 7,
    memory: bool = True,
    device: str = "auto",
    out: str | None = None,
    retune: bool = False,
) -> None:
    """Time the attention module (projections, routing, attention, LCE) of each stage, and measure its peak memory.

    Args:
        size: Height and width of the image in pixels; stage i works on a map of size / 2 ** (i + 2).
        regions: S.
        batch_size: Images.
        dims: Channels of each stage, in heads of 32.
        topk: Routed regions of each stage.
        variants: Backends to compare, the first being the baseline; "+compile" at the end compiles.
        against: module:callable of another implementation, which becomes the baseline. It is called with
            dim, heads, topk and regions and returns a module from (N, H, W, C) to the same.
        dtype: float32, or bfloat16 by autocast.
        train: Forward and backward to the input and all weights, rather than the forward alone.
        rounds: Turns of each variant.
        memory: Measure the peak memory too, each variant in its own process.
        device: auto, cpu or cuda.
        out: Write OUT.json and OUT.md.
        retune: Measure instead which backend "auto" should mean on this device, and write the table that it reads.
    """
    if retune:
        write_table(find_device(device), rounds)
        return
    _check(variants, dims, topk, rounds)
    where, path = find_device(device), check_out(out)
    if against is not None:
        find_callable(against)
        variants = ["against", *variants]
    cases = []
    for stage, (dim, k) in enumerate(zip(dims, topk, strict=True), 1):
        side = size // 2 ** (stage + 1)
        shape = (batch_size, side, dim, k, regions)
        name = f"stage {stage}: {side} x {side} x {dim}, top-{k}"
        arguments = {variant: (variant, against, shape, dtype, str(where), train) for variant in variants}

        def progress(text: str, name: str = name) -> None:
            sys.stderr.write(f"{name}: {text}\n")

        compared = compare(build_call, arguments, where, rounds=rounds, memory=memory, progress=progress)
        macs = batch_size * _macs(shape) * (3 if train else 1)
        cases.append(Case(name, dict.fromkeys([c.variant for c in compared], macs), compared))
    what = f"BRA module, {'forward and backward' if train else 'forward'}, {size} x {size}, S={regions}"
    title = f"{what}, batch {batch_size}, {dtype}; {describe_machine(where)}"
    show(cases, measure_roofline(where, getattr(torch, dtype)), title, path)


def _check(variants: list[str], dims: list[int], topk: list[int], rounds: int) -> None:
    for variant in variants:
        if variant.removesuffix(COMPILED) not in BACKENDS:
            raise ConfigError(f"variants: {variant!r} is not a backend; choose from {', '.join(BACKENDS)}")
    check_turns(variants, rounds)
    if len(dims) != len(topk) or not dims:
        raise ConfigError(f"dims={dims} and topk={topk} must have one entry for each stage")
    if any(dim % HEAD_DIM or dim < HEAD_DIM for dim in dims):
        raise ConfigError(f"dims={dims} must be multiples of {HEAD_DIM}, the size of a head")


def _macs(shape: tuple[int, ...]) -> int:
    """Multiply-adds of the module's forward for one image."""
    _, side, dim, topk, regions = shape
    cost = BiLevelRoutingAttention(dim, dim // HEAD_DIM, topk=topk, regions=regions).cost(side, side)
    return side * side * (4 * dim * dim + 25 * dim) + cost.routing + cost.attention
