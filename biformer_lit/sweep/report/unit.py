"""Units of metrics for people: accuracies in percent, their differences in points."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from biformer_lit.sweep.spec.quantities import Quantity

_SHARES = ("acc", "miou", "iou", "map", "f1", "precision", "recall", "auroc")
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Unit:
    """Notation of the values of one metric.

    Args:
        metric: Its name as it is logged.
        scale: What values are multiplied with before they are shown.
        digits: Decimals.
        symbol: After a value.
        difference: After a difference.
    """

    metric: str
    scale: float = 1.0
    digits: int = 4
    symbol: str = ""
    difference: str = ""

    @property
    def title(self) -> str:
        """The metric with its unit, for a column or an axis."""
        return f"{self.metric} ({self.symbol.strip()})" if self.symbol else self.metric

    @property
    def difference_title(self) -> str:
        """The same for differences."""
        return f"difference in {self.metric}" + (f" ({self.difference.strip()})" if self.difference else "")

    def number(self, value: float) -> str:
        """A value without its unit; empty if there is none."""
        return "" if is_missing(value) else f"{self.scale * value:.{self.digits}f}".replace("-", _MINUS)

    def signed(self, value: float) -> str:
        """A difference without its unit, with its sign; empty if there is none."""
        if is_missing(value):
            return ""
        text = f"{self.scale * value:+.{self.digits}f}"
        return text.lstrip("+-") if float(text) == 0 else text.replace("-", _MINUS)

    def interval(self, low: float, high: float) -> str:
        """Both ends of an interval of a difference; empty if there is none."""
        return "" if is_missing(low) or is_missing(high) else f"[{self.signed(low)}, {self.signed(high)}]"


def unit_of(metric: str, values: Iterable[float]) -> Unit:
    """The unit of a metric: percent for what is a share by its name and by all its values, else none.

    Args:
        metric: Its name as it is logged, such as val/acc1.
        values: Values that it took.
    """
    leaf = metric.rpartition("/")[2].lower()
    known = [value for value in values if not is_missing(value)]
    if leaf.startswith(_SHARES) and all(0 <= value <= 1 for value in known):
        return Unit(metric, 100.0, 2, " %", " points")
    return Unit(metric)


def shown(quantity: Quantity, value: float) -> str:
    """Return a quantity's value as tables have it, "" if there is none."""
    return "" if is_missing(value) else quantity.shown(value)


def is_missing(value: object) -> bool:
    """Return whether there is no value: None, NaN or pandas.NA."""
    return bool(pd.isna(value))
