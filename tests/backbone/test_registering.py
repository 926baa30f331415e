"""Patterns and rules of one's own: everywhere where those of the package are, checked, and gone with their plug-in."""

import dataclasses
import inspect
from typing import Annotated, Literal

import pytest
import timm
import torch
from torch import nn

from biformer_lit import Backbone, BiFormer, ConfigError, register_attention, register_routing
from biformer_lit.attention import (
    ONE_FOR_ALL,
    Attention,
    AttentionCost,
    BiLevelRoutingAttention,
    Setting,
    record_routing,
)
from biformer_lit.cli import main
from biformer_lit.ops import BACKENDS, RegionGrid, affinities, attend_within, best
from biformer_lit.profiling import count_costs
from biformer_lit.registry import registering_for

pytestmark = pytest.mark.usefixtures("unplugged")
SMALL = {"depths": [1, 1], "dims": [32, 64], "head_dim": 16, "topk": 2, "regions": [3, 4]}


class Rows(Attention):
    """Each token sees rows.

    Args:
        row_height: Rows of tokens that see each other.
        row_kind: A choice.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        row_height: Annotated[int, Setting(default=(1, 2))] = 1,
        row_kind: Annotated[Literal["plain", "fancy"], ONE_FOR_ALL] = "plain",
        **shared: int,
    ) -> None:
        super().__init__(dim, heads, **shared)
        self.row_height, self.row_kind = row_height, row_kind

    def attend(self, q, k, v):
        grid = RegionGrid(q.shape[1], q.shape[2], min(self.row_height, q.shape[1]), q.shape[2])
        return attend_within(q, k, v, grid, heads=self.heads)

    def cost(self, height, width):
        return AttentionCost(attention=2 * height * width * self.row_height * width * self.dim)


def same(query, key, grid, topk):
    """As the package chooses."""
    return best(query @ key.transpose(-2, -1), topk)


def built(**settings):
    torch.manual_seed(0)
    return Backbone(**{**SMALL, **settings}).build(3)


def test_a_pattern_stands_wherever_patterns_do(capsys):
    register_attention("rows")(Rows)
    field = {f.name: f for f in dataclasses.fields(Backbone)}["row_height"]
    assert field.type == int | list[int] | None
    parameter = inspect.signature(BiFormer).parameters["row_height"]
    assert parameter.default == (1, 2)
    assert "row_height: Rows of tokens that see each other. One value, or one per stage." in BiFormer.__doc__
    first, second = (stage.blocks[0].attn for stage in built(attention="rows").stages)
    assert (first.row_height, second.row_height) == (1, 2)
    net = timm.create_model("biformer_tiny", attention=["bra", "bra", "bra", "rows"], row_height=3)
    assert net.stages[3].blocks[0].attn.row_height == 3
    with pytest.raises(SystemExit):
        main(["profile", "--help"])
    shown = capsys.readouterr().out
    assert "--backbone.row_height" in shown
    assert "'rows'" in shown
    main(["profile", "--backbone.attention=rows", "--backbone.row_height=4", "--measure=false", "--size=64"])


def test_its_settings_are_checked_on_the_command_line(capsys):
    register_attention("rows")(Rows)
    with pytest.raises(SystemExit):
        main(["profile", "--backbone.row_kind=odd", "--measure=false"])
    assert "row_kind" in capsys.readouterr().err


def test_what_a_pattern_returns_is_checked():
    class Short(Rows):
        """Loses a row."""

        def attend(self, q, k, v):
            return v[:, 1:]

    register_attention("short")(Short)
    with pytest.raises(ConfigError, match=r"Short.attend: returned \(1, 11, 16, 32\) for queries \(1, 12, 16, 32\)"):
        built(attention="short")(torch.zeros(1, 3, 48, 64))


def test_settings_are_shared_by_name_and_type():
    class Sharing(Rows):
        """Shares.

        Args:
            window: Not shown: the first says what it is.
        """

        def __init__(self, dim, heads, *, window: int = 3, **shared):
            super().__init__(dim, heads, **shared)
            self.window = window

    before = [f.name for f in dataclasses.fields(Backbone)]
    register_attention("sharing")(Sharing)
    assert [f.name for f in dataclasses.fields(Backbone)] == [*before, "row_height", "row_kind"]
    assert "window: Tokens per side of a window" in Backbone.__doc__
    assert [stage.blocks[0].attn.window for stage in built(attention="sharing").stages] == [7, 7]


def pattern_with(annotation):
    name, kind = annotation

    def constructor(self, dim, heads, *, lce=5, **shared):
        raise NotImplementedError

    parameter = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=1, annotation=kind)
    signature = inspect.signature(constructor)
    given = [*signature.parameters.values()]
    constructor.__signature__ = signature.replace(parameters=[*given[:-1], parameter, given[-1]])
    constructor.__annotations__ = {name: kind}
    return type("Made", (Rows,), {"__init__": constructor, "__doc__": "Made."})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            ("window", str),
            r"'made': its setting window has another type than the window that exists; annotate it alike",
        ),
        (("dims", int), r"'made': a setting cannot be called dims, which means something else"),
        (("num_classes", int), "a setting cannot be called num_classes"),
        (("name", str), "a setting cannot be called name"),
        (("checkpoint_path", str), "a setting cannot be called checkpoint_path"),
        (("features_only", bool), "a setting cannot be called features_only"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_settings_that_clash_are_refused(setting, message):
    before = [f.name for f in dataclasses.fields(Backbone)]
    with pytest.raises(ConfigError, match=message):
        register_attention("made")(pattern_with(setting))
    assert [f.name for f in dataclasses.fields(Backbone)] == before


def test_what_is_no_pattern_is_refused():
    class Unfinished(Attention):
        """Has no cost."""

        def attend(self, q, k, v):
            return v

    class Narrow(Rows):
        """Takes no LCE."""

        def __init__(self, dim, heads):
            super().__init__(dim, heads)

    class Untyped(Rows):
        """Has a setting without a type."""

        def __init__(self, dim, heads, *, many=1, **shared):
            super().__init__(dim, heads, **shared)

    for pattern, message in (
        (nn.Linear, "is no subclass of biformer_lit.attention.Attention"),
        (same, "is no subclass"),
        (Unfinished, "Unfinished does not write cost"),
        (Narrow, r"Narrow\(dim, heads, lce=...\) cannot be called: got an unexpected keyword argument 'lce'"),
        (Untyped, "argument many needs a type and a default to be a setting"),
    ):
        with pytest.raises(ConfigError, match=message):
            register_attention("bad")(pattern)
    with pytest.raises(ConfigError, match="attention pattern 'bra': is registered already"):
        register_attention("bra")(Rows)


# -- routing rules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"routing_heads": "per_head"}, {"routing_gradient": True}, {"padding": "released_nchw"}],
    ids=["plain", "per-head", "gradient", "nchw"],
)
def test_a_rule_that_chooses_as_the_package_gives_its_numbers(settings, backend):
    register_routing("same")(same)
    x, results = torch.randn(2, 3, 53, 70), []
    for routing in ("topk", "same"):
        net = built(attention="bra", routing=routing, backend=backend, **settings).train()
        out = net(x)
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad for p in net.parameters())])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_a_rule_is_recorded_and_counted_as_the_package_s():
    register_routing("same")(same)
    own, ours = (built(attention="bra", routing=name).eval() for name in ("same", "topk"))
    x, records = torch.randn(1, 3, 48, 64), []
    for net in (own, ours):
        with torch.no_grad(), record_routing(net) as found:
            net(x)
        records.append(found["stages.1.blocks.0.attn"])
    assert torch.equal(records[0].index, records[1].index)
    assert torch.equal(records[0].affinity, records[1].affinity)
    backbones = [Backbone(**SMALL, attention="bra", routing=name) for name in ("same", "topk")]
    assert count_costs(backbones[0], 3, (64, 64)) == count_costs(backbones[1], 3, (64, 64))
    state = torch.random.get_rng_state()
    assert own.stages[0].blocks[0].attn.cost(9, 8) == ours.stages[0].blocks[0].attn.cost(9, 8)
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_cost_of_a_rule_can_be_told():
    register_routing("told", cost=lambda grid, topk, dim: grid.count * topk + dim)(same)
    module = BiLevelRoutingAttention(32, 2, topk=2, regions=3, routing="told")
    assert module.cost(9, 9).routing == 9 * 2 + 32
    learning = BiLevelRoutingAttention(32, 2, topk=2, regions=3, routing="told", routing_gradient=True)
    assert learning.cost(9, 9).routing == 9 * 2 + 32 + 81 * 32


class Learned(nn.Module):
    """A router with weights.

    Args:
        hidden: Channels in which regions are compared.
    """

    def __init__(self, dim: int, heads: int | None, *, hidden: int = 8) -> None:
        super().__init__()
        self.of_query, self.of_key = (nn.Linear(dim // (heads or 1), hidden) for _ in range(2))

    def forward(self, query, key, grid, topk):
        assert query.dtype == torch.float32
        scores = self.of_query(query) @ self.of_key(key).transpose(-2, -1)
        index = best(scores.detach(), topk)
        return index, scores.gather(-1, index)


@pytest.mark.parametrize("heads", ["shared", "per_head"])
@pytest.mark.parametrize("learns", [True, False])
def test_a_learned_router_learns_from_its_own_scores(heads, learns):
    register_routing("learned")(Learned)
    net = built(attention="bra", routing="learned", hidden=[4, 6], routing_heads=heads, routing_gradient=learns)
    rule = net.stages[1].blocks[0].attn.router.rule
    assert rule.of_query.weight.shape == (6, 64 if heads == "shared" else 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(torch.randn(2, 3, 48, 64)).square().sum().backward()
    assert (rule.of_query.weight.grad is not None) == learns
    assert net.stages[1].blocks[0].attn.cost(12, 16).routing == 16 * 64 * 6 * 2 + 16 * 16 * 6 * (
        1 if heads == "shared" else 4
    )
    assert net.stages[0].blocks[0].attn.qkv.weight.grad.isfinite().all()


def test_scores_are_added_as_they_are():
    def scored(query, key, grid, topk):
        index = best(query @ key.transpose(-2, -1), topk)
        return index, torch.arange(topk).expand(index.shape) * -100.0

    register_routing("scored")(scored)
    module = BiLevelRoutingAttention(32, 2, topk=3, regions=3, routing="scored", routing_gradient=True, lce=0)
    one = BiLevelRoutingAttention(32, 2, topk=1, regions=3, lce=0)
    q, k, v = (torch.randn(1, 9, 9, 32) for _ in range(3))
    torch.testing.assert_close(module.attend(q, k, v), one.attend(q, k, v))  # the others weigh nothing


def test_a_rule_of_data_dependent_code_is_counted():
    def even(query, key, grid, topk):
        """Regions with a positive first channel before the others, found in a loop."""
        first = torch.tensor([[float(x) for x in row] for row in key[..., 0].tolist()])
        return best(first.unsqueeze(-2).expand(*first.shape, first.shape[-1]), topk)

    register_routing("even")(even)
    settings = Backbone(**SMALL, attention="bra", routing="even")
    assert [cost.routing for cost in count_costs(settings, 3, (64, 64))] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            lambda q, grid, topk: torch.zeros(1, 9, 1, dtype=torch.int64),
            r"returned a tensor of shape \(1, 9, 1\), int64",
        ),
        (
            lambda q, grid, topk: torch.zeros(1, 9, 2),
            r"\(1, 9, 2\), float32; return region numbers of shape \(1, 9, 2\)",
        ),
        (lambda q, grid, topk: None, "returned an object of type NoneType; return region numbers"),
        (lambda q, grid, topk: torch.tensor([0, 9]).expand(1, 9, 2), "chose region 9; regions are numbered 0 to 8"),
        (lambda q, grid, topk: torch.tensor([-1, 2]).expand(1, 9, 2), "chose region -1; regions are numbered 0 to 8"),
        (lambda q, grid, topk: torch.tensor([3, 3]).expand(1, 9, 2), "chose a region twice for one region"),
        (
            lambda q, grid, topk: (torch.tensor([1, 3]).expand(1, 9, 2), torch.zeros(1, 9)),
            r"returned a tensor of shape \(1, 9\), float32 as score; return numbers of shape \(1, 9, 2\)",
        ),
    ],
)
def test_what_a_rule_returns_is_checked(value, message):
    wrong = False

    @register_routing("wrong")
    def choose(query, key, grid, topk):
        """As the package chooses, until it goes wrong."""
        return value(query, grid, topk) if wrong else same(query, key, grid, topk)

    module = BiLevelRoutingAttention(32, 2, topk=2, regions=3, routing="wrong")
    wrong = True
    with pytest.raises(ConfigError, match=rf"routing='wrong': .*{message}"):
        module(torch.randn(1, 9, 9, 32))
    with pytest.raises(ConfigError, match=rf"routing='wrong': .*{message}"):  # as a network is made, if it is so early
        BiLevelRoutingAttention(32, 2, topk=2, regions=3, routing="wrong")


@pytest.mark.parametrize("settings", [{"topk": 3}, {"topk": "all"}, {"topk": 3, "regions": "auto"}])
def test_a_rehearsal_leaves_no_trace(settings):
    asked = []

    @register_routing("drawn")
    def choose(query, key, grid, topk):
        """At random, from torch's generator."""
        asked.append((query.shape[-2], topk))
        return best(torch.rand(*query.shape[:-1], query.shape[-2]), topk)

    seeds = torch.initial_seed()
    states = []
    for routing in ("local", "drawn"):
        torch.manual_seed(0)
        BiLevelRoutingAttention(32, 2, routing=routing, **{"regions": (2, 3), **settings})
        states.append(torch.get_rng_state())
    torch.manual_seed(seeds)
    assert torch.equal(*states)
    regions = 16 if settings.get("regions") == "auto" else 6
    assert asked == [(regions, regions if settings["topk"] == "all" else 3)]


def test_what_is_no_rule_is_refused():
    def clashing(query, key, grid, topk, *, window: int = 7):
        """Has the setting of a pattern."""

    for rule, message in (
        (lambda query, key: None, r"cannot be called with \(query, key, grid, topk\): missing|too many"),
        (Attention, "cannot be called|needs a type|is a setting"),
        ("topk", "'topk' is neither a function nor a subclass of torch.nn.Module"),
        (dict, "is neither a function nor a subclass"),
        (clashing, "window is a setting of something else already"),
    ):
        with pytest.raises(ConfigError, match=message):
            register_routing("bad")(rule)
    with pytest.raises(ConfigError, match="routing rule 'local': is registered already"):
        register_routing("local")(same)


def test_settings_of_a_rule_reach_it_alone():
    seen = {}

    def one(query, key, grid, topk, *, strength: float = 1.5):
        seen["one"] = strength
        return same(query, key, grid, topk)

    register_routing("one")(one)
    register_routing("other")(same)
    built(attention="bra", routing=["one", "other"], strength=[2.5, 9.0])(torch.zeros(1, 3, 48, 64))
    assert seen == {"one": 2.5}
    with pytest.raises(ConfigError, match=r"strength=\[1.0, 2.0, 3.0\] has 3 values for 2 stages"):
        built(attention="bra", routing="one", strength=[1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="strength"):
        BiLevelRoutingAttention(32, 2, routing="topk", strength=1.0)


def test_affinities_are_the_package_s_for_a_rule_without_scores():
    register_routing("same")(same)
    module = BiLevelRoutingAttention(32, 2, topk=2, regions=3, routing="same", routing_gradient=True)
    q, k, _ = (torch.randn(1, 9, 9, 32) for _ in range(3))
    _, index, bias = module._route(q, k)
    wanted = affinities(q, k, module.grid(9, 9)).gather(-1, index) * 32**-0.5
    torch.testing.assert_close(bias, wanted)


def test_what_is_gone_is_refused_again():
    def fail():
        with registering_for("broken"):
            register_attention("rows")(Rows)
            assert "row_height" in Backbone.__dataclass_fields__
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "row_height" not in Backbone.__dataclass_fields__
    assert not hasattr(Backbone(), "row_height")
    with pytest.raises(TypeError, match="row_height"):
        Backbone(row_height=1)
    with pytest.raises(TypeError, match="row_height"):
        BiFormer(row_height=1)
