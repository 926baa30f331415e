"""Random numbers depend on the place in a run, and leave no trace elsewhere."""

import random

import numpy as np
import torch

from biformer_lit.common.seeding import base_seed, derive_seed, local_seed, seed_all


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_each_part_of_the_key_counts():
    keys = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", 1), ("0",), (0, "a1")]
    assert len({derive_seed(*key) for key in keys}) == len(keys)
    assert derive_seed(0, "a") == derive_seed(0, "a")


def test_local_seed_repeats_itself_and_leaves_no_trace():
    seed_all(3)
    wanted = draw()
    seed_all(3)
    with local_seed(1, "x"):
        inside = draw()
    assert draw() == wanted
    with local_seed(1, "x"):
        assert draw() == inside
    with local_seed(2, "x"):
        assert draw() != inside


def test_base_seed_is_what_lightning_set(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    assert base_seed() == 17
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert base_seed() == 0
