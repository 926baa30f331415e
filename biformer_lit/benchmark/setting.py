"""Arguments of all benchmarks: a data type, and another implementation."""

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from biformer_lit.errors import ConfigError

DType: TypeAlias = Literal["float32", "bfloat16"]


def precision(dtype: DType, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16, or nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def find_callable(path: str) -> Callable[..., Any]:
    """Import the callable named by ``module:callable``.

    Raises:
        ConfigError: If there is no such module or no such callable in it.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ConfigError(f"against={path!r} must be module:callable, such as my_file:build")
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ConfigError(f"against={path!r}: {error}; put its folder into PYTHONPATH") from None
    except AttributeError:
        raise ConfigError(f"against={path!r}: {module} has no {name}; name a function of it") from None
    if not callable(found):
        raise ConfigError(f"against={path!r}: {name} cannot be called; name a function that returns a module")
    return found  # type: ignore[no-any-return]


def one_call(module: nn.Module, x: Tensor, dtype: DType, *, train: bool) -> Callable[[], object]:
    """A call of ``module`` on ``x``: its forward without gradients, or forward and backward to everything.

    Args:
        module: Any module with one input and one output.
        x: The input.
        dtype: Type of the products; the weights stay as they are.
        train: With the backward.
    """
    module.train(train)
    device = x.device
    if not train:

        def forward() -> None:
            with torch.inference_mode(), precision(dtype, device):
                module(x)

        return forward
    x = x.requires_grad_(x.is_floating_point())
    with torch.no_grad(), precision(dtype, device):
        weight = torch.randn_like(module(x))

    def forward_and_backward() -> None:
        with precision(dtype, device):
            out = module(x)
        out.backward(weight)
        module.zero_grad(set_to_none=True)
        x.grad = None

    return forward_and_backward
