"""Base of all attention patterns: projections, local context enhancement, and the contract."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from biformer_lit.attention.settings import Declared, Place, declared
from biformer_lit.errors import ConfigError
from biformer_lit.ops.depthwise import depthwise_conv2d
from biformer_lit.registry import Registry


@dataclass(frozen=True)
class AttentionCost:
    """Cost of what a pattern does between the projections, for one image.

    Attributes:
        routing: Multiply-adds that decide which keys are seen and fetch them.
        attention: Multiply-adds between queries, keys and values; padded tokens, which are computed and dropped,
            included.
        gathered: Numbers (of keys and values) that are read through an index, a measure of the traffic that
            multiply-adds do not show.
    """

    routing: int = 0
    attention: int = 0
    gathered: int = 0


class LocalContext(nn.Conv2d):
    """The depthwise convolution of the local context enhancement."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to a map of the same shape."""
        return depthwise_conv2d(x, self.weight, self.bias)


class Attention(nn.Module, ABC):
    """Multi-head attention over a feature map; a subclass decides which keys a query sees.

    The query, key and value projection, the local context enhancement (LCE, a depthwise convolution added to
    the attended values; ``lepe`` in the released code) and the output projection are written here once, so
    that patterns compare like with like. The keyword-only arguments of a subclass, and those of its :meth:`build`, are
    its settings in a network; see :mod:`biformer_lit.attention.settings`.

    Args:
        dim: Channels C.
        heads: Number of heads; divides ``dim``.
        lce: Kernel size of the LCE convolution, odd; 0 leaves it out.
        lce_input: What LCE convolves: the ``value`` projection, as the paper says, or the module's ``input``,
            as the released stage 4 does.
        qkv_bias: Whether the query, key and value projection has a bias.

    Raises:
        ConfigError: If ``heads`` does not divide ``dim`` or ``lce`` is even or negative.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        lce: int = 5,
        lce_input: Literal["value", "input"] = "value",
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ConfigError(f"{dim} channels do not divide into {heads} heads; change dims, head_dim or full_heads")
        if lce < 0 or (lce and lce % 2 == 0):
            raise ConfigError(f"lce={lce} is not a kernel size; use 0 (off) or an odd number such as 5")
        check_choice("lce_input", lce_input, ("value", "input"))
        self.dim = dim
        self.heads = heads
        self.head_dim = dim // heads
        self.lce_input = lce_input
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.lce = LocalContext(dim, dim, lce, padding=lce // 2, groups=dim) if lce else None
        self.proj = nn.Linear(dim, dim)

    @classmethod
    def declared_settings(cls) -> Iterator[Declared]:
        """The settings that a network takes for this pattern: those of its constructor and of :meth:`build`.

        Raises:
            ConfigError: If one has no type or no default.
        """
        return cls._of_constructor()

    @classmethod
    def _of_constructor(cls) -> Iterator[Declared]:
        own = [kind for kind in cls.__mro__ if issubclass(kind, Attention) and kind is not Attention]
        for name in ("__init__", "build"):
            for kind in own:
                if name not in vars(kind):
                    continue
                function = getattr(kind, name)
                doc = kind.__doc__ if name == "__init__" else function.__doc__
                yield from declared(function, doc, but=SHARED)
                if not _hands_on(function):
                    break

    @classmethod
    def build(cls, place: Place, **settings: Any) -> "Attention":
        """Make the module of one block; override it where that depends on the place, with further settings.

        Args:
            place: Where in the network it stands.
            **settings: The settings of its stage.
        """
        return cls(place.dim, place.heads, lce=place.lce, **settings)

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attended values (N, H, W, C) from queries, keys and values of that shape."""

    @abstractmethod
    def cost(self, height: int, width: int) -> AttentionCost:
        """Return the cost of :meth:`attend` for one map of this size in tokens."""

    def shortfall(self, height: int, width: int) -> str | None:
        """Return what a map of this size is too small for, in words for the user; None if it is large enough.

        Args:
            height: Rows of tokens of the map.
            width: Columns of tokens of the map.
        """
        return None

    def padded_map(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the map that projections and LCE see: larger where the input itself is padded."""
        return height, width

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, C) of any height and width to a map of the same shape."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        out = self.attend(q, k, v)
        if not torch.compiler.is_compiling() and out.shape != v.shape:
            raise ConfigError(
                f"{type(self).__name__}.attend: returned {tuple(out.shape)} for queries {tuple(q.shape)}; return a map "
                "(N, H, W, C) of the same shape"
            )
        if self.lce is not None:
            local = v if self.lce_input == "value" else x
            out = out + self.lce(local.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        projected: Tensor = self.proj(out)
        return projected


PATTERNS: Registry[type[Attention]] = Registry("attention pattern")
"""What ``attention`` can be."""
SHARED = {name for name, p in inspect.signature(Attention).parameters.items() if p.kind is p.KEYWORD_ONLY}
"""Arguments of all patterns' modules; of these a network sets only ``lce``, in its layout."""


def _hands_on(function: Any) -> bool:
    """Return whether arguments that it does not name go to the class above."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of a few.

    Raises:
        ConfigError: With the choices.
    """
    if value not in choices:
        raise ConfigError(f"{name}={value!r} is unknown; choose one of {', '.join(choices)}")


def check_least(name: str, value: float, least: int = 1) -> None:
    """Refuse a number that is too small.

    Raises:
        ConfigError: With the least one.
    """
    if value < least:
        raise ConfigError(f"{name}={value} must be at least {least}")
