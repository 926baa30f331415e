"""The parts BiFormer is made of: stems, down-sampling between stages, and the transformer block."""

from collections import OrderedDict
from typing import Literal, TypeAlias

from timm.layers import DropPath, Mlp
from timm.models import checkpoint_seq
from torch import Tensor, nn

from biformer_lit.attention import Attention
from biformer_lit.errors import ConfigError

Stem: TypeAlias = Literal["overlap", "patch"]


def build_stem(kind: Stem, in_chans: int, dim: int, stride: int) -> nn.Sequential:
    """The first layers: image (N, in_chans, H, W) to map (N, dim, H / stride, W / stride).

    Args:
        kind: ``overlap`` is two 3x3 convolutions with BatchNorm and a GELU between them (BiFormer), ``patch``
            one convolution that cuts the image into ``stride x stride`` patches, with BatchNorm (Swin's layout).
        in_chans: Channels of the image.
        dim: Channels of the map.
        stride: Down-sampling of the stem: 4 as released; 1 or 2 keep small images from vanishing.

    Raises:
        ConfigError: If ``stride`` is not 1, 2 or 4, or ``kind`` is unknown.
    """
    if stride not in (1, 2, 4):
        raise ConfigError(f"stem_stride={stride} is not supported; use 4 (as released), 2 or 1")
    if kind == "patch":
        conv = nn.Conv2d(in_chans, dim, kernel_size=stride, stride=stride)
        return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(dim)))
    if kind != "overlap":
        raise ConfigError(f"stem={kind!r} is unknown; use 'overlap' or 'patch'")
    first, second = {4: (2, 2), 2: (1, 2), 1: (1, 1)}[stride]
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_chans, dim // 2, kernel_size=3, stride=first, padding=1),
            norm1=nn.BatchNorm2d(dim // 2),
            act=nn.GELU(),
            conv2=nn.Conv2d(dim // 2, dim, kernel_size=3, stride=second, padding=1),
            norm2=nn.BatchNorm2d(dim),
        )
    )


def build_downsample(kind: Stem, dim_in: int, dim: int) -> nn.Sequential:
    """Halving between two stages, in the style of the stem: (N, dim_in, H, W) to (N, dim, H / 2, W / 2)."""
    if kind == "patch":
        conv = nn.Conv2d(dim_in, dim, kernel_size=2, stride=2)
        return nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(dim_in), conv=conv))
    conv = nn.Conv2d(dim_in, dim, kernel_size=3, stride=2, padding=1)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(dim)))


class Block(nn.Module):
    """Convolutional position encoding, attention and MLP, each with a residual; normalised before.

    Args:
        dim: Channels C.
        attention: The attention module.
        mlp_ratio: Hidden channels of the MLP over ``dim``.
        cpe: Kernel size of the depthwise convolution that encodes position; 0 leaves it out.
        drop_path: Probability with which a sample skips a residual branch.

    Raises:
        ConfigError: If ``mlp_ratio`` leaves no hidden channel.
    """

    def __init__(
        self, dim: int, attention: Attention, *, mlp_ratio: float, cpe: int = 3, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        if int(mlp_ratio * dim) < 1:
            raise ConfigError(f"mlp_ratio={mlp_ratio} leaves the MLP no hidden channels; use a number such as 3")
        self.cpe = nn.Conv2d(dim, dim, cpe, padding=cpe // 2, groups=dim) if cpe else None
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(mlp_ratio * dim))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, C) to a map of the same shape."""
        if self.cpe is not None:
            x = x + self.cpe(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.drop_path(self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class Stage(nn.Module):
    """An optional halving and a row of blocks at one resolution.

    Args:
        downsample: Layers that halve the map before the blocks, or None.
        blocks: The blocks.
    """

    def __init__(self, downsample: nn.Module | None, blocks: list[Block]) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C, H', W')."""
        if self.downsample is not None:
            x = self.downsample(x)
        x = x.permute(0, 2, 3, 1)
        recompute = self.grad_checkpointing and self.training
        x = checkpoint_seq(self.blocks, x) if recompute else self.blocks(x)
        return x.permute(0, 3, 1, 2)
