"""The settings of a network, gathered from where each is declared, and the attention modules made of them."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from biformer_lit.attention import PATTERNS, Attention, Declared, Place
from biformer_lit.errors import ConfigError

PatternName: TypeAlias = Annotated[str, PATTERNS]


def pattern_settings() -> dict[str, Declared]:
    """Settings of all patterns by name; where several have one, it is declared by the first."""
    settings: dict[str, Declared] = {}
    for pattern in PATTERNS.values():
        for setting in pattern.declared_settings():
            settings.setdefault(setting.name, setting)
    return settings


def attention_builder(
    pattern: str | Sequence[str],
    dims: Sequence[int],
    head_dim: int,
    lce: int | Sequence[int],
    given: Mapping[str, Any],
) -> Callable[[int, int], Attention]:
    """A function of (stage, block) that makes the block's attention.

    Args:
        pattern: The pattern; per stage.
        dims: Channels of each stage.
        head_dim: Channels of one head.
        lce: Kernel size of the LCE; per stage.
        given: Settings of patterns by name; the others have their default. Those of patterns that no stage uses are not
            looked at.

    Raises:
        ConfigError: If a setting has not one value for each stage, or the pattern is unknown.
        TypeError: If no pattern has a setting of that name.
    """
    count = len(dims)
    patterns = per_stage("attention", pattern, count)
    for name in patterns:
        if name not in PATTERNS:
            raise ConfigError(f"attention={name!r} is unknown; choose one of {', '.join(PATTERNS)}")
    settings = pattern_settings()
    _refuse_unknown(given, settings)
    lces = per_stage("lce", lce, count)
    own = {name: {setting.name for setting in PATTERNS[name].declared_settings()} for name in set(patterns)}
    values = {
        name: _of_stages(setting, given.get(name, setting.default), patterns)
        for name, setting in settings.items()
        if any(name in names for names in own.values())
    }

    def build(stage: int, block: int) -> Attention:
        kind = patterns[stage]
        place = Place(dims[stage], head_dim, lces[stage], stage, block, last=stage == count - 1)
        return PATTERNS[kind].build(place, **{name: values[name][stage] for name in own[kind]})

    return build


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


def _of_stages(setting: Declared, value: Any, patterns: Sequence[str]) -> list[Any]:
    """The setting's value of each stage.

    Raises:
        ConfigError: If a list has another length, or gives a stage of full attention what has no meaning there.
    """
    if not setting.per_stage:
        return [value] * len(patterns)
    values = per_stage(setting.name, value, len(patterns))
    where_full = None if setting.setting is None else setting.setting.where_full
    if where_full is None or isinstance(value, (str, int, float)):
        return values
    for i, (found, pattern) in enumerate(zip(values, patterns, strict=True), 1):
        if pattern == "full" and found != where_full:
            raise ConfigError(
                f"stage {i}: {setting.name}={found} has no meaning for full attention; write {where_full!r} there, or "
                "attention 'bra'"
            )
    return values


def _refuse_unknown(given: Mapping[str, Any], settings: Mapping[str, Declared]) -> None:
    for name in given:
        if name not in settings:
            close = difflib.get_close_matches(name, settings, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"BiFormer() got an unexpected keyword argument {name!r}{meant}")


def check_layout(
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
