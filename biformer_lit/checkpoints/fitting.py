"""Check whether weights fit a network, reported in one line."""

from collections.abc import Mapping
from typing import Any

from torch import nn


def check_fits(model: nn.Module, state_dict: Mapping[str, Any]) -> str | None:
    """Return why ``state_dict`` does not fit ``model``, as one readable line, or None if it fits."""
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    return describe_misfit(own, {key: tuple(value.shape) for key, value in state_dict.items()})


def describe_misfit(own: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return how given shapes differ from a model's own, as one readable line, or None if they do not."""
    problems = []
    for what, keys in (
        ("missing", [key for key in own if key not in given]),
        ("unknown", [key for key in given if key not in own]),
    ):
        if keys:
            problems.append(f"{len(keys)} {what} ({_some(keys)})")
    shapes = [f"{key} {given[key]} instead of {own[key]}" for key in own if given.get(key, own[key]) != own[key]]
    if shapes:
        problems.append(f"{len(shapes)} of another shape ({_some(shapes)})")
    if not problems:
        return None
    return f"the weights do not fit this model, nothing was loaded: {'; '.join(problems)}"


def _some(items: list[str], most: int = 3) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
