"""What is large: `auto` keeps its masks within bounds, and what does not fit is said before it is tried."""

import pytest
import torch

from biformer_lit.errors import MemoryShortageError
from biformer_lit.ops import RegionGrid, attend, memory, route
from biformer_lit.ops.auto import MOST_MASK_BYTES, choose_backend
from biformer_lit.ops.memory import free_memory, in_gigabytes

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("size", "topk", "wanted"),
    [
        ((64, 128), 16, "masked_sdpa"),  # 1024 x 2048 in the third stage: 8,192 tokens
        ((65, 128), 16, "gather_sdpa"),
        ((228, 342), 16, "gather_sdpa"),  # 3648 x 5472: 24 GB for the mask
        ((912, 1368), 1, "gather_sdpa"),
        ((228, 342), 49, "masked_sdpa"),  # where all see all there is no mask
    ],
)
def test_auto_knows_the_size_of_its_mask(size, topk, wanted):
    grid = RegionGrid.from_regions(*size, (7, 7))
    assert choose_backend(grid, topk, CPU, torch.float32) == wanted
    assert (size[0] * size[1]) ** 2 * 4 > MOST_MASK_BYTES or wanted == "masked_sdpa"
    if topk == 49:
        assert choose_backend(grid, topk, CPU, torch.float32, biased=True) == "gather_sdpa"


@pytest.mark.parametrize("backend", ["masked_sdpa", "masked_matmul"])
def test_a_mask_that_does_not_fit_is_refused_before_it_is_made(backend):
    grid = RegionGrid.from_regions(912, 1368, (7, 7))
    q = torch.zeros(1, 1, 1, 4).expand(1, 912, 1368, 4)
    index = torch.zeros(1, 49, 1, dtype=torch.int64)
    with pytest.raises(
        MemoryShortageError, match=r"^6\.2 TB of memory are needed for which of 1,247,616 tokens sees whi"
    ) as e:
        attend(q, q, q, index, grid, heads=1, scale=1.0, backend=backend)
    assert "take model.init_args.backbone.backend auto or gather_sdpa" in str(e.value)


def test_auto_does_with_little(monkeypatch):
    """A map whose mask has 1.5 GB: the free memory is said to be less, and is not asked for."""
    monkeypatch.setattr(memory, "free_memory", lambda: 10**9)
    grid = RegionGrid.from_regions(136, 140, (7, 7))
    q = torch.randn(1, 136, 140, 4)
    index = route(q, q, grid, 16)
    assert attend(q, q, q, index, grid, heads=1, scale=1.0).shape == q.shape
    with pytest.raises(MemoryShortageError, match=r"^1\.5 GB .* \(1\.0 GB are free\)$"):
        attend(q, q, q, index, grid, heads=1, scale=1.0, backend="masked_sdpa")


def test_what_is_free(monkeypatch, tmp_path):
    assert free_memory() is None or free_memory() > 2**20
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:  4000 kB\nSwapFree: 500 kB\n")
    (tmp_path / "max").write_text("max\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "max")
    assert free_memory() == 4500 * 1024
    (tmp_path / "max").write_text("1000000\n")
    assert free_memory() == 1_000_000
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    assert free_memory() == 1_000_000
    assert in_gigabytes(6.2e12) == "6.2 TB"
