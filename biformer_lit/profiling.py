"""What a network costs: parameters, multiply-adds, and speed and memory on this machine."""

import resource
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from biformer_lit.attention import BiLevelRoutingAttention, FullAttention
from biformer_lit.backbone import Backbone
from biformer_lit.errors import ConfigError

VariantName = Literal["biformer_tiny", "biformer_small", "biformer_base", "biformer_stl", "biformer_stl_nchw"]


@dataclass(frozen=True)
class Cost:
    """Cost of one part of a network, for one image.

    Attributes:
        part: Name of the part.
        parameters: Number of parameters.
        macs: Multiply-adds of convolutions and matrix products, each counted once (half of the "FLOPs" that
            ``torch.utils.flop_counter`` prints), routing and attention included.
        routing: Multiply-adds that decide which regions are read.
        attention: Multiply-adds between queries, keys and values.
        gathered: Numbers that routed attention reads through the routing index (keys and values), a measure
            of the traffic that multiply-adds do not show.
    """

    part: str
    parameters: int
    macs: int
    routing: int = 0
    attention: int = 0
    gathered: int = 0


def count_costs(backbone: Backbone, num_classes: int = 1000, size: tuple[int, int] = (224, 224)) -> list[Cost]:
    """Costs of the stem, each stage and the head, counted without computing anything.

    The multiply-adds are those of the algorithm, whatever backend computes it: a dense product under a mask
    does more than is counted here.

    Args:
        backbone: The network.
        num_classes: Outputs of the classifier.
        size: Height and width of the image in pixels.

    Raises:
        ConfigError: If the image is too small for the network.
    """
    with torch.device("meta"):
        net = replace(backbone, backend="reference").build(num_classes).eval()
        image = torch.empty(1, backbone.in_chans, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(image)
    by_module = {name.partition(".")[2]: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    maps = net.map_sizes(*size)  # type: ignore[operator]
    costs = [Cost("stem", _parameters(net.stem), by_module.get("stem", 0))]
    for i, stage in enumerate(net.stages):  # type: ignore[arg-type]
        shares = [_attention_cost(block.attn, *maps[i]) for block in stage.blocks]
        routing, attention, gathered = (sum(values) for values in zip(*shares, strict=True))
        costs.append(Cost(f"stage {i + 1}", _parameters(stage), by_module[f"stages.{i}"], routing, attention, gathered))
    head = _parameters(net.norm) + _parameters(net.head)
    costs.append(Cost("head", head, by_module.get("head", 0)))
    return costs


def total_cost(costs: list[Cost]) -> Cost:
    """The sum over all parts."""
    names = [name for name in asdict(costs[0]) if name != "part"]
    return Cost("total", **{name: sum(getattr(cost, name) for cost in costs) for name in names})


def _parameters(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def _attention_cost(module: nn.Module, height: int, width: int) -> tuple[int, int, int]:
    """Multiply-adds of routing and of token attention, and numbers gathered, of one module on one map."""
    if isinstance(module, FullAttention):
        return 0, 2 * (height * width) ** 2 * module.dim, 0
    if not isinstance(module, BiLevelRoutingAttention):
        raise TypeError(f"no cost is known for {type(module).__name__}")
    grid = module.grid(height, width)
    topk = grid.count if module.topk == "all" else min(int(module.topk), grid.count)
    gathered = 2 * grid.count * topk * grid.tokens * module.dim
    return grid.count**2 * module.dim, grid.tokens * gathered, gathered


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

    before = _memory(image.device, reset=True)
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
    memory = max(0, _memory(image.device) - before)
    return Speed(statistics.median(rates), min(rates), max(rates), memory)


def _memory(device: torch.device, reset: bool = False) -> int:
    """Peak memory in bytes; with ``reset`` the present use, from which the next peak is counted."""
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device)
    if reset and Path("/proc/self/statm").exists():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def profile(
    model: VariantName = "biformer_tiny",
    backbone: Backbone = Backbone(),  # noqa: B008 (frozen)
    size: int | list[int] = 224,
    num_classes: int = 1000,
    batch_size: int = 8,
    device: str = "auto",
    train: bool = False,
    measure: bool = True,
) -> None:
    """Print what a model costs: parameters, multiply-adds by stage, images per second and peak memory here.

    Args:
        model: The variant.
        backbone: What is to differ from the variant, as in a training config (the name is taken from model).
        size: Height and width of the image in pixels, or one number for both.
        num_classes: Outputs of the classifier.
        batch_size: Images at a time when measuring.
        device: Where to measure: auto, cpu or cuda.
        train: Measure forward and backward rather than inference.
        measure: Measure at all.
    """
    sides = [size] if isinstance(size, int) else size
    if not 1 <= len(sides) <= 2 or min(sides) < 1:
        raise ConfigError(f"size={size} must be one or two positive numbers, such as 224 or [480,640]")
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be at least 1")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(
            f"device={device!r} is not there; use cpu" + (" or cuda" if torch.cuda.is_available() else "")
        )
    height, width = sides[0], sides[-1]
    backbone = replace(backbone, name=model)
    costs = count_costs(backbone, num_classes, (height, width))
    console = Console()
    console.print(cost_table(costs, f"{model}, {height} x {width}"))
    if measure:
        net = backbone.build(num_classes).to(device)
        image = torch.randn(batch_size, backbone.in_chans, height, width, device=device)
        speed = measure_speed(net, image, train=train)
        what = "forward and backward" if train else "inference"
        where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
        console.print(
            f"{what}, batch {batch_size}, float32, {where}, torch {torch.__version__}: "
            f"{speed.images_per_second:.1f} images/s (median; {speed.slowest:.1f} to {speed.fastest:.1f}), "
            f"peak memory {speed.memory / 2**20:.0f} MiB over the model",
            soft_wrap=True,
            highlight=False,
        )


def cost_table(costs: list[Cost], title: str) -> Table:
    """The costs as a table for people."""
    table = Table(title=title, caption="MACs: multiply-adds of one image, each counted once")
    for name in ("part", "parameters", "MACs (G)", "of it routing", "of it attention", "gathered (M)"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for cost in [*costs, total_cost(costs)]:
        if cost.part == "total":
            table.add_section()
        table.add_row(
            cost.part,
            f"{cost.parameters:,}",
            f"{cost.macs / 1e9:.3f}",
            f"{cost.routing / 1e9:.4f}",
            f"{cost.attention / 1e9:.3f}",
            f"{cost.gathered / 1e6:.2f}",
        )
    return table
