"""Checks of the arguments of a data module."""

from typing import Any

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


def check_loading(module: Any, *, named: bool) -> None:
    """Refuse arguments of ``HFDataModule`` that are out of their range.

    Args:
        module: The data module.
        named: Whether its data set is one that a name stands for.

    Raises:
        ConfigError: Naming the first of them.
    """
    require(bool(module.dataset), "dataset", module.dataset, "must name a data set")
    if named:
        for name in ("config_name", "revision"):
            value = getattr(module, name)
            require(value is None, name, value, "is for data sets on the hub or in a folder; leave it out")
    require(0 < module.val_fraction < 1, "val_fraction", module.val_fraction, "must lie between 0 and 1")
    require(module.split_seed >= 0, "split_seed", module.split_seed, "must not be negative")
    require(module.shuffle_buffer >= 1, "shuffle_buffer", module.shuffle_buffer, "must be 1 or more")
    require(module.batch_size >= 1, "batch_size", module.batch_size, "must be 1 or more")
    require(module.eval_batch_size >= 1, "eval_batch_size", module.eval_batch_size, "must be 1 or more")
    workers, bad = module.num_workers, module.on_bad_image
    require(workers is None or workers >= 0, "num_workers", workers, "must not be negative")
    require(bad in {"error", "skip"}, "on_bad_image", bad, "must be error or skip")
