"""What is recorded is what the attention did."""

import pytest
import torch

from biformer_lit.attention import BiLevelRoutingAttention, record_routing
from biformer_lit.ops import partition
from biformer_lit.routing import chosen

# settings of the module, and the map: divisible, overhanging, not square, more regions than asked for
CASES = [
    pytest.param({"regions": 4, "topk": 3}, (8, 8), id="divisible"),
    pytest.param({"regions": 3, "topk": 4}, (8, 11), id="overhanging"),
    pytest.param({"regions": 3, "topk": 2, "routing_heads": "per_head"}, (6, 9), id="per-head"),
    pytest.param({"regions": 3, "topk": 4, "routing_gradient": True}, (7, 8), id="bias"),
    pytest.param(
        {"regions": (2, 4), "topk": 3, "routing_heads": "per_head", "routing_gradient": True}, (5, 9), id="everything"
    ),
    pytest.param({"regions": 3, "topk": 2, "routing": "random"}, (6, 8), id="random"),
    pytest.param({"regions": 3, "topk": 3, "routing": "local"}, (6, 6), id="local"),
    pytest.param({"regions": 3, "topk": 3, "padding": "released_nchw"}, (8, 8), id="unmasked"),
]


def attend(settings, size, **more):
    """A module's attention on random maps, and its record."""
    torch.manual_seed(0)
    module = BiLevelRoutingAttention(16, 2, lce=0, **settings, **more)
    q, k, v = (torch.randn(2, *size, 16, requires_grad=True) for _ in range(3))
    with record_routing(module) as records:
        out = module.attend(q, k, v)
    return q, k, v, out, records[""]


@pytest.mark.parametrize("backend", ["reference", "gather_sdpa", "masked_sdpa"])
@pytest.mark.parametrize(("settings", "size"), CASES)
def test_only_the_recorded_regions_were_read(settings, size, backend):
    _, k, v, out, record = attend(settings, size, backend=backend)
    grid = record.grid
    row, column = size[0] - 1, size[1] // 2
    region = row // grid.region_height * grid.columns + column // grid.region_width
    by_head = out[1, row, column].view(2, 8)
    for head in range(2):
        of_key, of_value = torch.autograd.grad(by_head[head].square().sum(), (k, v), retain_graph=True)
        group = head if record.index.shape[1] > 1 else 0
        routed = chosen(record.index)[1, group, region]
        read = partition(of_value, grid)[1].flatten(1).ne(0).any(1)
        assert torch.equal(read, routed)
        assert not of_value[0].any()
        if not settings.get("routing_gradient"):  # else each key has its part in the affinities
            assert not partition(of_key, grid)[1][~routed].any()


def dense_attention(record, image, row, column):
    """Softmax over all tokens under a mask, token by token."""
    grid, heads = record.grid, record.heads
    height, width = record.key.shape[1:3]
    region_of = grid.region_of_token(record.key.device)
    region = int(region_of[row * width + column])
    query = record.query[image, row, column].view(heads, -1)
    key = record.key[image].reshape(height * width, heads, -1)
    scores = torch.einsum("hd,thd->ht", query, key) * record.scale
    for head in range(heads):
        group = head if record.index.shape[1] > 1 else 0
        routed = record.index[image, group, region].tolist()
        for token, at in enumerate(region_of.tolist()):
            if at not in routed:
                scores[head, token] = float("-inf")
            elif record.bias is not None:
                scores[head, token] += record.bias[image, group, region, routed.index(at)]
    return scores.softmax(-1).view(heads, height, width)


@pytest.mark.parametrize(("settings", "size"), [case for case in CASES if case.id != "unmasked"])
def test_token_attention_is_a_softmax_under_a_mask(settings, size):
    *_, record = attend(settings, size)
    for row, column in ((0, 0), (size[0] // 2, size[1] - 1), (size[0] - 1, 1)):
        weights = record.token_attention(1, row, column)
        assert weights.shape == (2, *size)
        torch.testing.assert_close(weights.sum((1, 2)), torch.ones(2))
        torch.testing.assert_close(weights, dense_attention(record, 1, row, column))


@pytest.mark.parametrize(("settings", "size"), CASES)
def test_token_attention_gives_the_output(settings, size):
    *_, v, out, record = attend(settings, size)
    for row, column in ((0, size[1] - 1), (size[0] - 1, 0)):
        weights = record.token_attention(0, row, column)
        wanted = torch.einsum("hij,ijhd->hd", weights, v[0].unflatten(-1, (2, 8))).flatten()
        torch.testing.assert_close(out[0, row, column], wanted)


def test_released_padding_is_recorded_with_the_map_it_makes():
    torch.manual_seed(0)
    module = BiLevelRoutingAttention(16, 2, regions=7, topk=20, padding="released")
    with record_routing(module) as records:
        module(torch.randn(1, 8, 8, 16))
    record = records[""]
    assert (record.grid.height, record.grid.width, record.grid.count) == (14, 14, 49)
    torch.testing.assert_close(record.token_attention(0, 3, 3).sum((1, 2)), torch.ones(2))


def test_shapes_of_shared_and_of_separate_choices():
    for settings, groups in (({}, 1), ({"routing_heads": "per_head"}, 2)):
        *_, record = attend({"regions": 3, "topk": 4, **settings}, (6, 6))
        assert record.index.shape == (2, groups, 9, 4)
        assert record.affinity.shape == (2, groups, 9, 9)
        assert record.bias is None
        wanted = record.affinity.topk(4).indices
        assert torch.equal(record.index, wanted)
        assert not any(x.requires_grad for x in (record.affinity, record.query, record.key))


def modules():
    return torch.nn.Sequential(BiLevelRoutingAttention(16, 2, regions=2), BiLevelRoutingAttention(16, 2, regions=2))


def test_recording_changes_nothing_and_ends():
    net, x = modules(), torch.randn(1, 4, 4, 16)
    plain = net(x)
    with record_routing(net) as records:
        assert torch.equal(net(x), plain)
    assert list(records) == ["0", "1"]
    assert all(module.recorder is None for module in net)
    records.clear()
    net(x)
    assert not records


def test_recording_ends_after_an_error():
    net = modules()
    with pytest.raises(ZeroDivisionError), record_routing(net):
        _ = 1 / 0
    assert all(module.recorder is None for module in net)


def test_recordings_may_be_nested():
    net, x = modules(), torch.randn(1, 4, 4, 16)
    with record_routing(net) as outer:
        with record_routing(net[1]) as inner:
            net(x)
        assert (list(outer), list(inner)) == (["0"], [""])
        net(x)
    assert list(outer) == ["0", "1"]
