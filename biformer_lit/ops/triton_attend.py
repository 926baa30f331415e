"""Routed attention as fused Triton kernels: keys and values are read where they lie and never gathered.

Forward, and dQ, go through each query region's routed regions; dK and dV through each key region's readers, that is
the inverse of the routing. Every element is written once, by one program, in a fixed order: no atomics, so that the
same input gives the same bits. The kernels are ordinary operators to torch (``biformer_lit::routed_attention`` and
its backward), which ``torch.compile`` and ``torch.export`` see through. Triton itself is imported at the first call.
"""

import functools
import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from biformer_lit.errors import ConfigError
from biformer_lit.ops.regions import RegionGrid
from biformer_lit.ops.routed import Routed

LARGEST_HEAD = 128
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# rows of a tile, at most: what four warps multiply at once; and the least that tensor cores take
MOST_ROWS, LEAST_ROWS = 64, 16
MOST_REGIONS = 31  # of a tile: a bit each, without the sign


@dataclass(frozen=True)
class Tiles:
    """Division of the work into programs.

    Attributes:
        group: Regions of a tile; above 1 they are whole and walk over all regions under a mask.
        rows: Tokens of a tile; regions may leave some of them empty.
        columns: Tokens that the tile meets at once.
        key_columns: The same where the tile is of keys, which have two gradients to hold.
        dim: Channels of a head, filled up to a power of two.
        warps: Warps of a program.
    """

    group: int
    rows: int
    columns: int
    key_columns: int
    dim: int
    warps: int

    def count(self, grid: RegionGrid) -> int:
        """Tiles of one head of one image."""
        return -(-grid.count // self.group) * -(-self.group * grid.tokens // self.rows)


def choose_tiles(grid: RegionGrid, topk: int, head_dim: int, itemsize: int) -> Tiles:
    """Tiles for Ampere and Hopper, by counting products and bytes; not yet measured.

    A region alone fills its tile up to 16, 32 or 64 rows, and reads ``topk`` regions. Small regions that together
    fill 64 rows read each key once for all of them, but all R regions: worth it as long as this makes no more than
    twice the products.

    Args:
        grid: How the map is cut.
        topk: Regions that a region reads.
        head_dim: Channels of a head.
        itemsize: Bytes of a number; those of float32 need twice the room, and smaller tiles.
    """
    dim = max(16, _power_of_two(head_dim))
    most = MOST_ROWS if itemsize == 2 else MOST_ROWS // 2
    rows = min(most, max(LEAST_ROWS, _power_of_two(grid.tokens)))
    group = min(most // grid.tokens, grid.count, MOST_REGIONS)
    together = max(LEAST_ROWS, _power_of_two(group * grid.tokens))
    if group < 2 or grid.count * together > 2 * topk * rows * group:
        group, together = 1, rows
    walk = grid.tokens * (topk if group == 1 else grid.count)
    columns = min(most if dim <= 64 else most // 2, max(LEAST_ROWS, _power_of_two(walk)))
    key_columns = max(LEAST_ROWS, columns // 2) if together == most else columns
    # a warp for the 16 rows that tensor cores take, or for 8 rows without them; two at least, to load meanwhile
    return Tiles(group, together, columns, key_columns, dim, max(2, together * itemsize // 32))


def why_not(q: Tensor, heads: int) -> str | None:
    """Return why the kernels cannot run on such queries, in one line; None if they can.

    Args:
        q: Queries (N, H, W, C).
        heads: Number of heads; divides C.
    """
    if q.dtype not in DTYPES:
        return f"it computes in float32, float16 and bfloat16, not in {str(q.dtype).removeprefix('torch.')}"
    if q.shape[-1] // heads > LARGEST_HEAD:
        return f"a head has {q.shape[-1] // heads} channels, more than {LARGEST_HEAD}"
    return _why_not_here(q.device)


def _why_not_here(device: torch.device) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (PyTorch for Linux brings it)"
    if _kernels().INTERPRETED.value:
        return None
    if device.type != "cuda":
        return f"it needs a CUDA device, and the map is on {device.type} (Triton's interpreter is off)"
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 0):
        return f"it needs a GPU of compute capability 8.0 (Ampere), this one has {capability[0]}.{capability[1]}"
    return None


def attend_triton(x: Routed) -> Tensor:
    """Launch the kernels; see :func:`biformer_lit.ops.attend`.

    q, k and v are read in place if they are laid out alike with adjacent channels, as the parts of one projection
    are; else they are copied first. The region numbers in ``index`` are trusted.

    Raises:
        ConfigError: If the kernels cannot run here, saying why.
    """
    cut = (x.grid.region_height, x.grid.region_width, x.grid.masked)
    out: Tensor = _attend(x.q, x.k, x.v, x.index, x.bias, *cut, x.heads, x.scale)[0]
    return out


@torch.library.custom_op("biformer_lit::routed_attention", mutates_args=())
def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    index: Tensor,
    bias: Tensor | None,
    region_height: int,
    region_width: int,
    masked: bool,
    heads: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Attended values (N, H, W, C) and the base-2 log-sum-exp of every query (N, heads, H, W), float32."""
    grid = RegionGrid(q.shape[1], q.shape[2], region_height, region_width, masked)
    call = _Call.of(Routed(q, k, v, index, grid, heads, scale, bias))
    out, lse = _new_map(q), _statistic(q, heads)
    call.tiled("forward_kernel", *call.qkv, call.index, call.meets(), call.table, out, lse, masked=masked)
    return out, lse


@torch.library.custom_op("biformer_lit::routed_attention_backward", mutates_args=())
def _attend_backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    index: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    region_height: int,
    region_width: int,
    masked: bool,
    heads: int,
    scale: float,
    bias_wanted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k and v (N, H, W, C) and of the bias (N, R, k); the last is empty where it is not wanted."""
    grid = RegionGrid(q.shape[1], q.shape[2], region_height, region_width, masked)
    call = _Call.of(Routed(q, k, v, index, grid, heads, scale, bias))
    gradient, delta = gradient.contiguous(), _statistic(q, heads)
    dq, dk, dv = _new_map(q), _new_map(q), _new_map(q)
    inputs, statistics = (gradient, *call.qkv), (call.table, lse, delta)
    call.tiled(
        "query_gradient_kernel", *inputs, call.index, call.meets(), *statistics, dq, masked=masked, passes=call.passes
    )
    routing = (*(invert(index) if call.tiles.group == 1 else (None, None)), call.meets(inverse=True))
    columns = call.tiles.key_columns
    call.tiled("key_gradient_kernel", *inputs, *routing, *statistics, dk, dv, block_columns=columns)
    if bias is None or not bias_wanted:
        return dq, dk, dv, q.new_empty(0)
    dbias = torch.empty(index.shape, dtype=torch.float32, device=q.device)
    call.by_route("bias_gradient_kernel", *inputs, call.index, *statistics, dbias, masked=masked)
    return dq, dk, dv, dbias.to(bias.dtype)


@_attend.register_fake
def _(q: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return _new_map(q), _statistic(q, heads=others[-2])


@_attend_backward.register_fake
def _(_: Tensor, q: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    index, bias, wanted = others[2], others[3], others[-1]
    dbias = q.new_empty(0) if bias is None or not wanted else bias.new_empty(index.shape)
    return _new_map(q), _new_map(q), _new_map(q), dbias


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, index, bias, *ctx.settings = inputs
    ctx.save_for_backward(q, k, v, index, bias, output[1])
    ctx.set_materialize_grads(False)  # or a gradient of zeros is made for the log-sum-exp


def _differentiate(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad[4]
    dq, dk, dv, dbias = _attend_backward(gradient, *ctx.saved_tensors, *ctx.settings, wanted)
    return dq, dk, dv, None, dbias if wanted else None, *[None] * len(ctx.settings)


_attend.register_autograd(_differentiate, setup_context=_keep)


def invert(index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the readers of each region: the inverse of the routing.

    Args:
        index: Routed regions (N, R, k).

    Returns:
        Query regions (N, R * k), those that read region 0 first, each time in ascending order; and where in them the
        readers of each region begin, (N, R + 1), the last being where they end. Both int64.
    """
    n, regions, topk = index.shape
    read, order = index.flatten(1).sort(dim=1, stable=True)
    bounds = torch.arange(regions + 1, device=index.device).expand(n, -1).contiguous()
    return order // topk, torch.searchsorted(read, bounds)


def meetings(index: Tensor, group: int, *, inverse: bool = False) -> Tensor:
    """Return the regions that each group of regions reads, or is read by.

    Args:
        index: Routed regions (N, R, k).
        group: Regions of a group, at most 31; they follow each other, and the last group may have fewer.
        inverse: Whether it is the groups that are read.

    Returns:
        (N, groups, R), int32: bit i is set where region i of the group reads the region, or is read by it.
    """
    n, regions, _ = index.shape
    reads = torch.zeros(n, regions, regions, dtype=torch.int32, device=index.device).scatter_(2, index, 1)
    reads = F.pad(reads.transpose(1, 2) if inverse else reads, (0, 0, 0, -regions % group))
    bits = 1 << torch.arange(group, dtype=torch.int32, device=index.device)
    return (reads.reshape(n, -1, group, regions) * bits[:, None]).sum(2, dtype=torch.int32)


@dataclass(frozen=True)
class _Call:
    """Arguments of all kernels of one call."""

    qkv: tuple[Tensor, ...]
    spacing: tuple[int, int]
    index: Tensor
    table: Tensor | None
    grid: RegionGrid
    heads: int
    scale: float
    tiles: Tiles

    @classmethod
    def of(cls, x: Routed) -> "_Call":
        """The call for what is routed, checked."""
        reason = why_not(x.q, x.heads)
        if reason is not None:
            raise ConfigError(f"backend='triton' cannot run: {reason}; use backend='auto'")
        q, grid, table = x.q, x.grid, None
        if x.bias is not None:
            table = torch.zeros(len(q), grid.count, grid.count, device=q.device).scatter_(2, x.index, x.bias.float())
        qkv, spacing = (q, x.k, x.v), _spacing(q)
        if spacing is None or not spacing == _spacing(x.k) == _spacing(x.v):
            qkv, spacing = (q.contiguous(), x.k.contiguous(), x.v.contiguous()), (q.shape[1:].numel(), q.shape[3])
        tiles = choose_tiles(grid, x.index.shape[2], q.shape[3] // x.heads, q.element_size())
        return cls(qkv, spacing, x.index.contiguous(), table, grid, x.heads, x.scale, tiles)

    def meets(self, *, inverse: bool = False) -> Tensor | None:
        """:func:`meetings` of the groups; None where a tile holds one region only."""
        return meetings(self.index, self.tiles.group, inverse=inverse) if self.tiles.group > 1 else None

    @property
    def passes(self) -> int:
        """Passes over the keys that the queries' gradient takes: one where all of them are in one tile."""
        read = self.index.shape[2] if self.tiles.group == 1 else self.grid.count
        return 1 if read * self.grid.tokens <= self.tiles.columns else 2

    def tiled(self, kernel: str, *tensors: Tensor | None, **more: int) -> None:
        """Launch a kernel that has a program for each tile, head and image."""
        tiles = self.tiles
        programs = len(self.index) * self.heads * tiles.count(self.grid)
        cut = {"group": tiles.group, "block_rows": tiles.rows, "block_columns": tiles.columns, "num_warps": tiles.warps}
        self._launch(kernel, programs, (*tensors, *self._sizes), cut | more)

    def by_route(self, kernel: str, *tensors: Tensor | None, **more: int) -> None:
        """Launch a kernel that has a program for each routed region."""
        block = min(MOST_ROWS // self.qkv[0].element_size(), max(LEAST_ROWS, _power_of_two(self.grid.tokens)))
        self._launch(kernel, self.index.numel(), (*tensors, *self._sizes), {"block": block, "num_warps": 2} | more)

    @property
    def _sizes(self) -> tuple[Any, ...]:
        grid = self.grid
        return (self.scale, *self.spacing, grid.height, grid.width, self.index.shape[2], self.heads)

    def _launch(self, kernel: str, programs: int, arguments: tuple[Any, ...], constants: dict[str, int]) -> None:
        grid = self.grid
        if programs == 0:  # an empty batch
            return
        with torch.cuda.device_of(self.qkv[0]):
            getattr(_kernels(), kernel)[(programs,)](
                *arguments,
                region_height=grid.region_height,
                region_width=grid.region_width,
                head_dim=self.qkv[0].shape[3] // self.heads,
                block_dim=self.tiles.dim,
                num_stages=2,
                enable_fp_fusion=True,  # Triton's default changes from release to release
                **constants,
            )


def _spacing(x: Tensor) -> tuple[int, int] | None:
    """Return the strides of images and pixels of a map; None if either is not one number, or channels are apart."""
    _, height, width, channels = x.shape
    images, rows, columns, adjacent = x.stride()
    if (channels > 1 and adjacent != 1) or (height > 1 and width > 1 and rows != width * columns):
        return None
    return images, columns if width > 1 else rows


def _new_map(q: Tensor) -> Tensor:
    return q.new_empty(q.shape)


def _statistic(q: Tensor, heads: int) -> Tensor:
    n, height, width, _ = q.shape
    return torch.empty((n, heads, height, width), dtype=torch.float32, device=q.device)


def _power_of_two(x: int) -> int:
    """The smallest power of two that is not below ``x``."""
    return 1 << (x - 1).bit_length()


@functools.cache
def _kernels() -> ModuleType:
    return importlib.import_module("biformer_lit.ops.triton_kernels")
