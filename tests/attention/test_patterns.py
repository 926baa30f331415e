"""Which keys each query of each pattern sees, against the definition, and the output against dense attention."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from biformer_lit.attention import (
    BiLevelRoutingAttention,
    DeformableAttention,
    DilatedAttention,
    FullAttention,
    StripesAttention,
    WindowAttention,
)
from biformer_lit.attention.record import record_routing
from biformer_lit.errors import ConfigError

DIM, HEADS = 16, 4
MAPS = [(8, 8), (6, 10), (9, 7), (5, 11), (3, 3)]  # square, not square, not divided by what is asked for, small


def tokens(height, width):
    return list(itertools.product(range(height), range(width)))


def same_window(size, shift):
    def seen(query, key, height, width, head):
        def number(position, length):
            side = min(size, length)
            offset = side // 2 if shift and length > side else 0
            return (position + (side - offset if offset else 0)) // side

        return all(number(a, n) == number(b, n) for a, b, n in zip(query, key, (height, width), strict=True))

    return seen


def same_stripe(width_of_stripe):
    def seen(query, key, height, width, head):
        axis, length = (0, height) if head < HEADS // 2 else (1, width)
        side = min(width_of_stripe, length)
        return query[axis] // side == key[axis] // side

    return seen


def same_grid(dilation):
    def seen(query, key, height, width, head):
        return all((a - b) % dilation == 0 for a, b in zip(query, key, strict=True))

    return seen


def everything(query, key, height, width, head):
    return True


DEFINITIONS = {
    "full": (FullAttention, {}, everything),
    "window3": (WindowAttention, {"window": 3}, same_window(3, shift=False)),
    "window4": (WindowAttention, {"window": 4}, same_window(4, shift=False)),
    "shifted3": (WindowAttention, {"window": 3, "shifted": True}, same_window(3, shift=True)),
    "shifted4": (WindowAttention, {"window": 4, "shifted": True}, same_window(4, shift=True)),
    "window20": (WindowAttention, {"window": 20, "shifted": True}, everything),
    "stripes1": (StripesAttention, {"stripe_width": 1}, same_stripe(1)),
    "stripes2": (StripesAttention, {"stripe_width": 2}, same_stripe(2)),
    "stripes20": (StripesAttention, {"stripe_width": 20}, everything),
    "dilated1": (DilatedAttention, {"dilation": 1}, everything),
    "dilated2": (DilatedAttention, {"dilation": 2}, same_grid(2)),
    "dilated3": (DilatedAttention, {"dilation": 3}, same_grid(3)),
}


def make(name, **more):
    torch.manual_seed(0)
    kind, settings, seen = DEFINITIONS[name]
    return kind(DIM, HEADS, **settings, **more).double(), seen


def mask_of(seen, height, width):
    """Who sees whom by definition: (heads, H * W, H * W)."""
    places = tokens(height, width)
    return torch.tensor([[[seen(q, k, height, width, h) for k in places] for q in places] for h in range(HEADS)])


def qkv(height, width, batch=2):
    generator = torch.Generator().manual_seed(height * 100 + width)
    return [torch.randn(batch, height, width, DIM, dtype=torch.float64, generator=generator) for _ in range(3)]


def dense(q, k, v, mask, scale=None):
    shape = q.shape
    q, k, v = (x.flatten(1, 2).unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2).reshape(shape)


def keys_read(module, height, width):
    """Who sees whom in fact, read off by one-hot values: (heads, H * W, H * W).

    Head h carries the one-hot number of the key in its channels, a few keys at a time.
    """
    q, k, _ = qkv(height, width, batch=1)
    count, room = height * width, DIM // HEADS
    found = torch.zeros(HEADS, count, count, dtype=torch.bool)
    for first in range(0, count, room):
        v = torch.zeros(1, count, HEADS, room, dtype=torch.float64)
        for place in range(first, min(first + room, count)):
            v[0, place, :, place - first] = 1
        out = module.attend(q, k, v.view(1, height, width, DIM)).reshape(count, HEADS, room)
        last = min(first + room, count)
        found[:, :, first:last] = out.permute(1, 0, 2)[:, :, : last - first] > 0
    return found


@pytest.mark.parametrize("size", MAPS, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_keys_are_those_of_the_definition(name, size):
    module, seen = make(name)
    assert torch.equal(keys_read(module, *size), mask_of(seen, *size))


@pytest.mark.parametrize("size", MAPS, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_output_is_dense_attention_under_the_mask(name, size):
    """Forward and the gradients of queries, keys and values."""
    module, seen = make(name)
    tensors = [x.requires_grad_() for x in qkv(*size)]
    weight = torch.randn(tensors[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = module.attend(*tensors)
    wanted = dense(*tensors, mask_of(seen, *size))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    for a, b in zip(
        torch.autograd.grad(found, tensors, weight), torch.autograd.grad(wanted, tensors, weight), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", MAPS, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("name", ["window20", "stripes20", "dilated1", "bra", "deformable"])
def test_a_pattern_that_covers_everything_is_full_attention(name, size):
    """The whole module, with the same projections and LCE."""
    full, _ = make("full")
    if name == "bra":
        module = BiLevelRoutingAttention(DIM, HEADS, topk="all", regions=2, scale="head").double()
    elif name == "deformable":
        module = DeformableAttention(DIM, HEADS, deform_stride=1, deform_groups=2).double()
        torch.nn.init.zeros_(module.offsets[-1].weight)
    else:
        module, _ = make(name)
    missing, unknown = module.load_state_dict(full.state_dict(), strict=False)
    assert not unknown
    assert all(key.startswith("offsets.") for key in missing)
    x = qkv(*size)[0]
    torch.testing.assert_close(module(x), full(x), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_parameters_are_the_same_in_every_pattern(name):
    shapes = {key: value.shape for key, value in make(name)[0].state_dict().items()}
    assert shapes == {key: value.shape for key, value in make("full")[0].state_dict().items()}


# -- deformable: keys are not tokens, but four tokens around a point each ------------------------------------


def deformable(**settings):
    torch.manual_seed(0)
    module = DeformableAttention(DIM, HEADS, **settings).double()
    torch.nn.init.normal_(module.offsets[-1].weight, std=2.0)  # far offsets, also beyond the border
    return module


def interpolation(points, height, width):
    """The matrix (points, H * W) that reads a map at points (rows, columns, 2), the border repeated."""
    matrix = torch.zeros(points[..., 0].numel(), height * width, dtype=torch.float64)
    inside = points.flatten(0, 1).clamp(torch.zeros(2), torch.tensor([height - 1.0, width - 1.0]))
    for number, (row, column) in enumerate(inside.tolist()):
        for i, j in itertools.product((int(row), int(row) + 1), (int(column), int(column) + 1)):
            weight = (1 - abs(row - i)) * (1 - abs(column - j))
            if weight > 0:
                matrix[number, i * width + j] = weight
    return matrix


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", MAPS, ids=lambda s: f"{s[0]}x{s[1]}")
def test_deformable_is_attention_to_the_map_read_at_the_points(size, stride, groups):
    height, width = size
    module = deformable(deform_stride=stride, deform_groups=groups, deform_range=2.0)
    q, k, v = (x.requires_grad_() for x in qkv(*size, batch=1))
    points = module.points(q).detach()[0]
    assert points.shape == (groups, -(-height // stride), -(-width // stride), 2)
    read = torch.stack([interpolation(p, height, width) for p in points]).repeat_interleave(HEADS // groups, dim=0)
    query, key, value = (x[0].flatten(0, 1).unflatten(-1, (HEADS, -1)).transpose(0, 1) for x in (q, k, v))
    wanted = F.scaled_dot_product_attention(query, read @ key, read @ value)
    found = module.attend(q, k, v)
    torch.testing.assert_close(found[0].flatten(0, 1), wanted.transpose(0, 1).flatten(1), rtol=1e-6, atol=1e-9)
    # the tokens that matter, read off by gradients, are the neighbours of the points
    gradient = torch.autograd.grad(found.sum(), v)[0][0].flatten(0, 1).unflatten(-1, (HEADS, -1)).abs().sum(-1)
    assert torch.equal(gradient.T > 1e-12, (read > 1e-12).any(1))


def test_points_follow_the_queries_and_stay_in_range():
    module = deformable(deform_stride=2, deform_range=1.5)
    q = qkv(8, 12)[0]
    start = torch.stack(
        torch.meshgrid(torch.arange(0.5, 8, 2.0), torch.arange(0.5, 12, 2.0), indexing="ij"), dim=-1
    ).double()
    moved = module.points(q) - start
    assert moved.abs().max() <= 1.5 * 2
    assert not torch.allclose(moved[0], moved[1])
    assert (moved.abs() > 0.1).any()


def test_the_offsets_learn():
    module = deformable(deform_stride=2)
    module(qkv(8, 8)[0]).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.offsets.parameters())


# -- bra: regions are routed, so the definition takes the recorded index --------------------------------------

FACTORS = [
    {},
    {"topk": "all"},
    {"routing": "local"},
    {"routing": "random_fixed"},
    {"routing": "random"},
    {"routing_pool": "max"},
    {"routing_heads": "per_head"},
    {"routing": "random_fixed", "routing_heads": "per_head"},
    {"routing_gradient": True},
    {"routing_gradient": True, "routing_heads": "per_head", "routing_pool": "max"},
    {"regions": "auto"},
    {"regions": (2, 4)},
    {"regions": (1, 1), "topk": 1},
]


def bra(**settings):
    torch.manual_seed(0)
    return BiLevelRoutingAttention(DIM, HEADS, **{"topk": 2, "regions": 3, "scale": "head", **settings}).double()


@pytest.mark.parametrize("backend", ["reference", "gather_sdpa", "masked_sdpa"])
@pytest.mark.parametrize("settings", FACTORS, ids=str)
@pytest.mark.parametrize("size", [(8, 8), (6, 10), (9, 7)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_bra_is_dense_attention_to_the_routed_regions(size, settings, backend):
    module = bra(**settings, backend=backend)
    q, k, v = qkv(*size)
    with record_routing(module) as records:
        found = module.attend(q, k, v)
    record = records[""]
    region = record.grid.region_of_token(q.device)
    table = torch.full(record.affinity.shape, float("-inf"), dtype=torch.float64)
    bias = torch.zeros(record.index.shape, dtype=torch.float64) if record.bias is None else record.bias
    table = table.scatter(-1, record.index, bias)
    mask = table[:, :, region][:, :, :, region]
    torch.testing.assert_close(found, dense(q, k, v, mask), rtol=1e-6, atol=1e-9)
    if settings.get("routing") in ("local", "random_fixed"):  # does not depend on the values: read off
        seen = (mask > float("-inf")).expand(-1, HEADS, -1, -1)[0]
        assert torch.equal(keys_read(module, *size), seen)


@pytest.mark.parametrize("backend", ["gather_sdpa", "masked_sdpa"])
@pytest.mark.parametrize("settings", [s for s in FACTORS if s.get("routing") != "random"], ids=str)
@pytest.mark.parametrize("size", [(8, 8), (9, 7)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_bra_gradients_equal_the_reference(size, settings, backend):
    gradients = []
    for name in ("reference", backend):
        module = bra(**settings, backend=name)
        x = qkv(*size)[0].requires_grad_()
        module(x).square().sum().backward()
        gradients.append([x.grad, *(p.grad for p in module.parameters())])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, r"window=0 must be at least 1"),
        ({"stripe_width": 0}, r"stripe_width=0 must be at least 1"),
        ({"dilation": 0}, r"dilation=0 must be at least 1"),
        ({"deform_stride": 0}, r"deform_stride=0 must be at least 1"),
        ({"deform_groups": 0}, r"deform_groups=0 must be at least 1"),
        ({"deform_groups": 3}, r"4 heads do not divide into deform_groups=3; choose a divisor of 4"),
        ({"deform_range": 0.0}, r"deform_range=0.0 must be above 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    kinds = {
        "window": WindowAttention,
        "stripe": StripesAttention,
        "dilati": DilatedAttention,
        "deform": DeformableAttention,
    }
    with pytest.raises(ConfigError, match=message):
        kinds[next(iter(settings))[:6]](DIM, HEADS, **settings)


def test_stripes_take_two_heads():
    with pytest.raises(ConfigError, match=r"stripes take two heads.*lower head_dim"):
        StripesAttention(32, 1)


def test_of_an_odd_number_of_heads_the_vertical_stripes_get_one_more():
    (across, _), (down, _) = StripesAttention(12, 3).halves(4, 4)
    assert (across, down) == (1, 2)


def test_a_dilation_beyond_the_map_leaves_tokens_to_themselves():
    x = torch.randn(1, 3, 9, DIM)
    for dilation, seen in ((4, {0, 4, 8}), (9, {0})):
        module = DilatedAttention(DIM, HEADS, dilation=dilation)
        v = torch.randn(1, 3, 9, DIM, requires_grad=True)
        (gradient,) = torch.autograd.grad(module.attend(x, x, v)[0, 1, 0].sum(), v)
        assert {tuple(place) for place in gradient[0].abs().sum(-1).nonzero().tolist()} == {
            (1, column) for column in seen
        }
    assert module.cost(3, 9).attention == 2 * 27 * DIM
    assert module.shortfall(9, 9) is None
    assert "dilation=9 is more than a side of its 3x9 map" in module.shortfall(3, 9)
