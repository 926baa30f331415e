"""Overview of a data set, in a line for the terminal and in a table."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from biformer_lit.data.labels import Integers
from biformer_lit.data.samples import Part
from biformer_lit.data.survey import Survey
from biformer_lit.text.class_names import shorten
from biformer_lit.text.escaping import for_markdown, visible

_MOST_IN_LINE = 12  # classes with their counts
_MOST_IN_TABLE = 200
_LONGEST_NAME = 40


@dataclass(frozen=True)
class PartOverview:
    """Overview of one part of a data set.

    Attributes:
        part: What its rows are used for.
        split: The split they are from.
        rows: How many are used; None for a stream.
        stored: How many the split has; None for a stream.
        counts: Images, pixels or objects of each class (classes,); None where nothing tells.
        counted: Rows that were counted.
        survey: What was seen of the rows; None for a stream.
        notes: What else there is to say.
    """

    part: Part
    split: str
    rows: int | None
    stored: int | None
    counts: Integers | None = None
    counted: int = 0
    survey: Survey | None = None
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True if every row was counted."""
        return self.counts is not None and self.counted == self.rows

    def describe(self) -> str:
        """The part in a few words."""
        if self.rows is None:
            return f"{self.part}: split {self.split!r}, a stream of unknown length"
        of = f"{self.rows:,}" if self.rows == self.stored else f"{self.rows:,} of {self.stored:,}"
        return f"{self.part}: {of} rows of split {self.split!r}"

    def describe_sizes(self) -> str | None:
        """The sizes of the images."""
        if self.survey is None or self.survey.least is None or self.survey.greatest is None:
            return None
        low, high = (f"{width}x{height}" for height, width in (self.survey.least, self.survey.greatest))
        some = "" if self.survey.looked == self.survey.of else f" (of {self.survey.looked:,} looked at)"
        return (low if low == high else f"{low} to {high}") + some


@dataclass(frozen=True)
class Overview:
    """Overview of the data of a run.

    Attributes:
        dataset: The data set, as the user calls it.
        unit: What of each class is counted: images, pixels or objects.
        names: Names of the classes; empty if nothing names them.
        parts: The parts that the run uses.
        notes: What else there is to say of the data set.
    """

    dataset: str
    unit: str
    names: tuple[str, ...]
    parts: tuple[PartOverview, ...]
    notes: tuple[str, ...] = field(default=())

    def line(self) -> str:
        """Everything in one line; of many classes the most and the least frequent."""
        texts = [f"data {visible(self.dataset, 200)!r}: " + ", ".join(part.describe() for part in self.parts)]
        texts.append(self._classes_of(self.parts[0]) if self.parts else "")
        sizes = {part.part: part.describe_sizes() for part in self.parts}
        alike = len(set(sizes.values())) == 1
        told = list(sizes.items())[:1] if alike else list(sizes.items())
        texts += [f"{'' if alike else f'{part} '}images {size}" for part, size in told if size]
        texts += [note for part in self.parts for note in (*self.absent(part), *part.notes)]
        return "; ".join(text for text in (*texts, *self.notes) if text)

    def _classes_of(self, part: PartOverview) -> str:
        if not self.names:
            return "no classes are named"
        total = f"{len(self.names):,} classes"
        if part.counts is None:
            return f"{total}: {shorten([self._name(i) for i in range(min(len(self.names), 9))])}"
        counts = part.counts
        among = "" if part.complete else f" (in {part.counted:,} rows looked at)"
        if len(self.names) <= _MOST_IN_LINE:
            each = self._amounts(part, range(len(self.names)))
            return f"{total}, {self.unit} of each{among}: {each}"
        order = np.argsort(-counts, kind="stable")
        most, least = (self._amounts(part, some.tolist()) for some in (order[:3], order[-3:]))
        return f"{total}, {self.unit} of each{among}: most {most}; least {least}"

    def _amounts(self, part: PartOverview, numbers: Iterable[int]) -> str:
        return ", ".join(f"{self._name(i)} {self._amount(part, i)}" for i in numbers)

    def _amount(self, part: PartOverview, number: int) -> str:
        """Return the amount of a class: a share of pixels, a number of anything else."""
        counts = part.counts
        if counts is None:
            return ""
        if self.unit != "pixels":
            return f"({int(counts[number]):,})"
        share = counts[number] / max(1, int(counts.sum()))
        return "(0)" if counts[number] == 0 else f"({share:.1%})" if share >= 0.001 else "(<0.1%)"

    def absent(self, part: PartOverview) -> list[str]:
        """Classes that a part should hold and does not, in words; empty if not all of it was counted."""
        if part.counts is None or not self.names or part.part == "predict":
            return []
        missing = [self._name(i) for i in np.flatnonzero(part.counts == 0).tolist()[:9]]
        number = int((part.counts == 0).sum())
        if not number or number == len(self.names):
            return []
        among = "" if part.complete else f" among the {part.counted:,} rows looked at"
        more = f", ... {number - 8} more" if number > 8 else ""
        return [f"never in {part.part}{among}: {', '.join(missing[:8])}{more}"]

    def _name(self, number: int) -> str:
        return visible(self.names[number], _LONGEST_NAME)

    def table(self) -> str:
        """The same as tables in Markdown."""
        lines = ["| part | split | rows used | rows stored | images |", "|---|---|---|---|---|"]
        for part in self.parts:
            used, stored = (("a stream" if n is None else f"{n:,}") for n in (part.rows, part.stored))
            split = for_markdown(part.split)
            lines.append(f"| {part.part} | {split} | {used} | {stored} | {part.describe_sizes() or ''} |")
        counted = [part for part in self.parts if part.counts is not None]
        if self.names:
            heads = "".join(f" {self.unit} in {part.part} |" for part in counted)
            lines += ["", f"| class |{heads}", "|---|" + "---|" * len(counted)]
            for i, name in enumerate(self.names[:_MOST_IN_TABLE]):
                amounts = "".join(f" {int(part.counts[i]):,} |" for part in counted if part.counts is not None)
                lines.append(f"| {for_markdown(visible(name, _LONGEST_NAME))} |{amounts}")
            if len(self.names) > _MOST_IN_TABLE:
                lines.append(f"| and {len(self.names) - _MOST_IN_TABLE:,} more |" + " |" * len(counted))
        notes = [note for part in self.parts for note in (*self.absent(part), *part.notes)] + list(self.notes)
        return "\n".join([*lines, "", *(f"* {for_markdown(note)}" for note in notes)])
