import itertools

import pytest

from biformer_lit.data.sampling import EvalSampler, SampleKey, TrainSampler
from biformer_lit.errors import ConfigError


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def test_shuffled_by_seed_and_epoch():
    sampler = TrainSampler(50, 0, 1, seed=1)
    first, second = epoch_of(sampler, 0), epoch_of(sampler, 1)
    assert sorted(key.index for key in first) == list(range(50))
    assert [key.index for key in first] != [key.index for key in second]
    assert first == epoch_of(TrainSampler(50, 0, 1, seed=1), 0)
    assert {key.epoch for key in second} == {1}
    # neighbouring seeds must not give the orders of neighbouring epochs
    assert [k.index for k in epoch_of(TrainSampler(50, 0, 1, seed=0), 1)] != [key.index for key in first]


def test_ranks_share_one_order():
    alone = epoch_of(TrainSampler(50, 0, 1, seed=1), 3)
    ranks = [epoch_of(TrainSampler(50, rank, 4, seed=1), 3) for rank in range(4)]
    assert [len(keys) for keys in ranks] == [12] * 4
    assert list(itertools.chain(*zip(*ranks, strict=True))) == alone[:48]


def test_the_rows_left_out_differ_from_epoch_to_epoch():
    sampler = TrainSampler(7, 0, 2, seed=0), TrainSampler(7, 1, 2, seed=0)
    missing = {(set(range(7)) - {k.index for s in sampler for k in epoch_of(s, e)}).pop() for e in range(20)}
    assert len(missing) > 3


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_repeats(world_size):
    ranks = [epoch_of(TrainSampler(300, rank, world_size, seed=1, repeats=3), 0) for rank in range(world_size)]
    keys = [key for rank in ranks for key in rank]
    assert len(keys) == len(set(keys)) == 300 // world_size * world_size  # no shorter for being above 256
    assert {key.draw for key in keys} == {0, 1, 2}
    rows = {key.index for key in keys}
    assert len(rows) == 100
    assert {SampleKey(row, 0, draw) for row in rows for draw in range(3)} == set(keys)
    if world_size == 3:
        assert [{key.draw for key in rank} for rank in ranks] == [{0}, {1}, {2}]


@pytest.mark.parametrize("repeats", [1, 3])
def test_skip_holds_for_one_epoch(repeats):
    whole = TrainSampler(30, 1, 2, seed=1, repeats=repeats)
    resumed = TrainSampler(30, 1, 2, seed=1, repeats=repeats)
    resumed.start(epoch=2, skip=5)
    assert len(resumed) == 15  # Lightning counts the batches of the epoch with it
    assert list(resumed) == epoch_of(whole, 2)[5:]
    assert epoch_of(resumed, 2) == epoch_of(whole, 2)[5:]
    assert epoch_of(resumed, 3) == epoch_of(whole, 3)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_evaluation_takes_each_row_once(world_size):
    ranks = [EvalSampler(7, rank, world_size) for rank in range(world_size)]
    assert sorted(row for rank in ranks for row in rank) == list(range(7))
    assert [len(rank) for rank in ranks] == [len(list(rank)) for rank in ranks]


def test_evaluation_needs_a_row_per_process():
    with pytest.raises(ConfigError, match=r"trainer\.devices: 8 processes"):
        EvalSampler(7, 0, 8)
