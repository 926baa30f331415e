"""From images to logits in evaluation: whole or by windows, at one or several scales, flipped or not."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from biformer_lit.errors import ConfigError
from biformer_lit.heads.head_layers import resize
from biformer_lit.tasks.memory_shortage import within_memory

Network: TypeAlias = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) to logits (N, classes, H, W)."""

_AT_ONCE = 2**26  # logits
_LARGE = 2**22  # pixels of an image that takes a CPU so long that it is said before
_log = logging.getLogger(__name__)
_told: set[str] = set()


@dataclass(frozen=True)
class Inference:
    """Settings of dense predictions in validation, test and predict.

    Args:
        mode: ``whole``: the network sees the image at once; ``slide``: it sees windows, whose logits are averaged
            where they overlap.
        window: Pixels per side of a window; an image that is smaller along a side is taken whole along it.
        stride: Pixels from one window to the next; the last one lies at the border.
        scales: Sizes that each image is resized to, as factors. The class probabilities of several are averaged.
        flip: Whether each image is also seen mirrored.
    """

    mode: Literal["whole", "slide"] = "whole"
    window: int = 512
    stride: int = 341
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: Naming the field.
        """
        object.__setattr__(self, "scales", tuple(self.scales))  # a list, from a checkpoint
        if self.mode not in ("whole", "slide"):
            raise ConfigError(f"inference.mode={self.mode!r} is unknown; use 'whole' or 'slide'")
        if self.window < 1:
            raise ConfigError(f"inference.window={self.window} must be at least 1")
        if not 1 <= self.stride <= self.window:
            raise ConfigError(
                f"inference.stride={self.stride} must be at least 1 and at most the window of {self.window}, or pixels "
                "between the windows would be left out"
            )
        if not self.scales or not all(scale > 0 and math.isfinite(scale) for scale in self.scales):
            raise ConfigError(
                f"inference.scales={list(self.scales)} must be one or more factors above 0, such as [1.0]"
            )

    def logits(self, net: Network, images: Tensor) -> Tensor:
        """Logits of images; logarithms of the averaged probabilities where there are several scales or flips.

        Args:
            net: The network, in evaluation mode.
            images: Images (N, C, H, W).

        Returns:
            Logits (N, classes, H, W); their softmax is the probability of each class in both cases.
        """
        height, width = images.shape[-2:]
        if self.scales == (1.0,) and not self.flip:
            return self._at_one_scale(net, images)
        total: Tensor | None = None
        for scale in self.scales:
            size = (max(round(height * scale), 1), max(round(width * scale), 1))
            scaled = images if size == (height, width) else resize(images, size)
            for mirrored in (False, True) if self.flip else (False,):
                found = self._at_one_scale(net, scaled.flip(-1) if mirrored else scaled)
                found = found.flip(-1) if mirrored else found
                found = found if size == (height, width) else resize(found, (height, width))
                probabilities = found.softmax(1)
                total = probabilities if total is None else total + probabilities
        assert total is not None  # noqa: S101 (there is a scale)
        smallest = torch.finfo(total.dtype).tiny
        return (total / (len(self.scales) * (1 + self.flip))).clamp_min(smallest).log()

    def _at_one_scale(self, net: Network, images: Tensor) -> Tensor:
        if self.mode == "whole":
            return net(images)
        height, width = images.shape[-2:]
        total: Tensor | None = None
        count = images.new_zeros(height, width)
        for top in self.starts(height):
            for left in self.starts(width):
                rows, columns = slice(top, top + self.window), slice(left, left + self.window)
                found = net(images[:, :, rows, columns])
                if total is None:
                    total = found.new_zeros(len(images), found.shape[1], height, width)
                total[:, :, rows, columns] += found
                count[rows, columns] += 1
        assert total is not None  # noqa: S101 (there is a window)
        return total / count.to(total.dtype)

    @property
    def remedy(self) -> str:
        """Settings that need less memory than these."""
        if self.mode == "whole":
            return (
                f"set model.init_args.inference.mode: slide, which looks at windows of {self.window} x {self.window} "
                "pixels, or a smaller data.init_args.eval_batch_size"
            )
        return (
            "set a smaller model.init_args.inference.window, fewer or smaller inference.scales, or a smaller "
            "data.init_args.eval_batch_size"
        )

    def tell_of_large(self, height: int, width: int) -> None:
        """Log once that an image of this size, seen whole, may take long, for which nothing else would be said."""
        if self.mode == "whole" and height * width > _LARGE and "large" not in _told:
            _told.add("large")
            _log.warning(
                "an image of %d x %d pixels is seen whole, which may take minutes, and signals such as Ctrl-C wait for "
                "the operation under way; to be quicker %s",
                width,
                height,
                self.remedy,
            )

    def starts(self, length: int) -> list[int]:
        """First pixels of the windows along a side of this many pixels."""
        last = max(length - self.window, 0)
        return [*range(0, last, self.stride), last]


def resized_rows(logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Logits of an image resized to another size, a few rows at a time where they would take much memory.

    Args:
        logits: Logits (classes, rows, columns).
        size: The wanted rows and columns.

    Yields:
        Which rows, and their logits (classes, these rows, columns).
    """
    height, width = size
    if len(logits) * height * width <= _AT_ONCE:
        yield slice(0, height), logits if logits.shape[1:] == size else resize(logits[None], size)[0]
        return
    step = max(1, _AT_ONCE // (len(logits) * width))
    scale = logits.shape[1] / height
    for start in range(0, height, step):
        rows = torch.arange(start, min(start + step, height), device=logits.device)
        source = ((rows + 0.5) * scale - 0.5).clamp_min(0)  # as torch.nn.functional.interpolate
        above = source.long().clamp_max(logits.shape[1] - 1)
        below = (above + 1).clamp_max(logits.shape[1] - 1)
        share = (source - above)[:, None].to(logits.dtype)
        part = logits[:, above] * (1 - share) + logits[:, below] * share
        yield slice(start, start + len(rows)), resize(part[None], (len(rows), width))[0]


def label_map(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The most probable class of each pixel of an image of ``size``, int64; see :func:`resized_rows`."""
    return torch.cat([part.argmax(0) for _, part in resized_rows(logits, size)])


def logits_by_size(inference: Inference, net: Network, images: Tensor, sizes: Tensor) -> list[Tensor]:
    """Logits of images that were padded to one size, each without its padding.

    The network never sees the padding of a batch: otherwise a prediction would depend on what else is in its batch,
    and so on the batch size and the number of processes.

    Args:
        inference: How.
        net: The network, in evaluation mode.
        images: Images (N, C, H, W), padded to the right and at the bottom.
        sizes: Their rows and columns (N, 2), int64.

    Returns:
        For each image its logits (classes, rows, columns).
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (rows, columns) in enumerate(sizes.tolist()):
        groups.setdefault((rows, columns), []).append(i)
    found: dict[int, Tensor] = {}
    for (rows, columns), members in groups.items():
        together = images[members, :, :rows, :columns]
        inference.tell_of_large(rows, columns)
        with within_memory((len(members), rows, columns), inference.remedy):
            found |= dict(zip(members, inference.logits(net, together), strict=True))
    return [found[i] for i in range(len(images))]
