"""Figures of the released code, and the made-up weights they were computed with.

`fixtures/released.json` holds outputs and gradients of the released code (github.com/rayleizhu/BiFormer, commit
1697bbb, MIT), computed in float64 on a CPU with torch 2.15. Its weights and inputs are not stored: each tensor is
drawn from a generator seeded by its name, so that they can be made again here. Long tensors are stored as every
n-th element, which is what `thin` picks.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

FIGURES = json.loads((Path(__file__).parents[1] / "fixtures" / "released.json").read_text())
KEPT = 96  # elements of each stored tensor


def made_up_weights(shapes: dict[str, list[int]], seed: int) -> dict[str, torch.Tensor]:
    """The state dict, in float32 as a checkpoint would hold it."""
    return {key: _made_up(key, shape, seed).float() for key, shape in shapes.items()}


def _made_up(key: str, shape: list[int], seed: int) -> torch.Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros(())
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    noise = np.random.RandomState(int.from_bytes(digest[:4], "little")).standard_normal(shape)
    if key.endswith("running_var"):
        noise = abs(1 + noise / 10)
    elif key.endswith(("bias", "running_mean")):
        noise = noise / 10
    elif len(shape) > 1:
        noise = noise / (2 * np.sqrt(np.prod(shape[1:])))
    else:
        noise = 1 + noise / 10
    return torch.from_numpy(np.asarray(noise))


def made_up_input(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """A float64 input."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def thin(tensor: torch.Tensor) -> torch.Tensor:
    """Every n-th element, `KEPT` of them or all."""
    flat = tensor.detach().double().flatten()
    return flat[:: max(1, len(flat) // KEPT)][:KEPT]


def relative_error(found: torch.Tensor, expected: list[float]) -> float:
    """Norm of the difference over the norm of what was expected, of the stored elements."""
    wanted = torch.tensor(expected, dtype=torch.float64)
    return float((thin(found) - wanted).norm() / wanted.norm())
