"""Several processes on the CPU train what one process trains on the same global batches."""

import math
import os
import subprocess
import sys

import pytest
import torch
from global_batch import CASES, STEPS, train

EQUAL = [case for case in CASES if case not in ("random", "separate", "bfloat16")]


def launch(root, folder, processes, strategy, cases):
    script = root / "tests/global_batch.py"
    done = subprocess.run(
        [sys.executable, script, str(processes), strategy, folder, *cases],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {case: torch.load(folder / f"{case}-{processes}-{strategy}.pt", weights_only=True) for case in cases}


@pytest.fixture(scope="module")
def alone():
    """A function that trains a case in this process, once."""
    known = {}

    def result(case):
        if case not in known:
            known[case] = train(case, 1, "auto")[1]
        return known[case]

    return result


@pytest.fixture(scope="module")
def two(root, tmp_path_factory):
    return launch(root, tmp_path_factory.mktemp("two"), 2, "ddp", list(CASES))


def check_equal(found, wanted, tolerance=1e-5):
    assert wanted["steps"] == STEPS
    if found["ranks"][0] is not None:  # who has only spawned the others has not counted
        assert found["steps"] == STEPS
    assert found["weights"].keys() == wanted["weights"].keys()
    moved = 0
    for name, value in wanted["weights"].items():
        torch.testing.assert_close(found["weights"][name], value, rtol=tolerance, atol=tolerance, msg=name)
    for name, value in wanted["gradients"].items():
        moved += bool(value.abs().max() > 1e-3)
        if found["gradients"]:
            torch.testing.assert_close(found["gradients"][name], value, rtol=tolerance, atol=tolerance, msg=name)
    assert moved > 5  # there was something to compare
    assert found["figures"].keys() == wanted["figures"].keys()
    for name, figure in wanted["figures"].items():
        assert math.isclose(found["figures"][name], figure, rel_tol=tolerance, abs_tol=tolerance), name


@pytest.mark.parametrize("case", EQUAL)
def test_two_processes(two, alone, case):
    """Gradients, weights, BatchNorm's statistics, and the figures of a validation set of uneven shares."""
    check_equal(two[case], alone(case))


def test_two_processes_in_bfloat16(two, alone):
    """Sums of numbers of 8 bits: in another order they differ by their last one."""
    check_equal(two["bfloat16"], alone("bfloat16"), tolerance=1e-2)


def test_without_the_plug_in_batch_norm_sees_its_own_images(two, alone):
    """So that the comparison is known to notice."""
    with pytest.raises(AssertionError, match="stem"):
        check_equal(two["separate"], alone("classification"))


def test_each_process_draws_its_own_numbers(two):
    """DropPath's images and the share of mixing; augmentation goes by the image and its repetition."""
    first, second = two["random"]["ranks"]
    for kind in ("dropped", "mixed"):
        assert len(first[kind]) == len(second[kind]) >= STEPS
        assert first[kind] != second[kind]
    assert any(any(images) for images in first["dropped"])
    assert not set(first["mixed"]) & set(second["mixed"])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
@pytest.mark.parametrize("processes", [2, 4])
def test_more_processes_and_another_way_to_start_them(root, tmp_path, alone, processes, strategy):
    cases = ["classification", "accumulated", "segmentation"]
    found = launch(root, tmp_path, processes, strategy, cases)
    for case in cases:
        check_equal(found[case], alone(case))
