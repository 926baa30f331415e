"""Entry point of token-to-token attention inside routed regions, and the choice of the backend."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor

from biformer_lit.errors import ConfigError
from biformer_lit.ops.auto import choose_backend
from biformer_lit.ops.gather import attend_gather_matmul, attend_gather_sdpa
from biformer_lit.ops.masked import attend_masked_matmul, attend_masked_sdpa
from biformer_lit.ops.reference import attend_reference
from biformer_lit.ops.regions import RegionGrid, split_heads
from biformer_lit.ops.routed import Routed
from biformer_lit.ops.triton_attend import attend_triton

Backend = Literal["auto", "reference", "gather_sdpa", "gather_matmul", "masked_sdpa", "masked_matmul", "triton"]
BACKENDS: tuple[str, ...] = get_args(Backend)

_ATTEND: dict[str, Callable[[Routed], Tensor]] = {
    "reference": attend_reference,
    "gather_sdpa": attend_gather_sdpa,
    "gather_matmul": attend_gather_matmul,
    "masked_sdpa": attend_masked_sdpa,
    "masked_matmul": attend_masked_matmul,
    "triton": attend_triton,
}


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    index: Tensor,
    grid: RegionGrid,
    *,
    heads: int,
    scale: float,
    bias: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Attention of every token to the tokens of the regions its own region is routed to.

    Args:
        q: Queries (N, H, W, C).
        k: Keys (N, H, W, C).
        v: Values (N, H, W, C).
        index: Routed regions (N, R, k), int64, no region twice in a row; or (N, heads, R, k) where each head has a
            choice of its own.
        grid: How the map is cut; says also whether overhanging tokens are masked.
        heads: Number of heads; divides C.
        scale: Factor on the dot products.
        bias: Added to the dot products of a routed region's tokens, in the shape of ``index``; None adds nothing.
        backend: ``reference`` (slow, the truth), ``gather_sdpa``, ``gather_matmul``, ``masked_sdpa``,
            ``masked_matmul``, ``triton`` (a fused kernel for GPUs), or ``auto`` to choose by device, type and the share
            of the map that is routed; see :mod:`biformer_lit.ops.auto`.

    Returns:
        Attended values (N, H, W, C).

    Raises:
        ConfigError: If the backend is unknown, or cannot run here. Nothing else is taken in its place.
    """
    name: str = backend
    if backend == "auto":
        name = choose_backend(grid, index.shape[-1], q.device, q.dtype, biased=bias is not None)
    if name not in _ATTEND:
        raise ConfigError(f"backend={backend!r} does not exist; choose one of {', '.join(BACKENDS)}")
    if index.ndim == 3:
        return _ATTEND[name](Routed(q, k, v, index, grid, heads, scale, bias))
    # heads with a choice of their own are images with one head
    n, height, width, channels = q.shape
    q, k, v = (split_heads(x, heads).permute(0, 3, 1, 2, 4).flatten(0, 1) for x in (q, k, v))
    bias = None if bias is None else bias.flatten(0, 1)
    out = _ATTEND[name](Routed(q, k, v, index.flatten(0, 1), grid, 1, scale, bias))
    return out.view(n, heads, height, width, channels // heads).permute(0, 2, 3, 1, 4).flatten(3)
