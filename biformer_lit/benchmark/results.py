"""Results of a benchmark as a table for people, Markdown and JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from biformer_lit.benchmark.roofline import Roofline
from biformer_lit.benchmark.turns import Comparison
from biformer_lit.errors import ConfigError


@dataclass(frozen=True)
class Case:
    """The variants of one shape.

    Attributes:
        name: The shape, for people.
        macs: Multiply-adds of one call of each variant as its algorithm needs them, forward and (counted twice)
            backward; a variant may be missing.
        comparisons: The variants, the baseline first.
    """

    name: str
    macs: Mapping[str, int]
    comparisons: Sequence[Comparison]


_COLUMNS = ("case", "variant", "ms", "ratio", "range", "memory MiB", "ratio of memory", "of the peak")


def describe_machine(device: torch.device) -> str:
    """Processor, threads, versions and what the allocator was told, on one line."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{_processor()}, CPU"
    told = {key: value for key, value in os.environ.items() if key.startswith("MALLOC_") or key == "GLIBC_TUNABLES"}
    allocator = f", {' '.join(f'{k}={v}' for k, v in sorted(told.items()))}" if told else ""
    return f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}{allocator}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        if lines:
            return lines[0].partition(":")[2].strip()
    return platform.processor() or platform.machine()


def rows(cases: Sequence[Case], roofline: Roofline) -> list[tuple[str, ...]]:
    """The table's cells as text."""
    return [
        (
            case.name,
            comparison.variant,
            f"{comparison.seconds * 1e3:.2f}",
            f"{comparison.ratio:.3f}",
            f"{comparison.lowest:.2f}-{comparison.highest:.2f}",
            "" if comparison.memory is None else f"{comparison.memory / 2**20:.0f}",
            "" if comparison.memory_ratio is None else f"{comparison.memory_ratio:.3f}",
            _share(case.macs.get(comparison.variant), comparison.seconds, roofline),
        )
        for case in cases
        for comparison in case.comparisons
    ]


def _share(macs: int | None, seconds: float, roofline: Roofline) -> str:
    return "" if macs is None else f"{macs / seconds / roofline.matmul:.0%}"


def show(cases: Sequence[Case], roofline: Roofline, title: str, out: Path | None) -> None:
    """Print the results and, with ``out``, write ``out.json`` and ``out.md``.

    Args:
        cases: What was measured.
        roofline: Peak of the device.
        title: What was measured where.
        out: Path without suffix.
    """
    caption = (
        f"peak: {roofline.matmul / 1e9:.0f} G multiply-adds/s, {roofline.copy / 1e9:.1f} GB/s copied; "
        "ratio: median over the rounds of the time over the first variant's"
    )
    table = Table(title=title, caption=caption)
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="left" if number < 2 else "right")
    cells = rows(cases, roofline)
    for number, row in enumerate(cells):
        table.add_row(*row, end_section=number + 1 < len(cells) and cells[number + 1][0] != row[0])
    console = Console()
    # into a file or a pipe there are no columns to fit into
    (console if console.is_terminal else Console(width=160)).print(table)
    if out is None:
        return
    content = {"title": title, "roofline": asdict(roofline), "cases": [asdict(case) for case in cases]}
    out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    lines = [title, "", caption, "", f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    out.with_suffix(".md").write_text("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells)]) + "\n")


def check_out(out: str | None) -> Path | None:
    """The path to write to, refused before anything is measured if it cannot be.

    Raises:
        ConfigError: If the folder does not exist or the files do.
    """
    if out is None:
        return None
    path = Path(out)
    if not path.parent.is_dir():
        raise ConfigError(f"out={out}: the folder {path.parent} does not exist; make it first")
    for suffix in (".json", ".md"):
        if path.with_suffix(suffix).exists():
            raise ConfigError(f"out={out}: {path.with_suffix(suffix)} exists already; remove it or choose another name")
    return path
