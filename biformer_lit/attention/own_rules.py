"""Routing rules from outside the package: called with pooled queries and keys, their results checked."""

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from biformer_lit.attention.rules import ROUTINGS, RegionView, RoutingRule
from biformer_lit.attention.settings import Declared, declared
from biformer_lit.errors import ConfigError
from biformer_lit.ops import RegionGrid, full_precision
from biformer_lit.seams.torch_seams import FakeTensor

RuleCost: TypeAlias = Callable[[RegionGrid, int, int], int]


def read_rule(name: str, rule: Callable[..., Any]) -> tuple[Declared, ...]:
    """Read the settings of a rule; see :func:`biformer_lit.register_routing`.

    Raises:
        ConfigError: If it is no rule.
    """
    learned = inspect.isclass(rule)
    if not callable(rule) or (inspect.isclass(rule) and not issubclass(rule, nn.Module)):
        raise ConfigError(f"routing rule {name!r}: {rule!r} is neither a function nor a subclass of torch.nn.Module")
    taken = ("dim", "heads") if learned else ("query", "key", "grid", "topk")
    try:
        inspect.signature(rule).bind(*taken)
    except TypeError as error:
        raise ConfigError(f"routing rule {name!r}: cannot be called with ({', '.join(taken)}): {error}") from None
    return tuple(declared(rule.__init__ if inspect.isclass(rule) else rule, rule.__doc__))


def add_rule(name: str, rule: Callable[..., Any], settings: tuple[Declared, ...], cost: RuleCost | None) -> None:
    """Put a rule that has been read into :data:`ROUTINGS`."""
    learned = inspect.isclass(rule)

    def make(dim: int, heads: int | None, **given: Any) -> PluginRouter:
        own: Callable[..., Any] = rule(dim, heads, **given) if learned else partial(rule, **given)
        return PluginRouter(name, own, dim, heads, cost)

    ROUTINGS.register(name, RoutingRule(make, settings))


class PluginRouter(nn.Module):
    """A rule from outside the package, as one attention module has it.

    Its result is checked: shape and type at every call; the numbers themselves once before it is used, on random
    regions, and when it is first used on a size of map outside a compiled graph, because looking at them makes the host
    wait for the device.

    Args:
        name: The rule's name, for messages.
        rule: The rule with its settings.
        dim: Channels that it sees.
        heads: Number of heads that choose for themselves, or None.
        cost: Its multiply-adds from grid, topk and channels; None counts them.
    """

    def __init__(
        self, name: str, rule: Callable[..., Any], dim: int, heads: int | None, cost: RuleCost | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.rule = rule
        self.dim = dim
        self.heads = heads
        self._cost = cost
        self._seen: set[tuple[int, ...]] = set()
        self._counted: dict[tuple[RegionGrid, int], tuple[int, bool]] = {}

    def forward(self, regions: RegionView, topk: int) -> tuple[Tensor, Tensor | None]:
        """Choose; see :class:`biformer_lit.attention.rules.Router`.

        Raises:
            ConfigError: If the rule returns something that is no choice.
        """
        query, key = regions.pooled()
        if query.is_meta:
            index, score = self._on_cpu(query, key, regions.grid, topk)
            return index.to(query.device), None if score is None else score.to(query.device)
        with torch.set_grad_enabled(regions.learns and torch.is_grad_enabled()), full_precision(query):
            found = self.rule(query, key, regions.grid, topk)
        index, score = self._taken(found, query, topk)
        if not torch.compiler.is_compiling() and not isinstance(index, FakeTensor):
            self._look(index, regions.grid, topk)
        return index, score

    def rehearse(self, grid: RegionGrid, topk: int) -> None:
        """Choose among random regions, so that a network whose first pass is compiled is checked as well.

        Args:
            grid: How a map could be cut.
            topk: Regions to choose.

        Raises:
            ConfigError: If the rule returns something that is no choice.
        """
        self._on_cpu(*self._stand_ins(grid), grid, topk)

    def cost(self, grid: RegionGrid, topk: int, dim: int, *, learns: bool) -> int:
        """See :class:`biformer_lit.attention.rules.Router`; counted in a run on random numbers unless it is told."""
        if (grid, topk) not in self._counted:
            with FlopCounterMode(display=False) as counter:
                score = self._on_cpu(*self._stand_ins(grid), grid, topk)[1]
            self._counted[grid, topk] = counter.get_total_flops() // 2, score is not None
        counted, scored = self._counted[grid, topk]
        affinity = grid.count**2 * dim if learns and not scored else 0
        return affinity + (counted if self._cost is None else int(self._cost(grid, topk, dim)))

    def extra_repr(self) -> str:
        """The rule's name and settings."""
        settings = self.rule.keywords if isinstance(self.rule, partial) else {}
        return ", ".join([self.name, *(f"{name}={value}" for name, value in settings.items())])

    def _stand_ins(self, grid: RegionGrid) -> tuple[Tensor, Tensor]:
        """Pooled queries and keys of one map, without values."""
        own = () if self.heads is None else (self.heads,)
        pooled = torch.empty(1, *own, grid.count, self.dim // (self.heads or 1), dtype=torch.float32, device="meta")
        return pooled, pooled

    @torch.no_grad()
    def _on_cpu(self, query: Tensor, key: Tensor, grid: RegionGrid, topk: int) -> tuple[Tensor, Tensor | None]:
        """Run the rule on random numbers, as meta tensors, whose values nobody can look at, stand for.

        Neither these numbers nor what the rule draws itself are taken from torch's generator.
        """
        generator = torch.Generator("cpu").manual_seed(0)
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            query, key = (torch.randn(x.shape, dtype=x.dtype, generator=generator) for x in (query, key))
            rule = self.rule
            if isinstance(rule, nn.Module):
                rule = copy.deepcopy(rule).to_empty(device="cpu")
                for tensor in (*rule.parameters(), *rule.buffers()):
                    tensor.normal_(generator=generator) if tensor.is_floating_point() else tensor.zero_()
            index, score = self._taken(rule(query, key, grid, topk), query, topk)
        self._look(index, grid, topk)
        return index, score

    def _taken(self, found: Any, query: Tensor, topk: int) -> tuple[Tensor, Tensor | None]:
        """Index and score from what the rule returned, of the right shapes and types."""
        index, score = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        wanted = (*query.shape[:-1], min(topk, query.shape[-2]))
        if not isinstance(index, Tensor) or index.dtype != torch.int64 or tuple(index.shape) != wanted:
            raise ConfigError(
                f"routing={self.name!r}: returned {_words(index)}; return region numbers of shape {wanted}, int64"
            )
        if score is not None and (
            not isinstance(score, Tensor) or not score.is_floating_point() or tuple(score.shape) != wanted
        ):
            raise ConfigError(
                f"routing={self.name!r}: returned {_words(score)} as score; return numbers of shape {wanted}"
            )
        return index, score

    def _look(self, index: Tensor, grid: RegionGrid, topk: int) -> None:
        """Refuse numbers of no region, and regions that are read twice, which backends would count differently."""
        size = (grid.height, grid.width, topk)
        if size in self._seen or not index.numel():
            return
        if index.min() < 0 or index.max() >= grid.count:
            wrong = int(index.min() if index.min() < 0 else index.max())
            raise ConfigError(
                f"routing={self.name!r}: chose region {wrong}; regions are numbered 0 to {grid.count - 1}"
            )
        if (index.sort(-1).values.diff(dim=-1) == 0).any():
            raise ConfigError(
                f"routing={self.name!r}: chose a region twice for one region; return {index.shape[-1]} different ones"
            )
        self._seen.add(size)


def _words(found: Any) -> str:
    if isinstance(found, Tensor):
        return f"a tensor of shape {tuple(found.shape)}, {str(found.dtype).removeprefix('torch.')}"
    return f"an object of type {type(found).__name__}"
