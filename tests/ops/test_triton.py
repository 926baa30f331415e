"""The backend ``triton``: what it says where it cannot run, how it cuts the work, and that the kernels are right.

The kernels' own tests are ``triton_cases.py``. Triton's interpreter is chosen for a whole process when Triton is
imported, so that they run in another one, and neither disturbs the other.
"""

import importlib
import importlib.util
import itertools
import os
import re
import subprocess
import sys
import types
from collections import defaultdict

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from biformer_lit.errors import ConfigError
from biformer_lit.ops import RegionGrid, attend, triton_attend
from biformer_lit.ops.auto import choose_backend
from biformer_lit.ops.triton_attend import DTYPES, choose_tiles, invert, why_not

CASES = "tests/ops/triton_cases.py"
installed = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
interpreted = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter is on")


def python(root, *arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@installed
@pytest.mark.parametrize("cases", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_the_kernels_under_the_interpreter(root, cases):
    command = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", cases, CASES]
    done = python(root, *command, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_triton_is_imported_when_it_is_needed(root):
    """Importing the package must neither need Triton nor fix whether its interpreter is on."""
    code = "import sys; sys.modules['triton'] = None; import biformer_lit; import biformer_lit.cli"
    done = python(root, "-c", code)
    assert done.returncode == 0, done.stderr


def on_a_gpu(monkeypatch, capability):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    with FakeTensorMode():
        return torch.empty(1, 2, 2, 32, device="cuda")


@installed
@interpreted
def test_it_runs_on_recent_gpus(monkeypatch):
    assert why_not(on_a_gpu(monkeypatch, (8, 0)), heads=1) is None
    assert why_not(on_a_gpu(monkeypatch, (9, 0)), heads=1) is None
    reason = why_not(on_a_gpu(monkeypatch, (7, 5)), heads=1)
    assert reason == "it needs a GPU of compute capability 8.0 (Ampere), this one has 7.5"


def refusal(channels=16, dtype=torch.float32):
    grid = RegionGrid.from_regions(2, 2, (1, 1))
    q = torch.zeros(1, 2, 2, channels, dtype=dtype)
    with pytest.raises(ConfigError) as error:
        attend(q, q, q, torch.zeros(1, 1, 1, dtype=torch.int64), grid, heads=1, scale=1.0, backend="triton")
    assert "\n" not in str(error.value)
    return str(error.value)


@installed
@interpreted
def test_the_processor_is_refused_and_nothing_taken_in_its_place():
    assert refusal() == (
        "backend='triton' cannot run: it needs a CUDA device, and the map is on cpu (Triton's interpreter is off); "
        "use backend='auto'"
    )


def test_without_triton_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert "triton is not installed" in refusal()


def test_types_and_heads_beyond_the_kernels_are_refused():
    assert "in float32, float16 and bfloat16, not in float64" in refusal(dtype=torch.float64)
    assert "a head has 136 channels, more than 128" in refusal(channels=136)


def test_auto_does_not_choose_what_nobody_has_measured():
    grids = [RegionGrid.from_regions(n, n, (7, 7)) for n in (7, 14, 28, 56)]
    for device, dtype in itertools.product(("cpu", "cuda"), DTYPES):
        chosen = {choose_backend(grid, topk, torch.device(device), dtype) for grid in grids for topk in (1, 4, 16, 49)}
        assert "triton" not in chosen


def test_the_inverse_of_a_routing():
    index = torch.tensor([[[2, 0], [0, 2], [2, 3], [2, 0]], [[0, 1], [1, 2], [2, 3], [3, 0]]])
    readers, offsets = invert(index)
    lists = [[readers[n, a:b].tolist() for a, b in offsets[n].unfold(0, 2, 1)] for n in range(2)]
    assert lists == [[[0, 1, 3], [], [0, 1, 2, 3], [2]], [[0, 3], [0, 1], [1, 2], [2, 3]]]


def tiles(size, regions, topk, head_dim=32, itemsize=2):
    found = choose_tiles(RegionGrid.from_regions(size, size, (regions, regions)), topk, head_dim, itemsize)
    return found.group, found.rows, found.columns, found.key_columns


def test_tiles_of_the_released_stages():
    assert tiles(56, 7, 1) == (1, 64, 64, 32)
    assert tiles(28, 7, 4) == (1, 16, 64, 64)
    assert tiles(14, 7, 16) == (16, 64, 64, 32)  # regions of 4 tokens: 16 of them


@pytest.mark.parametrize("itemsize", [2, 4])
@pytest.mark.parametrize("head_dim", [8, 16, 24, 64, 128])
def test_tiles_fit_tensor_cores_and_hold_every_token(head_dim, itemsize):
    for side in (1, 2, 3, 4, 5, 7, 8, 15):
        for count in (1, 2, 7):
            grid = RegionGrid.from_regions(side * count, side * count, (count, count))
            for topk in {1, count, count**2}:
                found = choose_tiles(grid, topk, head_dim, itemsize)
                sizes = (found.rows, found.columns, found.key_columns, found.dim)
                assert all(size >= 16 and size.bit_count() == 1 for size in sizes)
                assert max(found.rows, found.columns) <= 128 // itemsize * 2
                assert found.dim >= head_dim
                assert found.group == 1 or found.group * grid.tokens <= found.rows
                assert found.count(grid) * found.rows >= grid.count * grid.tokens


class Launches(list):
    """Stands for the module of the kernels, and notes with what each is launched."""

    INTERPRETED = types.SimpleNamespace(value=True)

    def __getattr__(self, kernel):
        def launch(*arguments, **constants):
            self.append((kernel, arguments, constants))

        return defaultdict(lambda: launch)  # by the number of programs


def source(kernel, arguments, constants):
    """What Triton would be given to compile for these arguments, as its launcher specialises them."""
    types_ = {"float32": "*fp32", "bfloat16": "*bf16", "float16": "*fp16", "int64": "*i64", "int32": "*i32"}
    signature, values, attributes = dict.fromkeys(constants, "constexpr"), dict(constants), {}
    for i, (name, value) in enumerate(zip(kernel.arg_names, arguments, strict=False)):
        if value is None or (isinstance(value, int) and value == 1):
            signature[name], values[name] = "constexpr", value
            continue
        if isinstance(value, torch.Tensor):
            signature[name] = types_[str(value.dtype).removeprefix("torch.")]
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
        if isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0):
            attributes[(i,)] = [["tt.divisibility", 16]]
    return importlib.import_module("triton.compiler").ASTSource(
        kernel, {name: signature[name] for name in kernel.arg_names}, values, attributes
    )


def compile_all(monkeypatch, folder, capability, case, dtype, bias):
    """All kernels of a forward and a backward, lowered for a GPU that need not be there: {name: compiled}."""
    triton, kernels = (importlib.import_module(name) for name in ("triton", "biformer_lit.ops.triton_kernels"))
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", capability, 32)
    size, regions, topk, head_dim = case
    grid, launches = RegionGrid.from_regions(size, size, (regions, regions)), Launches()
    maps = torch.zeros(1, size, size, 6 * head_dim, dtype=dtype).chunk(3, -1)
    index = torch.zeros(1, grid.count, topk, dtype=torch.int64)
    maps = [x.requires_grad_() for x in maps]
    added = torch.zeros(index.shape, requires_grad=True) if bias else None
    with monkeypatch.context() as patch:
        patch.setattr(triton_attend, "_kernels", lambda: launches)
        attend(*maps, index, grid, heads=2, scale=0.3, bias=added, backend="triton").sum().backward()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(folder))
    compiled = {}
    for name, arguments, constants in launches:
        options = {key: constants.pop(key) for key in ("num_warps", "num_stages", "enable_fp_fusion")}
        kernel = source(getattr(kernels, name), arguments, constants)
        compiled[name] = triton.compile(kernel, target=target, options=options)
    return compiled


KERNELS = {"forward_kernel", "query_gradient_kernel", "key_gradient_kernel", "bias_gradient_kernel"}
# size of the map, S, topk, channels of a head
STAGES = {"stage 1": (56, 7, 1, 32), "stage 2": (28, 7, 4, 32), "stage 3": (14, 7, 16, 32)}
OTHERS = {"wide": (28, 7, 4, 128), "narrow": (14, 7, 4, 24), "long": (60, 4, 4, 64), "full": (16, 4, 16, 64)}


@installed
@interpreted
@pytest.mark.parametrize("stage", ["stage 2", "stage 3"])
def test_the_kernels_compile_for_a_gpu_that_is_not_here(monkeypatch, tmp_path, stage):
    """The interpreter runs what the compiler refuses, such as a name that changes its shape in a loop."""
    compiled = compile_all(monkeypatch, tmp_path, 80, STAGES[stage], torch.bfloat16, bias=True)
    assert set(compiled) == KERNELS
    for kernel in compiled.values():
        assert "mma.sync" in kernel.asm["ptx"]


@installed
@interpreted
@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("case", [*STAGES, *OTHERS])
def test_resources(monkeypatch, tmp_path, capability, dtype, case):
    """Shared memory fits the smallest of the GPUs, and registers hold nearly everything."""
    for bias in (False, True):
        compiled = compile_all(monkeypatch, tmp_path, capability, (STAGES | OTHERS)[case], dtype, bias)
        for name, kernel in compiled.items():
            assert kernel.metadata.shared <= 99 * 1024, name
            registers, stack = registers_of(kernel, tmp_path)
            print(f"{name}: {registers} registers, {stack} bytes spilled, {kernel.metadata.shared} bytes shared")
            assert stack <= 128, name


def registers_of(kernel, folder):
    """Registers of a thread, and bytes of its stack."""
    (folder / "kernel.cubin").write_bytes(kernel.asm["cubin"])
    tool = importlib.import_module("triton").knobs.nvidia.cuobjdump.path
    done = subprocess.run(
        [tool, "--dump-resource-usage", folder / "kernel.cubin"], capture_output=True, text=True, check=True
    )
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", done.stdout).groups()
    return int(registers), int(stack)
