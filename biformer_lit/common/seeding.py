"""Random numbers as a function of the *position* of a run, not of its past.

Everything random in training is drawn from a generator seeded by (base seed, purpose, position): the initial
weights by the seed alone, the augmentation of a sample by the epoch and the sample, DropPath and mixup by the
epoch, the batch and the rank. A run that was killed and resumed therefore draws the very numbers the
uninterrupted run would have drawn, ranks never share a stream, and neither the number of data workers nor an
added layer shifts any other random number.
"""

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def base_seed() -> int:
    """The seed given as ``seed_everything``, 0 if none was set."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def derive_seed(*key: int | str) -> int:
    """A 32-bit seed that depends on every part of ``key`` and nothing else."""
    return int.from_bytes(hashlib.blake2s(repr(key).encode(), digest_size=4).digest(), "little")


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices) in this process."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (timm and torchvision draw from the legacy generator)
    torch.manual_seed(seed)


@contextmanager
def local_seed(*key: int | str) -> Iterator[None]:
    """Seed everything from ``key`` inside the block and put the CPU generators back afterwards."""
    python, numpy, generator = random.getstate(), np.random.get_state(), torch.default_generator.get_state()  # noqa: NPY002
    seed = derive_seed(*key)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would seed the GPUs for good
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.default_generator.set_state(generator)
