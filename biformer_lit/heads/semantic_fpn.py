"""Semantic FPN: the semantic branch of Panoptic Feature Pyramid Networks (https://arxiv.org/abs/1901.02446)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from biformer_lit.heads.head_layers import ConvNormReLU, HeadNorm, PixelClassifier


class SemanticFPN(nn.Module):
    """A feature pyramid whose levels are brought to the finest one's size step by step, and summed.

    The pyramid: a 1x1 convolution for each stage, nearest-neighbour up-sampling and sums from the coarsest to the
    finest, and a 3x3 convolution for each level. The branch: a level that is 2 ** n coarser than the finest passes n
    times through a 3x3 convolution, normalisation, ReLU and bilinear up-sampling by two; the finest passes once,
    without up-sampling.

    Args:
        inputs: Channels of the stages, finest first; each has half the rows and columns of the one before.
        num_classes: Channels of the logits.
        channels: Channels of the pyramid; the branch has half of them (256 and 128 as published).
        dropout: Probability that a channel of the sum is dropped in training.
        norm: Normalisation in the branch: ``batch`` (released) or ``group`` (published).
    """

    def __init__(
        self,
        inputs: Sequence[int],
        num_classes: int,
        channels: int = 256,
        dropout: float = 0.1,
        norm: HeadNorm = "batch",
    ) -> None:
        super().__init__()
        width = max(channels // 2, 1)
        self.lateral = nn.ModuleList(nn.Conv2d(stage, channels, 1) for stage in inputs)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in inputs)
        self.branches = nn.ModuleList(
            nn.ModuleList(ConvNormReLU(width if step else channels, width, 3, norm) for step in range(max(level, 1)))
            for level in range(len(inputs))
        )
        self.classifier = PixelClassifier(width, num_classes, dropout)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of the stages (N, C_i, H / 2**i, W / 2**i) to logits (N, num_classes, H, W)."""
        pyramid = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for level in range(len(pyramid) - 1, 0, -1):
            above = F.interpolate(pyramid[level], scale_factor=2.0, mode="nearest")
            pyramid[level - 1] = pyramid[level - 1] + above
        total = None
        for level, (x, output, branch) in enumerate(zip(pyramid, self.output, self.branches, strict=True)):
            x = output(x)  # noqa: PLW2901
            for layer in branch:  # type: ignore[attr-defined]
                x = layer(x)  # noqa: PLW2901
                if level:
                    x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)  # noqa: PLW2901
            total = x if total is None else total + x
        logits: Tensor = self.classifier(total)
        return logits
