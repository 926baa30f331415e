"""Routing blocks of a network: their decisions for some images, and their names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from biformer_lit.attention import BiLevelRoutingAttention, RoutingRecord, record_routing
from biformer_lit.backbone import BiFormer
from biformer_lit.errors import ConfigError
from biformer_lit.heads import DenseNetwork


@dataclass(frozen=True)
class RoutedBlock:
    """One block's routing.

    Attributes:
        stage: Number of the stage, from 1.
        block: Number of the block in its stage, from 1.
        stride: Pixels of the image per token, along each side.
        record: What the block decided.
    """

    stage: int
    block: int
    stride: int
    record: RoutingRecord

    @property
    def name(self) -> str:
        """The name in files and logs, such as ``stage1.block1`` for the module ``stages.0.blocks.0.attn``."""
        return f"stage{self.stage}.block{self.block}"

    def token_at(self, point: tuple[float, float], size: tuple[int, int]) -> tuple[int, int]:
        """Row and column of the token at a point of the image.

        Args:
            point: x and y as fractions of the image's width and height, from the upper left.
            size: Height and width of the image in pixels.
        """
        grid = self.record.grid
        row, column = (int(at * pixels) // self.stride for at, pixels in zip(reversed(point), size, strict=True))
        return min(row, grid.height - 1), min(column, grid.width - 1)  # a point on the border is inside


def check_point(point: tuple[float, float]) -> None:
    """Refuse a point outside the image.

    Raises:
        ConfigError: Unless x and y are fractions of width and height.
    """
    if not all(0 <= at <= 1 for at in point):  # false for NaN, too
        raise ConfigError(
            f"point={','.join(map(str, point))} lies outside the image; give x and y as fractions of its width and "
            "height from the upper left, such as 0.4,0.6"
        )


def routing_backbone(net: nn.Module) -> BiFormer | None:
    """The part of a network that :func:`record_blocks` looks at, None if nothing in it routes."""
    for module in net.modules():
        if isinstance(module, BiFormer) and any(isinstance(m, BiLevelRoutingAttention) for m in module.modules()):
            return module
    return None


@torch.no_grad()
def record_blocks(net: nn.Module, images: Tensor) -> tuple[list[RoutedBlock], Any]:
    """Run a network, uncompiled and without gradients, and keep what its blocks decided.

    Args:
        net: A network for which :func:`routing_backbone` finds one, in the mode (evaluation) to be looked at.
        images: Images (N, C, H, W) on the network's device.

    Returns:
        The blocks with bi-level routing from input to output, and what the network returned; the maps of the stages if
        it is one of a dense task, whose head is not run.
    """
    backbone = routing_backbone(net)
    # not net itself: a compiled network would be recompiled; and a detector takes more than images
    run: Callable[[Tensor], Any] = net.maps if isinstance(net, DenseNetwork) else net.forward
    if backbone is None:
        return [], run(images)
    with record_routing(backbone) as records:
        output = run(images)
    blocks = []
    for name, record in records.items():
        _, stage, _, block, _ = name.split(".")
        blocks.append(RoutedBlock(int(stage) + 1, int(block) + 1, backbone.stem_stride * 2 ** int(stage), record))
    return blocks, output
