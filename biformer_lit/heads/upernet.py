"""UPerNet (https://arxiv.org/abs/1807.10221) and the auxiliary head that it is trained with."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biformer_lit.heads.head_layers import ConvNormReLU, HeadNorm, PixelClassifier, resize

POOLED = (1, 2, 3, 6)
"""Rows and columns that pyramid pooling averages a map to."""


class PyramidPooling(nn.Module):
    """A map beside its averages over a few coarse grids, fused by a 3x3 convolution.

    Args:
        inputs: Channels of the map.
        channels: Channels of each average and of the result.
        norm: Kind of normalisation.
    """

    def __init__(self, inputs: int, channels: int, norm: HeadNorm) -> None:
        super().__init__()
        self.projections = nn.ModuleList(ConvNormReLU(inputs, channels, 1, norm) for _ in POOLED)
        self.fuse = ConvNormReLU(inputs + len(POOLED) * channels, channels, 3, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to a map (N, channels, H, W)."""
        size = (x.shape[2], x.shape[3])
        averages = [
            resize(projection(F.adaptive_avg_pool2d(x, side)), size)
            for side, projection in zip(POOLED, self.projections, strict=True)
        ]
        fused: Tensor = self.fuse(torch.cat([x, *averages], 1))
        return fused


class UPerNet(nn.Module):
    """Pyramid pooling on the coarsest map, a feature pyramid below it, and all levels fused at the finest size.

    Args:
        inputs: Channels of the stages, finest first.
        num_classes: Channels of the logits.
        channels: Channels of every level.
        dropout: Probability that a channel of the fused map is dropped in training.
        norm: Kind of normalisation: ``batch`` (released) or ``group``.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        num_classes: int,
        channels: int = 512,
        dropout: float = 0.1,
        norm: HeadNorm = "batch",
    ) -> None:
        super().__init__()
        self.pooling = PyramidPooling(inputs[-1], channels, norm)
        self.lateral = nn.ModuleList(ConvNormReLU(stage, channels, 1, norm) for stage in inputs[:-1])
        self.output = nn.ModuleList(ConvNormReLU(channels, channels, 3, norm) for _ in inputs[:-1])
        self.fuse = ConvNormReLU(len(inputs) * channels, channels, 3, norm)
        self.classifier = PixelClassifier(channels, num_classes, dropout)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of the stages (N, C_i, H_i, W_i), finest first, to logits (N, num_classes, H_0, W_0)."""
        levels = [lateral(x) for lateral, x in zip(self.lateral, maps[:-1], strict=True)]
        levels.append(self.pooling(maps[-1]))
        for level in range(len(levels) - 1, 0, -1):
            below = levels[level - 1]
            levels[level - 1] = below + resize(levels[level], (below.shape[2], below.shape[3]))
        finest = (maps[0].shape[2], maps[0].shape[3])
        levels = [*(output(x) for output, x in zip(self.output, levels[:-1], strict=True)), levels[-1]]
        fused = self.fuse(torch.cat([levels[0], *(resize(x, finest) for x in levels[1:])], 1))
        logits: Tensor = self.classifier(fused)
        return logits


class FCN(nn.Module):
    """One 3x3 convolution and a classifier: the auxiliary head, which only training uses.

    Args:
        inputs: Channels of the stage that it looks at.
        num_classes: Channels of the logits.
        channels: Channels between.
        dropout: Probability that a channel is dropped in training.
        norm: Kind of normalisation.
    """

    def __init__(
        self, inputs: int, num_classes: int, channels: int = 256, dropout: float = 0.1, norm: HeadNorm = "batch"
    ) -> None:
        super().__init__()
        self.body = ConvNormReLU(inputs, channels, 3, norm)
        self.classifier = PixelClassifier(channels, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to logits (N, num_classes, H, W)."""
        logits: Tensor = self.classifier(self.body(x))
        return logits
