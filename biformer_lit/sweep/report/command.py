"""``sweep report`` and ``sweep compare``."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from biformer_lit.errors import ConfigError
from biformer_lit.escaping import visible
from biformer_lit.sweep.export import export_study
from biformer_lit.sweep.report.bundle import unpacked
from biformer_lit.sweep.report.compare import read_comparison, write_comparison
from biformer_lit.sweep.report.place import check_place
from biformer_lit.sweep.report.write import LATEX, MARKDOWN, PAGE, TABLE, write_report


def report(study: str, out: Path | None) -> None:
    """Write a study's report and print its answer.

    Args:
        study: The study's folder, its study file, or a bundle.
        out: Where to; by default ``report`` in the study's folder, or a folder beside the bundle.
    """
    with _files(study) as (folder, default):
        place = out or default
        if place != folder / "report":  # within the study's own folder
            check_place("out", place, PAGE, (MARKDOWN, LATEX, TABLE, "figures"))
        said = write_report(folder, place, print)
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
        folders = [stack.enter_context(_files(study))[0] for study in studies]
        comparison = read_comparison(folders)
        place = out or Path("comparison")
        print("\n".join(map(visible, write_comparison(comparison, place).splitlines())))
    print(f"comparison: {place}")


@contextlib.contextmanager
def _files(study: str) -> Iterator[tuple[Path, Path]]:
    """A study's folder with its results as they are now, and where its report goes."""
    path = Path(study)
    if path.suffix == ".zip":
        if not path.is_file():
            raise ConfigError(f"{study}: No such file; give the bundle that sweep export wrote")
        with unpacked(path) as folder:
            yield folder, path.with_name(f"{path.stem}-report")
    else:
        _, folder, _ = export_study(study)
        yield folder, folder / "report"
