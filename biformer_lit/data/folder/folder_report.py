"""Report on a folder: files found, and files used."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from biformer_lit.data.folder.folder_files import Files

_SHOWN = 3


@dataclass
class FolderReport:
    """The files of a folder that were seen, and those that make rows.

    Attributes:
        kind: What the rows are made of: images, Parquet files and so on.
        used: How many files the rows are made of.
        unused: Files that look as if they were to be used, and are not, by the reason.
        remarks: What else is to be said.
        unlabelled: Why there is nothing to learn from, in words for the user; None if there is.
        class_folders: Whether classes are called what folders are called.
    """

    kind: str
    used: int = 0
    unused: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unlabelled: str | None = None
    class_folders: bool = False

    @property
    def seen(self) -> int:
        """Number of files that were seen."""
        return self.used + sum(map(len, self.unused.values()))

    def leave_out(self, reason: str, names: Sequence[str]) -> None:
        """Enter files that are not used."""
        if names:
            self.unused.setdefault(reason, []).extend(names)

    def warning(self) -> str | None:
        """Return the warning about unused files, on one line; None if every file is used."""
        parts = [*self.remarks]
        if self.unused:
            told = [f"{len(names):,} {reason} ({examples(names)})" for reason, names in self.unused.items()]
            parts.insert(0, f"{self.seen - self.used:,} of {self.seen:,} files are not used: {'; '.join(told)}")
        return "; ".join(parts) or None


class Splits(dict[str, Any]):
    """Splits of a data set by name.

    Attributes:
        files: Which files its rows may name; None for any.
        report: What was found in the folder, if it was one of files.
    """

    files: Files | None = None
    report: FolderReport | None = None


def examples(names: Sequence[str]) -> str:
    """The first of many file names."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def by_suffix(names: Sequence[str]) -> dict[str, list[str]]:
    """Files by what their names end with, the most frequent first."""
    counts = Counter(PurePosixPath(name).suffix.lower() for name in names)
    found: dict[str, list[str]] = {
        f"{suffix} files" if suffix else "without suffix": [] for suffix, _ in counts.most_common()
    }
    for name in names:
        suffix = PurePosixPath(name).suffix.lower()
        found[f"{suffix} files" if suffix else "without suffix"].append(name)
    return found
