"""Attention patterns and routing rules of one's own, chosen by name like those of the package."""

import inspect
from collections.abc import Callable, Iterable
from typing import TypeVar

import timm
from timm.models import build_model_with_cfg

from biformer_lit.attention import PATTERNS, Attention, Declared
from biformer_lit.attention.own_rules import RuleCost, add_rule, read_rule
from biformer_lit.attention.rules import rule_settings
from biformer_lit.backbone.architecture import pattern_settings
from biformer_lit.backbone.biformer import BiFormer
from biformer_lit.backbone.config import LAYOUT
from biformer_lit.errors import ConfigError

Pattern = TypeVar("Pattern", bound=type[Attention])
Rule = TypeVar("Rule", bound=Callable[..., object])

# what means something else on the way to a network, or in its group of settings
_TAKEN = {
    *("name", "build", "dim", "heads", "place"),
    *inspect.signature(BiFormer.__init__).parameters.keys() - pattern_settings().keys(),
    *(
        name
        for function in (timm.create_model, build_model_with_cfg)
        for name in inspect.signature(function).parameters
    ),
    *("features_only", "out_indices", "feature_cls", "kwargs_filter"),
}


def register_attention(name: str) -> Callable[[Pattern], Pattern]:
    """Register an attention pattern: ``attention: my_pattern`` then works like ``attention: window``.

    The class writes ``attend`` and ``cost``. Its keyword-only arguments, each with a type, a default and a line under
    ``Args``, become settings of the network; one that another pattern has already is the same setting, with the default
    that it has there. See docs/extending.md.

    Args:
        name: What it is called: lower-case letters, digits and underscores.

    Returns:
        A decorator for a subclass of :class:`biformer_lit.attention.Attention`.

    Raises:
        ConfigError: If the name is taken, the class is no pattern, or a setting clashes with one that exists.

    Example:
        >>> @biformer_lit.register_attention("rows")
        ... class RowAttention(Attention):
        ...     def attend(self, q, k, v):
        ...         grid = RegionGrid(q.shape[1], q.shape[2], 1, q.shape[2])
        ...         return attend_within(q, k, v, grid, heads=self.heads)
        ...
        ...     def cost(self, height, width):
        ...         return AttentionCost(attention=2 * height * width**2 * self.dim)
    """

    def register(pattern: Pattern) -> Pattern:
        who = f"attention pattern {name!r}"
        if not (inspect.isclass(pattern) and issubclass(pattern, Attention)):
            raise ConfigError(f"{who}: {pattern!r} is no subclass of biformer_lit.attention.Attention; make it one")
        if inspect.isabstract(pattern):
            raise ConfigError(f"{who}: {pattern.__name__} does not write {' and '.join(_missing(pattern))}")
        try:
            inspect.signature(pattern).bind("dim", "heads", lce=5)
        except TypeError as error:
            raise ConfigError(f"{who}: {pattern.__name__}(dim, heads, lce=...) cannot be called: {error}") from None
        own = list(pattern._of_constructor())  # noqa: SLF001 (without those of routing rules)
        rules = {setting.name: setting for setting in rule_settings()}
        _check_settings(who, own, pattern_settings(), other=rules)
        PATTERNS.register(name, pattern)
        return pattern

    return register


def register_routing(name: str, *, cost: RuleCost | None = None) -> Callable[[Rule], Rule]:
    """Register a routing rule: ``routing: my_rule`` then works like ``routing: local``.

    A rule is a function ``(query, key, grid, topk, *, settings)`` of the pooled queries and keys (N, R, C), in float32
    at least, or (N, heads, R, C / heads) where each head chooses for itself. It returns the regions that each region
    reads: int64, (N, R, min(topk, R)) or (N, heads, R, min(topk, R)), none twice. It may return a pair of these and, in
    the same shape, scores that ``routing_gradient`` adds to the products of queries and keys instead of the
    affinities. A rule with weights is a subclass of ``nn.Module``, made with ``(dim, heads or None, settings)``, whose
    ``forward`` is that function. See docs/extending.md.

    Args:
        name: What it is called: lower-case letters, digits and underscores.
        cost: Multiply-adds of a choice from (grid, topk, dim) for one map of ``dim`` channels. None counts them.

    Returns:
        A decorator for the function or class.

    Raises:
        ConfigError: If the name is taken, the rule cannot be called so, or a setting clashes with one that exists.

    Example:
        >>> @biformer_lit.register_routing("farthest")
        ... def farthest(query, key, grid, topk):
        ...     return torch.cdist(query, key).topk(min(topk, grid.count)).indices
    """

    def register(rule: Rule) -> Rule:
        settings = read_rule(name, rule)
        rules = {setting.name: setting for setting in rule_settings()}
        patterns = {key: value for key, value in pattern_settings().items() if key not in rules}
        _check_settings(f"routing rule {name!r}", settings, rules, other=patterns)
        add_rule(name, rule, settings, cost)
        return rule

    return register


def _missing(pattern: type[Attention]) -> list[str]:
    return sorted(pattern.__abstractmethods__)


def _check_settings(who: str, own: Iterable[Declared], shared: dict[str, Declared], other: dict[str, Declared]) -> None:
    """Refuse settings whose name means something else.

    Args:
        who: Whose they are.
        own: The settings.
        shared: Those that exist and may be shared.
        other: Those that exist and may not.

    Raises:
        ConfigError: With the setting.
    """
    for setting in own:
        if setting.name in _TAKEN | LAYOUT.keys() or setting.name.startswith("_"):
            raise ConfigError(
                f"{who}: a setting cannot be called {setting.name}, which means something else; rename it"
            )
        if setting.name in other:
            raise ConfigError(f"{who}: {setting.name} is a setting of something else already; rename it")
        before = shared.get(setting.name)
        if before is not None and before.argument_type() != setting.argument_type():
            raise ConfigError(
                f"{who}: its setting {setting.name} has another type than the {setting.name} that exists; annotate it "
                "alike, or rename it"
            )
