"""The same cells in several studies: on other data, or with another version of the code."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from biformer_lit.common.files import write_text
from biformer_lit.errors import ConfigError
from biformer_lit.sweep.report.content import Content, read_content
from biformer_lit.sweep.report.figures import COLOURS, STYLE, save_figure
from biformer_lit.sweep.report.place import MARK, check_place
from biformer_lit.sweep.report.text import grid
from biformer_lit.sweep.results.cell_summary import paired_interval
from biformer_lit.sweep.results.trial_table import write_csv
from biformer_lit.text.dotted import flat
from biformer_lit.text.escaping import for_markdown
from biformer_lit.text.fonts import drawable, drawing

_FIGURE = "differences"
_APART = ("seed_everything", "trainer.logger", "trainer.default_root_dir", "trainer.callbacks")
_SHOWN = 12  # settings that differ


@dataclass(frozen=True)
class Comparison:
    """Studies and the cells that all of them have.

    Args:
        contents: The studies, in the order given.
        names: Theirs, told apart.
        cells: Names of the cells, the baseline first.
        between: A row for each cell and each study but the first: the difference to the first study over the seeds
            that both have, with its interval.
        apart: What is not the same in the studies' settings, versions and commits, in lines.
    """

    contents: list[Content]
    names: list[str]
    cells: list[str]
    between: pd.DataFrame
    apart: list[str]


def read_comparison(folders: Sequence[Path], tables: Sequence[Path] | None = None) -> Comparison:
    """Read studies and match their cells by name.

    Args:
        folders: The studies'.
        tables: Where the results of each are, by default in its folder.

    Raises:
        ConfigError: If their objectives differ, or no cell is in all of them.
    """
    contents = [read_content(*places) for places in zip(folders, tables or folders, strict=True)]
    first = contents[0]
    for other in contents[1:]:
        if other.spec.objective != first.spec.objective:
            raise ConfigError(
                f"compare: {first.spec.name} has the objective {first.spec.objective}, {other.spec.name} has "
                f"{other.spec.objective}; compare studies of one objective"
            )
    cells = [cell for cell in first.table["cell"] if all(cell in set(one.table["cell"]) for one in contents)]
    if not cells:
        raise ConfigError(f"compare: no cell is in all of {', '.join(one.spec.name for one in contents)}")
    baseline = first.baseline
    if baseline is not None and baseline["cell"] in cells:
        cells = [baseline["cell"], *(cell for cell in cells if cell != baseline["cell"])]
    names = [one.spec.name for one in contents]
    if len(set(names)) < len(names):
        names = [f"{i}: {name}" for i, name in enumerate(names, 1)]
    return Comparison(contents, names, cells, _between(contents, names, cells), _apart(contents, names))


def write_comparison(comparison: Comparison, out: Path) -> str:
    """Write comparison.md, comparison.csv and a figure.

    Args:
        comparison: The studies.
        out: Made if it is not there.

    Returns:
        The Markdown.

    Raises:
        ConfigError: If the folder holds files of these names that are not from an earlier comparison.
    """
    check_place("out", out, "comparison.md", ("comparison.csv", f"{_FIGURE}.png", f"{_FIGURE}.svg"))
    out.mkdir(parents=True, exist_ok=True)
    figure = _figure(comparison)
    if figure is not None:
        save_figure(figure, out / _FIGURE)
    rows = [one.table.assign(study=name) for one, name in zip(comparison.contents, comparison.names, strict=True)]
    numbers = pd.concat(rows, ignore_index=True)
    numbers = numbers[numbers["cell"].isin(comparison.cells)]
    write_csv(numbers[["study", *(name for name in numbers.columns if name != "study")]], out / "comparison.csv")
    text = _markdown(comparison, figure is not None)
    write_text(out / "comparison.md", f"<!-- {MARK} -->\n\n{text}")
    return text


def _row(content: Content, cell: str) -> pd.Series:
    return content.table[content.table["cell"] == cell].iloc[0]


def _objective(content: Content, cell: str) -> pd.Series:
    rows = content.frame[(content.frame["cell"] == cell) & (content.frame["status"] == "complete")]
    return rows.set_index("seed")["objective"].dropna()


def _between(contents: list[Content], names: list[str], cells: list[str]) -> pd.DataFrame:
    rows = []
    for cell in cells:
        reference = _objective(contents[0], cell)
        for content, name in zip(contents[1:], names[1:], strict=True):
            rows.append({"cell": cell, "study": name, **paired_interval(_objective(content, cell), reference)})
    return pd.DataFrame(rows)


def _apart(contents: list[Content], names: list[str]) -> list[str]:
    """Return what differs besides the results."""
    lines = []
    columns = [name for name in contents[0].frame.columns if name.startswith("version:")]
    for column in [*columns, "git_commit", "device", "host"]:
        found = [
            " / ".join(map(str, one.frame[column].dropna().unique())) if column in one.frame else "" for one in contents
        ]
        if len(set(found)) > 1:
            lines.append(f"{column.removeprefix('version:')}: {_each(found, names)}")
    baselines = [one.baseline if one.baseline is not None else one.table.iloc[0] for one in contents]
    configs = [one.config_of(row["cell"]) for one, row in zip(contents, baselines, strict=True)]
    if any(config is None for config in configs):
        return [*lines, "settings: unknown, as not all studies have a baseline whose files are here"]
    settings = [flat(config) for config in configs]
    keys = dict.fromkeys(key for each in settings for key in each)
    differing = [key for key in keys if len({repr(each.get(key)) for each in settings}) > 1]
    differing = [key for key in differing if not key.startswith(_APART)]
    lines += [f"{key}: {_each([repr(each.get(key)) for each in settings], names)}" for key in differing[:_SHOWN]]
    if len(differing) > _SHOWN:
        lines.append(f"and {len(differing) - _SHOWN} more settings")
    return lines


def _each(values: list[str], names: list[str]) -> str:
    return ", ".join(f"{value or 'unknown'} ({name})" for value, name in zip(values, names, strict=True))


def _markdown(comparison: Comparison, drawn: bool) -> str:
    lines = [f"# {for_markdown(' and '.join(comparison.names))}", ""]
    lines += [
        f"- {for_markdown(name)}: {for_markdown(one.spec.question)}"
        for name, one in zip(comparison.names, comparison.contents, strict=True)
    ]
    unit = comparison.contents[0].unit
    table = pd.DataFrame({"cell": comparison.cells})
    for name, content in zip(comparison.names, comparison.contents, strict=True):
        rows = [_row(content, cell) for cell in comparison.cells]
        table[f"{name}: {unit.title}"] = [_mean(content, row) for row in rows]
        table[f"{name}: to its baseline"] = [
            " ".join(part for part in (unit.signed(row["difference"]), unit.interval(row["low"], row["high"])) if part)
            for row in rows
        ]
    lines += [
        "",
        grid(table),
        "",
        "Mean ± standard deviation (n); differences with their t intervals over paired seeds.",
        "",
    ]
    between = pd.DataFrame({
        "cell": comparison.between["cell"],
        "study": comparison.between["study"],
        f"difference to {comparison.names[0]} ({unit.difference.strip() or unit.metric})": [
            f"{unit.signed(row['difference'])} {unit.interval(row['low'], row['high'])}".strip() or "no seed in common"
            for row in comparison.between.to_dict("records")
        ],
        "paired seeds": comparison.between["pairs"].map(str),
    })  # fmt: skip
    lines += ["## Between the studies", "", grid(between), ""]
    lines += ["Of studies on other data such a difference says which data are harder, not which network is better.", ""]
    if drawn:
        lines += [f"![Differences to each study's baseline]({_FIGURE}.png)", ""]
    lines += [
        "## What else differs",
        "",
        *(f"- {for_markdown(line)}" for line in comparison.apart or ["nothing that was recorded"]),
    ]
    return "\n".join(lines) + "\n"


def _mean(content: Content, row: pd.Series) -> str:
    mean = content.unit.number(row["mean"])
    if not mean:
        return f"none of {row['planned']} complete"
    sd = content.unit.number(row["sd"])
    return f"{mean}{f' ± {sd}' if sd else ''} ({row['complete']})"


def _figure(comparison: Comparison) -> Figure | None:
    """Each cell's difference to its study's baseline, the studies beside each other."""
    cells = [c for c in comparison.cells if any(_row(one, c)["pairs"] > 0 for one in comparison.contents)]
    if not cells:
        return None
    unit = comparison.contents[0].unit
    with mpl.rc_context(STYLE), drawing([*cells, *comparison.names]):
        figure = Figure(figsize=(6.5, 1.2 + 0.25 * len(cells) * (1 + len(comparison.names))))
        axes = figure.add_subplot()
        axes.axvline(0, color="0.3", linewidth=1)
        step = 0.8 / len(comparison.names)
        for i, (name, content) in enumerate(zip(comparison.names, comparison.contents, strict=True)):
            rows = [_row(content, cell) for cell in cells]
            middle = unit.scale * np.array([row["difference"] for row in rows], dtype=float)
            ends = np.array([[row["low"], row["high"]] for row in rows], dtype=float).T
            error = np.nan_to_num(np.abs(unit.scale * ends - middle))
            at = np.arange(len(cells))[::-1] + 0.4 - step * (i + 0.5)
            axes.errorbar(middle, at, xerr=error, fmt="o", color=COLOURS[1 + i % 7], capsize=3, label=drawable(name))
        axes.set_yticks(np.arange(len(cells))[::-1], list(map(drawable, cells)))
        axes.set_xlabel(f"{drawable(unit.difference_title)}, each to its study's baseline")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25 * 4 / (2 + len(cells))), ncols=2, fontsize=7)
    return figure
