"""The columns by which a study's trials differ, with the types of their values."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from biformer_lit.sweep.spec.cell_labels import label_of
from biformer_lit.sweep.spec.study_groups import Range
from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.sweep.trials.jobs import Job


@dataclass(frozen=True)
class Column:
    """A column of the study's table.

    Args:
        kind: Of its values.
        labels: All that there can be; none where they are too many, or not known beforehand.
        bounds: Of numbers, the least and the greatest.
    """

    kind: Literal["number", "boolean", "text"]
    labels: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None

    def value(self, label: str) -> bool | float | str:
        """Return the value of a label."""
        if self.kind == "text":
            return label
        return label == "true" if self.kind == "boolean" else float(label)


def columns_of(spec: StudySpec) -> dict[str, Column]:
    """The columns by which a study's trials differ: the cell, its factors, what a search draws, and the seed."""
    # the seeds by which a search is confirmed are beyond spec.seeds, and a value that is not listed cannot be chosen
    columns = {"cell": Column("text", tuple(spec.cells)), "seed": Column("number")}
    columns |= {name: Column(_kind(labels), tuple(labels)) for name, labels in spec.factors.items()}
    return columns | {name: _column(drawn) for name, drawn in spec.space.items()}


def _kind(labels: Mapping[str, Mapping[str, Any]]) -> Literal["number", "boolean", "text"]:
    """Numbers and booleans where each label is the text of one, and of nothing else."""
    values = []
    for label, settings in labels.items():
        if len(settings) != 1 or label_of(value := next(iter(settings.values()))) != label:
            return "text"
        values.append(value)
    if all(isinstance(value, bool) for value in values):
        return "boolean"
    return "number" if all(type(value) in (int, float) for value in values) else "text"


def _column(drawn: Range) -> Column:
    return Column("number", bounds=(float(drawn.low), float(drawn.high)))


def values_of(columns: Mapping[str, Column], job: Job) -> dict[str, bool | float | str]:
    """A trial's values, without those of factors that its cell does not have."""
    labels = {"cell": job.cell, "seed": str(job.seed), **job.factors}
    values = {}
    for name, column in columns.items():
        with contextlib.suppress(ValueError):  # of a study that others have extended by labels of another kind
            if name in labels:
                values[name] = column.value(labels[name])
    return values
