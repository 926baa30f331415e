"""The figures of a trial besides its objective, one row each.

From a row follow the columns of the results and of the summary, those of the report's tables, TensorBoard's HParams and
Custom Scalars, the axes of the figures, and what ``constraints`` can bound. Where a quantity is measured stands beside
it: what is known ``before`` training comes from :meth:`biformer_lit.sweep.spec.runs.Runs.costs`, what is known
``after`` from the trial's ``result.json``.
"""

import math
from dataclasses import dataclass
from typing import Literal

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Axis:
    """An axis that the objective is drawn against.

    Args:
        figure: Name of the figure.
        title: Of the axis, without the unit.
        unit: In which values are written; without one, they are written in millions or billions.
    """

    figure: str
    title: str
    unit: str = ""


@dataclass(frozen=True)
class Quantity:
    """A figure of a trial.

    Args:
        name: Its name in ``result.json`` and in the tables that programs read.
        title: Of a column for people, with the unit.
        known: Whether it is known before training or only after it.
        of_cell: How the trials of a cell become one figure: the same in all of them, or how they are summed up.
        whole: Whether values are whole numbers.
        less: Whether less of it is better.
        units: How many of its own units make one of the title's.
        digits: Decimals; None writes large numbers in short, as 19.3 M.
        tag: In TensorBoard, below ``cost/``.
        tag_title: There, for people.
        tables: Tables of the report that have it.
        prefix: In the table that a study prints at its end, M for millions or G for billions; None leaves it out.
        axis: The figure that draws the objective against it.
        by_load: Whether trials that share a machine change it.
    """

    name: str
    title: str
    known: Literal["before", "after"]
    of_cell: Literal["same", "mean", "median", "max"]
    tag: str
    tag_title: str
    whole: bool = False
    less: bool = True
    units: float = 1
    digits: int | None = None
    tables: tuple[Literal["cells", "trials"], ...] = ("cells",)
    prefix: Literal["M", "G"] | None = None
    axis: Axis | None = None
    by_load: bool = False

    @property
    def dtype(self) -> Literal["Int64", "float64"]:
        """Type of its column in the table of trials."""
        return "Int64" if self.whole else "float64"

    @property
    def dtype_of_cell(self) -> Literal["Int64", "float64"]:
        """Type of its column in the table of cells."""
        return "float64" if self.of_cell in ("mean", "median") else self.dtype

    def shown(self, value: float) -> str:
        """Return a value as tables for people have it, without the unit that stands in the title."""
        scaled = value / self.units
        return count(scaled) if self.digits is None else f"{scaled:.{self.digits}f}"


def count(value: float, what: str = "") -> str:
    """Return a large number in short: 19.3 M, 2.21 G; "" if it is none."""
    if math.isnan(value):
        return ""
    for bound, prefix in _PREFIXES:
        if abs(value) >= bound:
            return f"{value / bound:.3g} {prefix}{what}"
    return f"{value:.3g} {what}".strip()


QUANTITIES = (
    Quantity(
        "parameters", "parameters", known="before", of_cell="same", whole=True, tag="parameters",
        tag_title="parameters", prefix="M",
    ),
    Quantity(
        "macs", "MACs", known="before", of_cell="same", whole=True, tag="macs", tag_title="MACs of one image",
        prefix="G", axis=Axis("objective_macs", "multiply-adds of one image"),
    ),
    Quantity(
        "images_per_second", "images/s", known="after", of_cell="median", less=False, digits=0,
        tag="images_per_second", tag_title="images/s in training", tables=("cells", "trials"),
        axis=Axis("objective_throughput", "training speed", "images/s"), by_load=True,
    ),
    Quantity(
        "peak_memory_bytes", "memory (GiB)", known="after", of_cell="max", whole=True, units=2**30, digits=2,
        tag="peak_memory_gib", tag_title="peak memory (GiB)",
    ),
    Quantity(
        "wall_seconds", "minutes", known="after", of_cell="mean", units=60, digits=1, tag="wall_minutes",
        tag_title="wall time (minutes)", tables=("trials",),
    ),
)  # fmt: skip
"""All there are, in the order of the tables."""

BOUNDED = tuple(sorted(quantity.name for quantity in QUANTITIES if quantity.known == "before"))
"""Names of those that ``constraints`` can bound: what is known before anything is trained."""


def of_table(table: Literal["cells", "trials"]) -> list[Quantity]:
    """Return the quantities that a table of the report has."""
    return [quantity for quantity in QUANTITIES if table in quantity.tables]


def prefixed(quantity: Quantity, value: float, digits: int) -> str:
    """Return a value in the millions or billions that its ``prefix`` says, without that."""
    size = next(bound for bound, prefix in _PREFIXES if prefix == quantity.prefix)
    return f"{value / size:.{digits}f}"
