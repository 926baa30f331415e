"""Benchmark of whole networks: inference and training steps, beside any other model."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from biformer_lit.backbone import BiFormer, fold_norms
from biformer_lit.benchmark.compare import check_turns, compare
from biformer_lit.benchmark.results import Case, check_out, describe_machine, show
from biformer_lit.benchmark.roofline import measure_roofline
from biformer_lit.benchmark.setting import DType, find_callable, one_call, precision
from biformer_lit.common.devices import find_device
from biformer_lit.errors import ConfigError
from biformer_lit.ops import BACKENDS

CLASSES = 1000


def build_model(variant: str, against: str | None) -> nn.Module:
    """The network of one variant.

    Args:
        variant: A timm model, our own with ``:backend`` behind its name where it is to use that backend; or
            ``against``. Behind it ``+fold`` folds the BatchNorms of our own, ``+compile`` compiles.
        against: Where ``against`` comes from, ``module:callable``.

    Raises:
        ConfigError: If there is no such model or backend.
    """
    torch.manual_seed(0)
    if variant == "against":
        found: nn.Module = find_callable(against or "")(num_classes=CLASSES)
        return found
    plain, *ways = variant.split("+")
    for way in ways:
        if way not in ("fold", "compile"):
            raise ConfigError(f"variants: {variant!r}: '+{way}' is unknown; use +fold or +compile")
    name, _, backend = plain.partition(":")
    if not timm.is_model(name):
        raise ConfigError(f"variants: {name!r} is not a model of timm or of this package; see timm.list_models()")
    if backend and backend not in BACKENDS:
        raise ConfigError(f"variants: {backend!r} is not a backend; choose from {', '.join(BACKENDS)}")
    model: nn.Module = timm.create_model(name, num_classes=CLASSES, **({"backend": backend} if backend else {}))
    if "fold" in ways and not isinstance(model, BiFormer):
        raise ConfigError(f"variants: {variant!r}: only our own models fold; leave +fold out")
    model = fold_norms(model) if "fold" in ways else model  # type: ignore[arg-type]
    if "compile" in ways:
        model.compile(fullgraph=True)
    return model


def model_call(
    variant: str, against: str | None, batch_size: int, size: int, dtype: DType, device: str
) -> Callable[[], object]:
    """A call of one variant's inference; the arguments are those of :func:`bench_model`."""
    model = build_model(variant, against).to(device)
    return one_call(model, torch.randn(batch_size, 3, size, size, device=device), dtype, train=False)


def step_call(
    variant: str, against: str | None, batch_size: int, size: int, dtype: DType, device: str
) -> Callable[[], object]:
    """A call of one variant's training step; the arguments are those of :func:`bench_train`."""
    if "+fold" in variant:
        raise ConfigError(f"variants: {variant!r}: a folded network cannot be trained; leave +fold out")
    model = build_model(variant, against).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    image = torch.randn(batch_size, 3, size, size, device=device)
    label = torch.randint(CLASSES, (batch_size,), device=device)

    def step() -> None:
        with precision(dtype, image.device):
            loss = F.cross_entropy(model(image), label)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def bench_model(
    variants: list[str] = ["biformer_tiny:reference", "biformer_tiny", "biformer_tiny+compile"],  # noqa: B006
    against: str | None = None,
    size: int = 224,
    batch_size: int = 8,
    dtype: DType = "float32",
    rounds: int = 7,
    memory: bool = True,
    device: str = "auto",
    out: str | None = None,
) -> None:
    """Time the inference of whole networks, in turns, and measure its peak memory.

    Args:
        variants: Models of timm (ours are among them). Our own take ":backend" behind the name and "+fold" (the
            BatchNorms folded into the convolutions) behind that, all take "+compile". The first is the baseline.
        against: module:callable of another network, which becomes the baseline. It is called with
            num_classes and returns a module from (N, 3, H, W) to logits.
        size: Height and width of the image in pixels.
        batch_size: Images.
        dtype: float32, or bfloat16 by autocast.
        rounds: Turns of each variant.
        memory: Measure the peak memory too, each variant in its own process.
        device: auto, cpu or cuda.
        out: Write OUT.json and OUT.md.
    """
    _bench("inference", model_call, 1, variants, against, size, batch_size, dtype, rounds, memory, device, out)


def bench_train(
    variants: list[str] = ["biformer_tiny:reference", "biformer_tiny"],  # noqa: B006
    against: str | None = None,
    size: int = 224,
    batch_size: int = 8,
    dtype: DType = "float32",
    rounds: int = 5,
    memory: bool = True,
    device: str = "auto",
    out: str | None = None,
) -> None:
    """Time training steps (forward, backward, fused AdamW) of whole networks, in turns, and their peak memory.

    Args:
        variants: As for bench_model.
        against: As for bench_model.
        size: Height and width of the image in pixels.
        batch_size: Images.
        dtype: float32, or bfloat16 by autocast.
        rounds: Turns of each variant.
        memory: Measure the peak memory too, each variant in its own process.
        device: auto, cpu or cuda.
        out: Write OUT.json and OUT.md.
    """
    _bench("training step", step_call, 3, variants, against, size, batch_size, dtype, rounds, memory, device, out)


def _bench(
    what: str,
    build: Callable[..., Callable[[], object]],
    passes: int,
    variants: list[str],
    against: str | None,
    size: int,
    batch_size: int,
    dtype: DType,
    rounds: int,
    memory: bool,
    device: str,
    out: str | None,
) -> None:
    where, path = find_device(device), check_out(out)
    check_turns(variants, rounds)
    variants = variants if against is None else ["against", *variants]
    macs = {v: passes * batch_size * _macs(v, size) for v in variants if v != "against"}  # refuses unknown names
    arguments: dict[str, tuple[Any, ...]] = {v: (v, against, batch_size, size, dtype, str(where)) for v in variants}
    progress = functools.partial(print, file=sys.stderr)
    compared = compare(build, arguments, where, rounds=rounds, memory=memory, progress=progress)
    title = f"{what}, {size} x {size}, batch {batch_size}, {dtype}; {describe_machine(where)}"
    show([Case(what, macs, compared)], measure_roofline(where, getattr(torch, dtype)), title, path)


def _macs(variant: str, size: int) -> int:
    """Multiply-adds of one image's forward; routed attention is counted as the algorithm needs it."""
    with torch.device("meta"):
        name = variant.partition("+")[0].partition(":")[0]
        model = build_model(f"{name}:reference" if name.startswith("biformer") else name, None).eval()
        image = torch.empty(1, 3, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops()) // 2
