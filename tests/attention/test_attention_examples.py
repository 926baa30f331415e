"""The examples of a pattern and of a rule do what their first lines say, by a reference made from the definition."""

import runpy

import pytest
import torch
import torch.nn.functional as F

from biformer_lit import Backbone
from biformer_lit.attention import BiLevelRoutingAttention, record_routing
from biformer_lit.ops import RegionGrid, describe_regions
from biformer_lit.profiling import count_costs
from biformer_lit.profiling.layers import closed_form_macs

pytestmark = pytest.mark.usefixtures("unplugged")
SMALL = {"depths": [1, 1], "dims": [32, 64], "head_dim": 16, "topk": 2, "regions": [3, 4]}


@pytest.fixture
def example(root):
    return lambda name: runpy.run_path(str(root / "examples" / f"{name}.py"))


@pytest.mark.parametrize(("name", "lines"), [("routing_hashing", 30), ("attention_halves", 60)])
def test_it_is_short(root, name, lines):
    assert len((root / f"examples/{name}.py").read_text().splitlines()) < lines


@pytest.mark.parametrize("heads", ["shared", "per_head"])
def test_hashing_counts_common_bits(example, heads):
    example("routing_hashing")
    torch.manual_seed(0)
    module = BiLevelRoutingAttention(32, 2, topk=3, regions=3, routing="hashing", routing_heads=heads, hash_bits=8)
    x = torch.randn(2, 7, 11, 32)
    with record_routing(module) as records:
        module(x)
    record = records[""]
    planes = module.router.rule.planes
    query, key = describe_regions(record.query, record.key, record.grid, heads=2 if heads == "per_head" else None)
    query, key = (y if y.ndim == 4 else y.unsqueeze(1) for y in (query, key))
    bits_of_query, bits_of_key = (query @ planes > 0).tolist(), (key @ planes > 0).tolist()
    for image in range(2):
        for head in range(record.index.shape[1]):
            for region in range(record.grid.count):
                bits = bits_of_query[image][head][region]
                common = [sum(a == b for a, b in zip(bits, others, strict=True)) for others in bits_of_key[image][head]]
                wanted = sorted(range(len(common)), key=lambda r: (-common[r], r))[:3]
                assert record.index[image, head, region].tolist() == wanted


def test_hashing_keeps_its_planes_in_the_checkpoint(example):
    example("routing_hashing")
    net = Backbone(**SMALL, attention="bra", routing="hashing", hash_bits=[4, 8]).build(3)
    shapes = {name: tuple(x.shape) for name, x in net.state_dict().items() if name.endswith("planes")}
    assert shapes == {
        "stages.0.blocks.0.attn.router.rule.planes": (32, 4),
        "stages.1.blocks.0.attn.router.rule.planes": (64, 8),
    }


@pytest.mark.parametrize("size", [(8, 8), (7, 11)], ids=str)
@pytest.mark.parametrize("heads", [2, 3])
def test_halves_are_a_router_and_windows_side_by_side(example, size, heads):
    module = example("attention_halves")["HalvesAttention"](16 * heads, heads, topk=2, regions=3, window=3, lce=0)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, *size, 16 * heads) for _ in range(3))
    out = module.attend(q, k, v)
    far = 16 * (heads // 2)
    with record_routing(module) as records:
        module.attend(q, k, v)
    record = records[""]
    # what a query sees of the first heads: the recorded regions; of the others: its window
    grid = RegionGrid.from_regions(*size, (3, 3))
    region = grid.region_of_token(q.device)
    routed = torch.zeros(2, grid.count, grid.count, dtype=torch.bool).scatter_(2, record.index[:, 0], value=True)
    windows = RegionGrid(*size, 3, 3).region_of_token(q.device)
    seen_far = routed[:, region][:, :, region].unsqueeze(1)
    seen_near = (windows[:, None] == windows).expand(2, 1, -1, -1)
    for part, seen, scale in (
        (slice(0, far), seen_far, module.scale),
        (slice(far, None), seen_near, 16**-0.5),
    ):
        query, key, value = (x[..., part].flatten(1, 2).unflatten(-1, (-1, 16)).transpose(1, 2) for x in (q, k, v))
        wanted = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)
        torch.testing.assert_close(out[..., part], wanted.transpose(1, 2).flatten(2).view(2, *size, -1))


def test_halves_share_the_settings_of_routing_and_windows(example):
    example("attention_halves")
    net = Backbone(**SMALL, attention="halves", window=[3, 5], routing=["local", "topk"]).build(3)
    first, second = (stage.blocks[0].attn for stage in net.stages)
    assert (first.window, second.window) == (3, 5)
    assert (first.topk, first.regions, second.regions) == (2, (3, 3), (4, 4))
    routed, windows = 12 * (2 * 9 * 2 * 12 * 16), 2 * 12 * 9**2 * 16  # 9 regions of 12 tokens, 12 windows of 9
    assert first.cost(9, 12).attention == routed + windows


@pytest.mark.parametrize("size", [(56, 72), (53, 70)], ids=str)
@pytest.mark.parametrize(
    "settings",
    [
        {"attention": "bra", "routing": "hashing", "routing_heads": "per_head"},
        {"attention": "bra", "routing": "hashing", "routing_gradient": True},
        {"attention": "halves", "window": 3},
        {"attention": "halves", "routing": "hashing", "routing_heads": "per_head", "padding": "released"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_they_train_compile_and_are_counted(example, settings, size):
    example("routing_hashing")
    example("attention_halves")
    backbone = Backbone(**SMALL, **settings)
    torch.manual_seed(0)
    net = backbone.build(3).train()
    x = torch.randn(2, 3, *size)
    results = []
    for run in (net.forward, torch.compile(net, fullgraph=True, backend="eager")):
        net.zero_grad()
        out = run(x)
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad.clone() for p in net.parameters())])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.compiler.reset()
    assert [cost.macs for cost in count_costs(backbone, 3, size)] == closed_form_macs(net, size)


def test_halves_need_two_heads(example):
    example("attention_halves")
    with pytest.raises(ValueError, match=r"stage 1: halves take two heads, but 32 channels make one; lower head_dim"):
        Backbone(**{**SMALL, "head_dim": 32}, attention="halves").build(3)
