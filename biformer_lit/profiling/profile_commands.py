"""The command ``profile``: what one network costs, as a table."""

from dataclasses import replace
from typing import Literal

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from biformer_lit.backbone import Backbone
from biformer_lit.common.devices import find_device
from biformer_lit.errors import ConfigError
from biformer_lit.profiling.costs import Cost, count_costs, total_cost
from biformer_lit.profiling.memory import activation_memory
from biformer_lit.profiling.speed import Speed, measure_speed

VariantName = Literal["biformer_tiny", "biformer_small", "biformer_base", "biformer_stl", "biformer_stl_nchw"]


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
    """Print what a model costs by stage: parameters, multiply-adds, activation memory; and its speed and memory here.

    Args:
        model: The variant.
        backbone: What is to differ from the variant, as in a training config (the name is taken from model).
        size: Height and width of the image in pixels, or one number for both.
        num_classes: Outputs of the classifier.
        batch_size: Images at a time when measuring; the counted costs are those of one image.
        device: Where to measure, and whose kernels decide the activation memory: auto, cpu or cuda.
        train: Measure forward and backward rather than inference.
        measure: Measure at all.
    """
    height, width = _sides(size)
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be at least 1")
    where = find_device(device)
    backbone = replace(backbone, name=model)
    saved = activation_memory(backbone, num_classes, (height, width), where.type)
    costs = [replace(c, activations=saved[c.part]) for c in count_costs(backbone, num_classes, (height, width))]
    console = Console()
    console.print(cost_table(costs, f"{model}, {height} x {width}"))
    if measure:
        net = backbone.build(num_classes).to(where)
        image = torch.randn(batch_size, backbone.in_chans, height, width, device=where)
        line = _speed_line(measure_speed(net, image, train=train), image, train)
        console.print(line, soft_wrap=True, highlight=False)


def cost_table(costs: list[Cost], title: str) -> Table:
    """The costs as a table for people; activation memory stays blank where it was not counted."""
    caption = (
        "Of one image. MACs: multiply-adds, each counted once. gathered: numbers read through an index. "
        "activations: what a training step in float32 keeps for its backward."
    )
    table = Table(title=escape(title), caption=caption)
    names = ("parameters", "MACs\n(G)", "of it\nrouting", "of it\nattention", "gathered\n(M)", "activations\n(MiB)")
    table.add_column("part")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
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
            "" if cost.activations is None else f"{cost.activations / 2**20:.2f}",
        )
    return table


def _speed_line(speed: Speed, image: torch.Tensor, train: bool) -> str:
    """Return what was measured, where and how, as one line."""
    what = "forward and backward" if train else "inference"
    where = f"CPU, {torch.get_num_threads()} threads"
    if image.device.type == "cuda":
        where = torch.cuda.get_device_name()
    return (
        f"{what}, batch {len(image)}, float32, {where}, torch {torch.__version__}: "
        f"{speed.images_per_second:.1f} images/s (median; {speed.slowest:.1f} to {speed.fastest:.1f}), "
        f"peak memory {speed.memory / 2**20:.0f} MiB over the model"
    )


def _sides(size: int | list[int]) -> tuple[int, int]:
    """Height and width from one number or two."""
    sides = [size] if isinstance(size, int) else size
    if not 1 <= len(sides) <= 2 or min(sides) < 1:
        raise ConfigError(f"size={size} must be one or two positive numbers, such as 224 or [480,640]")
    return sides[0], sides[-1]
