"""Checks of the arguments of a data module."""

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
