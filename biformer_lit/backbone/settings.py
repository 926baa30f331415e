"""Settings of a network as users give them, made into one value for each stage and checked."""

from collections.abc import Sequence
from typing import Any

from biformer_lit.errors import ConfigError


def per_stage(name: str, value: Any, count: int) -> list[Any]:
    """One value for each of ``count`` stages from one for all or a sequence of them.

    Raises:
        ConfigError: If the sequence has another length.
    """
    if isinstance(value, (str, int, float)) or value is None:
        return [value] * count
    values = [tuple(item) if isinstance(item, list) else item for item in value]
    if len(values) != count:
        raise ConfigError(
            f"{name}={list(value)} has {len(values)} values for {count} stages; give one value, or one for each stage"
        )
    return values


def topk_per_stage(topk: Any, patterns: list[str]) -> list[Any]:
    """``topk`` of each stage; it is meant for the stages that route, the other patterns do not look at theirs.

    Raises:
        ConfigError: If a stage of full attention beside stages that route is given a number.
    """
    if isinstance(topk, (str, int)):
        return [topk] * len(patterns)
    topks = per_stage("topk", topk, len(patterns))
    for i, (value, pattern) in enumerate(zip(topks, patterns, strict=True), 1):
        if pattern == "full" and value != "all":
            raise ConfigError(
                f"stage {i}: topk={value} has no meaning for full attention; write 'all' there, or attention 'bra'"
            )
    return topks


def heads_of(dim: int, head_dim: int) -> int:
    """Number of heads of ``head_dim`` channels.

    Raises:
        ConfigError: If they do not divide the channels.
    """
    if dim % head_dim:
        raise ConfigError(f"{dim} channels do not divide into heads of head_dim={head_dim}; change dims or head_dim")
    return dim // head_dim


def check_scalars(
    depths: Sequence[int],
    dims: Sequence[int],
    head_dim: int,
    cpe: int,
    in_chans: int,
    num_classes: int,
    global_pool: str,
    drop_path_rate: float,
    drop_rate: float,
) -> None:
    """Refuse what no stage can be built from.

    Raises:
        ConfigError: Naming the setting, its value and the remedy.
    """
    if not depths or min(depths) < 1 or len(dims) != len(depths):
        raise ConfigError(f"depths={list(depths)} and dims={list(dims)} must have one positive entry for each stage")
    for name, value, least in (
        ("head_dim", head_dim, 1),
        ("in_chans", in_chans, 1),
        ("num_classes", num_classes, 0),
    ):
        if value < least:
            raise ConfigError(f"{name}={value} must be at least {least}")
    if dims[0] < 2 or dims[0] % 2:
        raise ConfigError(f"dims={list(dims)}: the first stage needs an even number of channels")
    if cpe < 0 or (cpe and cpe % 2 == 0):
        raise ConfigError(f"cpe={cpe} is not a kernel size; use 0 (off) or an odd number such as 3")
    if global_pool not in ("avg", ""):
        raise ConfigError(f"global_pool={global_pool!r} is unknown; use 'avg' or ''")
    for name, rate in (("drop_path_rate", drop_path_rate), ("drop_rate", drop_rate)):
        if not 0 <= rate < 1:
            raise ConfigError(f"{name}={rate} must be at least 0 and below 1")
