"""Parameters and multiply-adds of a network, by part, counted without computing anything."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from biformer_lit.attention import Attention
from biformer_lit.backbone import Backbone


@dataclass(frozen=True)
class Cost:
    """Cost of one part of a network, for one image.

    Attributes:
        part: Name of the part: stem, stage 1 and so on, head, or total.
        parameters: Number of parameters.
        macs: Multiply-adds (MACs) of convolutions, matrix products and bilinear interpolation, each counted once (half
            of the "FLOPs" that ``torch.utils.flop_counter`` prints), routing and attention included. Normalisation,
            pooling, activation functions and softmax are not counted, as everywhere in the field.
        routing: MACs of it that decide which keys are seen and fetch them.
        attention: MACs of it between queries, keys and values.
        gathered: Numbers (of keys and values) that are read through an index, a measure of the traffic that
            multiply-adds do not show.
        activations: Activation memory in bytes, :func:`biformer_lit.profiling.activation_memory`; None where it was not
            counted.
    """

    part: str
    parameters: int
    macs: int
    routing: int = 0
    attention: int = 0
    gathered: int = 0
    activations: int | None = None


def count_costs(backbone: Backbone, num_classes: int = 1000, size: tuple[int, int] = (224, 224)) -> list[Cost]:
    """Costs of the stem, each stage and the head, without the activation memory.

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
    with FlopCounterMode(display=False, custom_mapping=_READING) as counter, torch.no_grad():
        net(image)
    by_module = {name.partition(".")[2]: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    stages = [f"stages.{i}" for i in range(len(net.stages))]  # type: ignore[arg-type]
    return by_part(net, size, [by_module.get(name, 0) for name in ("stem", *stages, "head")])


def by_part(net: nn.Module, size: tuple[int, int], macs: Sequence[int]) -> list[Cost]:
    """Costs of the stem, each stage and the head, of which the multiply-adds are known.

    Args:
        net: A BiFormer.
        size: Height and width of the image in pixels.
        macs: All multiply-adds of each part, in this order.
    """
    body: Any = net
    costs = [Cost("stem", parameters(body.stem), macs[0])]
    for i, (stage, tokens) in enumerate(zip(body.stages, body.map_sizes(*size), strict=True), 1):
        shares = [attention.cost(*tokens) for attention in attentions(stage)]
        routing, attended, gathered = (
            sum(getattr(share, name) for share in shares) for name in ("routing", "attention", "gathered")
        )
        costs.append(Cost(f"stage {i}", parameters(stage), macs[i], routing, attended, gathered))
    return [*costs, Cost("head", parameters(body.norm) + parameters(body.head), macs[-1])]


def total_cost(costs: list[Cost]) -> Cost:
    """The sum over all parts; activation memory is None unless it is known of every part."""
    names = [name for name in asdict(costs[0]) if name not in ("part", "activations")]
    activations = [cost.activations for cost in costs if cost.activations is not None]
    return Cost(
        "total",
        **{name: sum(getattr(cost, name) for cost in costs) for name in names},
        activations=sum(activations) if len(activations) == len(costs) else None,
    )


def parameters(module: Any) -> int:
    """Number of parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def attentions(stage: nn.Module) -> Iterator[Attention]:
    """The attention modules of a stage, from input to output."""
    return (module for module in stage.modules() if isinstance(module, Attention))


def count_macs(net: nn.Module, image: Tensor) -> int:
    """Multiply-adds of a prediction, counted without computing anything.

    Args:
        net: A network on the meta device, in evaluation. What depends on the values of an image, as regions do, it
            computes for a fixed number of them in ``predict_for_counting``, which is called instead if it has it.
        image: An image (1, C, H, W) on the meta device.

    Returns:
        What :class:`Cost` says. Up-sampling between maps, suppressing overlaps and cutting regions out count as pooling
        does: not at all.
    """
    predict: Any = getattr(net, "predict_for_counting", net)
    with FlopCounterMode(display=False, custom_mapping=_READING) as counter, torch.no_grad():
        predict(image)
    return int(counter.get_total_flops() // 2)


def interpolation_flops(*_: Any, out_shape: Any, **__: Any) -> int:
    """FLOPs of ``grid_sample``: four multiply-adds for each number that is read between four tokens."""
    return 2 * 4 * int(torch.Size(out_shape).numel())


_READING = {torch.ops.aten.grid_sampler_2d: interpolation_flops}  # unknown to the counter
