"""Checks of the arguments of a data module."""

from collections.abc import Sequence

from biformer_lit.errors import ConfigError


def require(good: bool, argument: str, value: object, problem: str) -> None:
    """Refuse an argument.

    Args:
        good: Whether the value can be used.
        argument: Name of the argument of the data module.
        value: Its value.
        problem: What is wrong and what is right, continuing a sentence that begins with the value.

    Raises:
        ConfigError: Unless ``good``.
    """
    if not good:
        raise ConfigError(f"data.init_args.{argument}: {value!r} {problem}")


def require_normalisation(mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse what cannot normalise images of three channels."""
    require(len(mean) == 3, "mean", mean, "must be three numbers, one per channel")
    require(len(std) == 3 and min(std) > 0, "std", std, "must be three numbers above 0, one per channel")
