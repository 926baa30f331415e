"""``sweep report`` and ``sweep compare``."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.report.bundle import unpacked
from biformer_lit.sweep.report.comparison import read_comparison, write_comparison
from biformer_lit.sweep.report.place import check_place
from biformer_lit.sweep.report.write import LATEX, MARKDOWN, PAGE, TABLE, write_report
from biformer_lit.sweep.results.export import export_study
from biformer_lit.sweep.trials.study import find_study
from biformer_lit.text.escaping import visible


def report(study: str, out: Path | None) -> None:
    """Write a study's report and print its answer.

    Args:
        study: The study's folder, its study file, or a bundle.
        out: Where to; by default ``report`` in the study's folder, a folder beside the bundle, or, of a folder that may
            only be read, one where you are.
    """
    with _files(study) as files:
        place = out or files.place
        if place != files.folder / "report":  # within the study's own folder
            check_place("out", place, PAGE, (MARKDOWN, LATEX, TABLE, "figures"))
        said = write_report(files.folder, place, print, files.tables)
    for sentence in (said.sentence, *said.notes):
        print(visible(sentence))
    print(f"report: {place / PAGE}")


def compare(studies: Sequence[str], out: Path | None) -> None:
    """Set the same cells of several studies side by side, and print the table.

    Args:
        studies: Folders, study files or bundles.
        out: Where to write; by default ``comparison`` in the current folder.
    """
    if len(studies) < 2:
        raise ConfigError("compare: takes at least two studies; give another")
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_files(study)) for study in studies]
        comparison = read_comparison([one.folder for one in files], [one.tables for one in files])
        place = out or Path("comparison")
        print("\n".join(map(visible, write_comparison(comparison, place).splitlines())))
    print(f"comparison: {place}")


class _Files(NamedTuple):
    """A study's folder, the one with its results as they are now, and where its report goes."""

    folder: Path
    tables: Path
    place: Path


@contextlib.contextmanager
def _files(study: str) -> Iterator[_Files]:
    path = Path(study)
    if path.suffix == ".zip":
        if not path.is_file():
            raise ConfigError(f"{study}: No such file; give the bundle that sweep export wrote")
        with unpacked(path) as folder:
            yield _Files(folder, folder, path.with_name(f"{path.stem}-report"))
        return
    _, folder = find_study(study)
    if os.access(folder, os.W_OK):
        export_study(study)
        yield _Files(folder, folder, folder / "report")
        return
    with tempfile.TemporaryDirectory(prefix="biformer_lit-") as tables:
        export_study(study, Path(tables))
        yield _Files(folder, Path(tables), Path(f"{folder.resolve().name}-report"))
