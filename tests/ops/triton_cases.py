"""The Triton kernels against the reference, wherever they run: under Triton's interpreter, or on a GPU.

``test_triton.py`` runs this file in a process of its own, because the interpreter is switched on before Triton is
imported, for good. On a machine with a GPU: ``pytest tests/ops/triton_cases.py``.
"""

import os

import pytest
import torch

from biformer_lit.attention import BiLevelRoutingAttention
from biformer_lit.errors import ConfigError
from biformer_lit.ops import RegionGrid, attend, route
from biformer_lit.ops.triton_attend import choose_tiles

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
if DEVICE == "cuda" and not torch.cuda.is_available():
    pytest.skip("no CUDA device, and TRITON_INTERPRET=1 is not set", allow_module_level=True)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 3e-2}

# height, width, (rows, columns) of regions, heads, channels of a head, topk
ALONE = [  # a tile holds one region, or a part of it
    (6, 8, (3, 4), 1, 16, 1),  # t = 4
    (12, 9, (4, 3), 1, 32, 2),  # t = 9
    (8, 12, (2, 3), 2, 48, 2),  # t = 16, head not a power of two
    (10, 10, (2, 2), 1, 64, 1),  # t = 25
    (16, 8, (2, 1), 1, 128, 2),  # t = 64
    (9, 18, (1, 2), 1, 24, 1),  # t = 81, more than a tile
]
TOGETHER = [  # a tile holds several regions
    (3, 4, (3, 4), 2, 16, 3),  # t = 1
    (10, 10, (5, 5), 1, 32, 6),  # t = 4, groups of 8 and a last one of 1
    (6, 9, (2, 3), 1, 32, 6),  # t = 9, all regions read
    (8, 8, (2, 2), 1, 16, 4),  # t = 16, all regions read
]
OVERHANGING = [
    (9, 7, (4, 2), 1, 16, 2),  # t = 12, alone
    (5, 8, (4, 7), 1, 16, 6),  # t = 4, together
    (7, 24, (3, 1), 1, 16, 2),  # t = 72: a tile with nothing but overhang
]

# what repeats is left to the slow tests where every element is interpreted
REPEATS = [pytest.mark.slow] if DEVICE == "cpu" else []


def some(cases, kept):
    """The cases as parameters, of which those that are not kept repeat the others."""
    return [pytest.param(case, id=ids(case), marks=[] if case in kept else REPEATS) for case in cases]


def ids(case):
    height, width, (rows, columns), heads, size, topk = case
    return f"{height}x{width}-S{rows}x{columns}-h{heads}x{size}-k{topk}"


def grid_of(case, masked=True):
    return RegionGrid.from_regions(*case[:3], masked=masked)


def draw(case, grid, dtype=torch.float32, routing="topk", bias=True):
    """q, k and v as parts of one projection, the routing, a bias in float32, and the gradient of the output.

    One image of the larger sizes only: the interpreter takes a millisecond for each line of each program.
    """
    height, width, _, heads, size, topk = case
    batch = 2 if height * width <= 64 else 1
    generator = torch.Generator().manual_seed(height * 100 + width)
    projected = torch.randn(batch, height, width, 3 * heads * size, generator=generator).to(DEVICE, dtype)
    q, k, v = projected.chunk(3, dim=-1)
    topk = min(topk, grid.count)
    if routing == "hub":  # everybody reads the first regions, nobody the others
        index = torch.arange(topk, device=DEVICE).expand(batch, grid.count, topk)
    else:
        index = route(q, k, grid, topk)
    added = torch.randn(index.shape, generator=generator).to(DEVICE) if bias else None
    gradient = torch.randn(q.shape, generator=generator).to(DEVICE, dtype)
    return (q, k, v), index, added, gradient


def run(backend, maps, index, grid, heads, bias, gradient):
    """The output and all gradients, of q, k, v, and of the bias where there is one."""
    tensors = [x.detach().requires_grad_() for x in (*maps, bias) if x is not None]
    added = tensors[3] if bias is not None else None
    out = attend(*tensors[:3], index, grid, heads=heads, scale=0.3, bias=added, backend=backend)
    return [out, *torch.autograd.grad(out, tensors, gradient)]


def assert_equal(found, wanted, tolerance):
    for name, x, y in zip(("out", "dq", "dk", "dv", "dbias"), found, wanted, strict=False):
        assert x.shape == y.shape
        error = ((x.double() - y).norm() / y.norm()).item()
        assert error <= tolerance, f"{name}: {error:.1e}"


def check(case, grid, dtype=torch.float32, routing="topk", bias=True):
    maps, index, added, gradient = draw(case, grid, dtype, routing, bias)
    found = run("triton", maps, index, grid, case[3], added, gradient)
    exact = [x if x is None else x.double() for x in (*maps, added, gradient)]
    wanted = run("reference", exact[:3], index, grid, case[3], *exact[3:])
    assert found[0].is_contiguous()
    assert [x.dtype for x in found] == [dtype] * 4 + [torch.float32] * bias
    assert_equal(found, wanted, TOLERANCE[dtype])


@pytest.mark.parametrize("case", ALONE + TOGETHER, ids=ids)
def test_kernels_equal_the_reference(case):
    grid = grid_of(case)
    assert (choose_tiles(grid, case[5], case[4], itemsize=4).group > 1) == (case in TOGETHER)
    check(case, grid, bias=False)


# with one region read, the bias is the same for all keys and changes nothing
@pytest.mark.parametrize(
    "case", some([case for case in ALONE + TOGETHER if case[5] > 1], [ALONE[1], ALONE[4], TOGETHER[0]])
)
def test_bias(case):
    check(case, grid_of(case), bias=True)


@pytest.mark.parametrize(
    ("case", "masked"),
    [pytest.param(case, True, id=f"{ids(case)}-masked") for case in OVERHANGING]
    + [
        pytest.param(case, False, id=f"{ids(case)}-unmasked", marks=REPEATS if number else [])
        for number, case in enumerate(OVERHANGING)
    ],
)
def test_overhang(case, masked):
    check(case, grid_of(case, masked), bias=case is not OVERHANGING[2])  # which takes seconds as it is


def test_more_regions_than_asked_for():
    """The released channels-first padding: regions of floor(size / S) tokens, zero keys take part."""
    case = (9, 8, (4, 3), 1, 16, 3)
    check(case, RegionGrid.from_regions(*case[:3], floor=True, masked=False))


@pytest.mark.parametrize("case", [ALONE[1], TOGETHER[0], OVERHANGING[0]], ids=ids)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_lower_precision(case, dtype):
    check(case, grid_of(case), dtype)


@pytest.mark.parametrize("case", [ALONE[0], ALONE[2], TOGETHER[0], OVERHANGING[1]], ids=ids)
def test_all_read_the_same_regions(case):
    check(case, grid_of(case), routing="hub", bias=False)


@pytest.mark.parametrize("case", [ALONE[1], TOGETHER[0], OVERHANGING[0]], ids=ids)
def test_every_element_is_written(case, monkeypatch):
    """Memory is handed out full of NaN; also regions that nobody reads have a gradient, of zeros."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(1, device=DEVICE).isnan()
        grid = grid_of(case)
        maps, index, bias, gradient = draw(case, grid, routing="hub")
        found = run("triton", maps, index, grid, case[3], bias, gradient)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(x.isfinite().all() for x in found)
    unread = grid.region_of_token(torch.device(DEVICE)).view(grid.height, grid.width) >= case[5]
    assert unread.any() == (case[5] < grid.count)
    assert all((x[:, unread] == 0).all() for x in found[2:4])


def test_the_same_input_gives_the_same_bits():
    case = ALONE[1]
    drawn = draw(case, grid_of(case), torch.bfloat16, "hub")
    first, second = (run("triton", *drawn[:2], grid_of(case), case[3], *drawn[2:]) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (4, 6)], ids=str)
@pytest.mark.parametrize("layout", ["apart", "channels_first", "cropped"])
def test_layouts(shape, layout):
    grid = RegionGrid.from_regions(*shape, (1, 1))
    maps = torch.randn(3, 1, 16, 8, 8, device=DEVICE).unbind()
    if layout == "apart":
        maps = [x.permute(0, 2, 3, 1)[:, : shape[0], : shape[1]].contiguous() for x in maps]
    elif layout == "cropped":
        maps = [x.permute(0, 2, 3, 1).contiguous()[:, : shape[0], : shape[1]] for x in maps]
    else:
        maps = [x[:, :, : shape[0], : shape[1]].permute(0, 2, 3, 1) for x in maps]
    index = torch.zeros(1, 1, 1, dtype=torch.int64, device=DEVICE)
    gradient = torch.ones_like(maps[0]).cumsum(1)
    found = run("triton", maps, index, grid, 1, None, gradient)
    wanted = run("reference", [x.double() for x in maps], index, grid, 1, None, gradient.double())
    for x, y in zip(found, wanted, strict=True):
        torch.testing.assert_close(x.double(), y, rtol=1e-5, atol=1e-5)


def test_a_choice_for_each_head():
    grid = RegionGrid.from_regions(4, 6, (2, 2))
    maps = torch.randn(3, 2, 4, 6, 32, device=DEVICE).unbind()
    index = route(*maps[:2], grid, 2, heads=2)
    bias, gradient = torch.randn(index.shape, device=DEVICE), torch.randn_like(maps[0])
    found = run("triton", maps, index, grid, 2, bias, gradient)
    exact = [x.double() for x in (*maps, bias, gradient)]
    assert_equal(found, run("reference", exact[:3], index, grid, 2, *exact[3:]), 1e-5)


def test_large_scores_do_not_overflow():
    case = OVERHANGING[0]
    grid = grid_of(case)
    maps, index, bias, gradient = draw(case, grid)
    found = run("triton", [x * 30 for x in maps], index, grid, case[3], bias * 1000, gradient)
    exact = [(x * 30).double() for x in maps]
    wanted = run("reference", exact, index, grid, case[3], (bias * 1000).double(), gradient.double())
    assert_equal(found[:1], wanted[:1], 1e-4)
    assert all(x.isfinite().all() for x in found)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck asks for it
@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
def test_torch_accepts_the_operators(bias):
    case, operators = (3, 2, (2, 1), 1, 16, 2), torch.ops.biformer_lit
    maps, index, added, gradient = draw(case, grid_of(case), bias=bias)
    settings = (2, 2, True, case[3], 0.3)
    lse = operators.routed_attention(*maps, index, added, *settings)[1]
    assert lse.shape == (2, case[3], 3, 2)
    torch.library.opcheck(
        operators.routed_attention_backward.default, (gradient, *maps, index, added, lse, *settings, bias)
    )
    tensors = [x if x is None else x.detach().requires_grad_() for x in (*maps, added)]
    torch.library.opcheck(operators.routed_attention.default, (*tensors[:3], index, tensors[3], *settings))


def module(**settings):
    torch.manual_seed(0)
    settings = {"topk": 2, "regions": 2, "backend": "triton"} | settings
    return BiLevelRoutingAttention(32, 2, **settings).to(DEVICE)


@pytest.mark.parametrize("dynamic", [pytest.param(False, id="static", marks=REPEATS), pytest.param(True, id="dynamic")])
def test_compiles_without_breaks(dynamic):
    eager, maps = module(routing_gradient=True), [torch.randn(1, n, 4, 32, device=DEVICE) for n in (4, 6)]
    compiled = torch.compile(eager, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for x in maps:
        outputs = []
        for model in (eager, compiled):
            eager.zero_grad()
            out = model(x)
            out.square().sum().backward()
            outputs.append([out, *(p.grad.clone() for p in eager.parameters())])
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)


def test_exports():
    eager, x = module().eval(), torch.randn(1, 6, 6, 32, device=DEVICE)
    program = torch.export.export(eager, (x,))
    assert "biformer_lit.routed_attention" in str(program.graph)
    torch.testing.assert_close(program.module()(x), eager(x))


def test_autocast():
    models = [module(backend=backend, routing_gradient=True) for backend in ("triton", "reference")]
    x = torch.randn(2, 6, 6, 32, device=DEVICE)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        found = models[0](x)
    found.sum().backward()
    assert found.dtype == torch.bfloat16
    wanted = models[1].double()(x.double())
    wanted.sum().backward()
    pairs = [(p.grad, q.grad) for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True)]
    for y, z in [(found, wanted), *pairs]:
        assert (y.double() - z).norm() <= 3e-2 * z.norm()


def test_what_it_cannot_do_is_refused():
    grid = RegionGrid.from_regions(2, 2, (1, 1))
    index = torch.zeros(1, 1, 1, dtype=torch.int64, device=DEVICE)
    for x, message in [
        (torch.zeros(1, 2, 2, 8, dtype=torch.float64), r"float32, float16 and bfloat16, not in float64; use backend="),
        (torch.zeros(1, 2, 2, 144), r"a head has 144 channels, more than 128"),
    ]:
        with pytest.raises(ConfigError, match=message):
            attend(*[x.to(DEVICE)] * 3, index, grid, heads=1, scale=1.0, backend="triton")
