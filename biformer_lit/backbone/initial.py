"""Initial weights, each drawn from the seed and its own name.

So the weights that two networks have in common are the same for the same seed, whatever else one of them has: adding
LCE, or a pattern with parameters of its own, shifts nobody's random numbers. They are drawn on the CPU, so that they do
not depend on the device either.
"""

import math

import torch
from torch import Tensor, nn

from biformer_lit.common.seeding import derive_seed


def fresh_seed() -> int:
    """A seed from torch's CPU generator, so that ``torch.manual_seed`` decides the weights."""
    return int(torch.empty((), dtype=torch.int64, device="cpu").random_(2**63 - 1))


def draw_weights(module: nn.Module, seed: int, prefix: str = "") -> None:
    """Draw new weights for ``module`` and all it contains.

    Linear layers as released (truncated normal of 0.02, no bias), convolutions as torch does by default, which the
    release leaves them to. Norms keep the ones and zeros they are made with.

    Args:
        module: A network or a part of one.
        seed: What to draw from, together with the names.
        prefix: The part's name in its network.
    """
    for name, part in module.named_modules():
        generator = torch.Generator("cpu").manual_seed(derive_seed(seed, prefix + name))
        if isinstance(part, nn.Linear):
            _fill(part.weight, _truncated_normal(part.weight, generator))
            _zero(part.bias)
        elif isinstance(part, nn.Conv2d):
            bound = 1 / math.sqrt(part.weight[0].numel())  # torch's Kaiming with a = sqrt(5) comes to this
            for parameter in (part.weight, part.bias):
                if parameter is not None:
                    _fill(parameter, _like(parameter).uniform_(-bound, bound, generator=generator))
        elif (draw := getattr(part, "draw_buffers", None)) is not None:
            draw(generator)


def _like(parameter: Tensor) -> Tensor:
    return torch.empty(parameter.shape, device="meta" if parameter.is_meta else "cpu")


def _truncated_normal(parameter: Tensor, generator: torch.Generator) -> Tensor:
    return nn.init.trunc_normal_(_like(parameter), std=0.02, generator=generator)


@torch.no_grad()
def _fill(parameter: Tensor, values: Tensor) -> None:
    parameter.copy_(values)


@torch.no_grad()
def _zero(parameter: Tensor | None) -> None:
    if parameter is not None:
        parameter.zero_()
