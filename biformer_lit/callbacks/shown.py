"""Choice of the predicted objects that are shown to people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from biformer_lit.errors import ConfigError

ObjectArrays: TypeAlias = "Mapping[str, np.ndarray[Any, Any]]"
"""Objects of an image as arrays: ``boxes`` (n, 4), x and y of the upper left and the lower right corner, ``labels``
(n,), and maybe ``scores`` (n,), ``crowd`` (n,) and ``masks`` (n, H, W)."""


@dataclass(frozen=True)
class Shown:
    """Choice of the predicted objects that are drawn.

    Args:
        owner: Whose settings these are, for errors.
        min_score: The lowest score.
        most_boxes: How many at most, those of the highest scores.

    Raises:
        ConfigError: On a value out of its range.
    """

    owner: str
    min_score: float
    most_boxes: int

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.min_score < 1:
            raise ConfigError(f"{self.owner}min_score={self.min_score} must be at least 0 and below 1")
        if self.most_boxes < 1:
            raise ConfigError(f"{self.owner}most_boxes={self.most_boxes} must be at least 1")

    def of(self, found: ObjectArrays) -> tuple[ObjectArrays, int]:
        """The objects to draw, and how many have that score, of objects in falling order of their scores."""
        enough = int((found["scores"] >= self.min_score).sum())
        count = min(enough, self.most_boxes)
        return {name: values[:count] for name, values in found.items()}, enough
