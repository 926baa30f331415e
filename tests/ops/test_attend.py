"""Every backend equals the reference, and the reference equals dense attention under the routing's mask."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from biformer_lit.errors import ConfigError
from biformer_lit.ops import BACKENDS, RegionGrid, attend, partition, route
from biformer_lit.ops.auto import TABLE, choose_backend
from biformer_lit.ops.masked import region_mask

# triton runs on a GPU or under its interpreter, without float64: test_triton.py compares it
FAST = [name for name in BACKENDS if name not in ("auto", "reference", "triton")]
# height, width, (rows, columns) of regions, heads, channels of a head, topk
CASES = [
    (8, 8, (4, 4), 2, 8, 1),
    (14, 14, (7, 7), 2, 4, 16),
    (8, 12, (4, 3), 3, 4, 5),
    (9, 13, (4, 4), 2, 4, 3),
    (8, 8, (7, 7), 1, 8, 16),
    (7, 30, (2, 8), 2, 4, 4),
    (5, 5, (5, 5), 1, 4, 25),
    (6, 6, (1, 1), 2, 4, 1),
]


def ids(case):
    height, width, (rows, columns), heads, _, topk = case
    return f"{height}x{width}-S{rows}x{columns}-h{heads}-k{topk}"


def qkv(height, width, heads, size, dtype=torch.float64, batch=2):
    generator = torch.Generator().manual_seed(height * 100 + width)
    shape = (batch, height, width, heads * size)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for _ in range(3)]


def run(backend, tensors, index, grid, heads, gradient):
    out = attend(*tensors, index, grid, heads=heads, scale=0.3, backend=backend)
    return [out, *torch.autograd.grad(out, tensors, gradient)]


def adversarial(kind, batch, grid, topk):
    """Routings that a trained router may come to: everybody reads the first regions, or each itself."""
    if kind == "hub":
        return torch.arange(topk).expand(batch, grid.count, topk)
    offsets = torch.arange(topk)
    return ((torch.arange(grid.count)[:, None] + offsets) % grid.count).expand(batch, -1, -1)


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])
@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("case", CASES, ids=ids)
@pytest.mark.parametrize("routing", ["topk", "hub", "neighbours"])
def test_backends_equal_the_reference(case, backend, masked, routing):
    height, width, regions, heads, size, topk = case
    grid = RegionGrid.from_regions(height, width, regions, masked=masked)
    topk = min(topk, grid.count)
    tensors = qkv(height, width, heads, size)
    index = route(tensors[0], tensors[1], grid, topk) if routing == "topk" else adversarial(routing, 2, grid, topk)
    gradient = torch.randn(tensors[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for found, wanted in zip(
        run(backend, tensors, index, grid, heads, gradient),
        run("reference", tensors, index, grid, heads, gradient),
        strict=True,
    ):
        assert found.shape == wanted.shape
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_lower_precision(backend, dtype, tolerance):
    grid = RegionGrid.from_regions(14, 14, (7, 7))
    exact = qkv(14, 14, 2, 16)
    index = route(exact[0], exact[1], grid, 4)
    rounded = [t.detach().to(dtype).requires_grad_() for t in exact]
    gradient = torch.ones_like(exact[0])
    truth = run("reference", [t.detach().double().requires_grad_() for t in rounded], index, grid, 2, gradient)
    for found, wanted in zip(run(backend, rounded, index, grid, 2, gradient.to(dtype)), truth, strict=True):
        assert (found.double() - wanted).norm() <= tolerance * wanted.norm()


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_reference_is_dense_attention_under_the_mask(case):
    height, width, regions, heads, size, topk = case
    grid = RegionGrid.from_regions(height, width, regions)
    q, k, v = qkv(height, width, heads, size)
    index = route(q, k, grid, topk)
    dense = [t.flatten(1, 2).unflatten(-1, (heads, size)).transpose(1, 2) for t in (q, k, v)]
    scores = dense[0] @ dense[1].transpose(-2, -1) * 0.3
    scores = scores + region_mask(index, grid, torch.zeros_like(index, dtype=scores.dtype))
    wanted = (scores.softmax(-1) @ dense[2]).transpose(1, 2).reshape(q.shape)
    found = attend(q, k, v, index, grid, heads=heads, scale=0.3, backend="reference")
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", FAST)
def test_gradcheck(backend):
    grid = RegionGrid.from_regions(3, 4, (2, 2))
    tensors = qkv(3, 4, 1, 2, batch=1)
    index = route(tensors[0], tensors[1], grid, 2)
    assert torch.autograd.gradcheck(
        lambda q, k, v: attend(q, k, v, index, grid, heads=1, scale=0.3, backend=backend), tensors
    )


@pytest.mark.parametrize("backend", ["reference", *FAST])
@pytest.mark.parametrize("own_choice", [False, True], ids=["shared", "per-head"])
def test_no_images_give_no_images(backend, own_choice):
    grid = RegionGrid.from_regions(9, 13, (4, 4))
    tensors = qkv(9, 13, 2, 4, batch=0)
    index = route(tensors[0], tensors[1], grid, 3, heads=2 if own_choice else None)
    for found in run(backend, tensors, index, grid, 2, torch.zeros_like(tensors[0])):
        assert found.shape == tensors[0].shape


def test_masked_padding_is_seen_by_nobody():
    """Keys and values of real tokens alone decide: a map embedded in a larger one of other values is not read."""
    grid = RegionGrid.from_regions(9, 9, (4, 4))
    q, k, v = qkv(9, 9, 2, 4)
    everything = torch.arange(grid.count).expand(2, grid.count, grid.count)
    wanted = F.scaled_dot_product_attention(
        *(t.flatten(1, 2).unflatten(-1, (2, 4)).transpose(1, 2) for t in (q, k, v)), scale=0.3
    )
    wanted = wanted.transpose(1, 2).reshape(q.shape)
    for backend in ("reference", *FAST):
        found = attend(q, k, v, everything, grid, heads=2, scale=0.3, backend=backend)
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        (torch.float32, ["gather_sdpa", "gather_sdpa", "masked_sdpa"]),
        (torch.float64, ["gather_sdpa", "gather_sdpa", "masked_sdpa"]),
        (torch.bfloat16, ["gather_matmul", "gather_matmul", "masked_matmul"]),
    ],
)
def test_auto_chooses_by_type_and_routed_share(dtype, wanted):
    stages = [((56, 56), 1), ((28, 28), 4), ((14, 14), 16)]
    grids = [(RegionGrid.from_regions(*size, (7, 7)), topk) for size, topk in stages]
    assert [choose_backend(*g, CPU, dtype) for g in grids] == wanted


def test_auto_writes_no_long_scores_out():
    grid = RegionGrid.from_regions(256, 256, (16, 16))
    assert choose_backend(grid, 1, CPU, torch.bfloat16) == "gather_sdpa"
    grid = RegionGrid.from_regions(64, 64, (16, 16))
    assert choose_backend(grid, 128, CPU, torch.bfloat16) == "masked_sdpa"


def test_the_table_names_backends():
    for rows in TABLE.values():
        assert {"float32", "bfloat16"} == set(rows)
        for row in rows.values():
            assert {row["gather"], row["dense"]} <= set(FAST)
            assert 0 < row["dense_share"] <= 1


def test_unknown_backend_is_refused():
    grid = RegionGrid.from_regions(4, 4, (2, 2))
    q, k, v = qkv(4, 4, 1, 2)
    with pytest.raises(ConfigError, match=r"backend='cuda9' does not exist; choose one of auto, reference"):
        attend(q, k, v, route(q, k, grid, 1), grid, heads=1, scale=1.0, backend="cuda9")


@pytest.mark.parametrize(("height", "width", "regions"), list(itertools.product((4, 7, 9), (4, 10), ((2, 2), (4, 3)))))
def test_partition_puts_every_token_into_its_region(height, width, regions):
    grid = RegionGrid.from_regions(height, width, regions)
    number = torch.arange(1, height * width + 1).view(1, height, width, 1).float()
    region = grid.region_of_token(number.device).view(height, width)
    for r, tokens in enumerate(partition(number, grid)[0, :, :, 0]):
        assert set(tokens[tokens > 0].tolist()) == set(number[0, :, :, 0][region == r].tolist())
    assert grid.count <= regions[0] * regions[1]
