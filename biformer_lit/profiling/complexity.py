"""The command ``complexity``: cost against resolution, as a table of exponents, a CSV file and a figure."""

import csv
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from biformer_lit.backbone import Backbone
from biformer_lit.errors import ConfigError
from biformer_lit.profiling.curves import draw_complexity
from biformer_lit.profiling.scaling import CellCost, exponent, scaling

CELLS: dict[str, Backbone] = {
    "BRA, S auto": Backbone(attention="bra", topk=4, regions="auto"),
    "BRA, S = 7": Backbone(attention="bra", topk=4, regions=7),
    "full": Backbone(attention="full", full_heads=0, full_qkv_bias=True, full_lce_input="value"),
    "window": Backbone(attention="window"),
    "stripes": Backbone(attention="stripes"),
    "dilated": Backbone(attention="dilated"),
    "deformable": Backbone(attention="deformable"),
}
"""The patterns in all four stages of ``biformer_tiny``, each with its default settings, all with the same heads."""

_SIZES = range(224, 2049, 32)
_COLUMNS = ("cell", "height", "width", "stage", "tokens", "attention_macs", "routing_macs", "macs", "parameters")


def complexity(
    cells: dict[str, Backbone] | None = None,
    sizes: list[int | tuple[int, int]] | None = None,
    out: str = "runs/complexity",
    num_classes: int = 1000,
) -> None:
    """Draw how the multiply-adds of networks grow with their images, and fit the exponents.

    Writes complexity.csv (each cell, size and stage) and complexity.png into a folder and prints the exponents of the
    token interaction, which is routing and attention together. Nothing is measured; everything is counted.

    Args:
        cells: Networks by name, each as settings of a backbone in a training config; by default all patterns, in all
            stages of biformer_tiny.
        sizes: Images in pixels, each one number or [height, width]; by default 224 to 2048 in steps of 32.
        out: Folder to write into; nothing in it is overwritten.
        num_classes: Outputs of the classifier.
    """
    cells = CELLS if cells is None else cells
    if not cells:
        raise ConfigError("cells is empty; name at least one network, such as {mine: {attention: bra, topk: 4}}")
    pairs = _pairs(list(_SIZES) if sizes is None else sizes)
    table, figure = _free(Path(out))
    costs = [cost for name, backbone in cells.items() for cost in scaling(name, backbone, pairs, num_classes)]
    table.parent.mkdir(parents=True, exist_ok=True)
    _write(table, costs)
    draw_complexity(costs).savefig(figure, dpi=120)
    console = Console()
    console.print(exponent_table(costs))
    console.print(f"written: {table} and {figure}", soft_wrap=True, highlight=False)


def exponent_table(costs: Sequence[CellCost]) -> Table:
    """Fitted exponents of the token interaction by cell and stage, and of all stages together against the pixels.

    Args:
        costs: Costs of several cells, each from :func:`biformer_lit.profiling.scaling`.
    """
    by_cell = {cell: _exponents(list(rows)) for cell, rows in groupby(costs, key=lambda cost: cost.cell)}
    stages = sorted({int(stage) for found in by_cell.values() for stage in found if stage.isdigit()})
    table = Table(title="exponent of routing + attention MACs in the tokens HW")
    table.add_column("cell")
    for name in (*(f"stage {stage}" for stage in stages), "all stages"):
        table.add_column(name, justify="right")
    for cell, found in by_cell.items():
        values = [found.get(name, math.nan) for name in (*map(str, stages), "total")]
        table.add_row(escape(cell), *("-" if math.isnan(value) else f"{value:.3f}" for value in values))
    return table


def _exponents(costs: list[CellCost]) -> Mapping[str, float]:
    """Exponents of one cell by stage and in total."""
    counted = [cost for cost in costs if cost.tokens is not None]
    stages = dict.fromkeys(cost.stage for cost in counted)
    return {stage: exponent([cost for cost in counted if cost.stage == stage]) for stage in stages}


def _pairs(sizes: Sequence[int | tuple[int, int]]) -> list[tuple[int, int]]:
    """Heights and widths, at least two that differ in area."""
    pairs = [(size, size) if isinstance(size, int) else size for size in sizes]
    for size, pair in zip(sizes, pairs, strict=True):
        if min(pair) < 1:
            raise ConfigError(f"sizes: {size} must be positive; give numbers or [height, width], such as 224")
    if len({height * width for height, width in pairs}) < 2:
        raise ConfigError(f"sizes={list(sizes)}: an exponent takes two areas or more; add a size, as in [224,448]")
    return pairs


def _free(folder: Path) -> tuple[Path, Path]:
    """The two files to write, which do not exist."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"out={folder}: is not a folder; choose another name")
    files = folder / "complexity.csv", folder / "complexity.png"
    for file in files:
        if file.exists():
            raise ConfigError(f"out={folder}: {file} exists already; remove it or choose another folder")
    return files


def _write(path: Path, costs: Sequence[CellCost]) -> None:
    with path.open("x", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for c in costs:
            tokens = "" if c.tokens is None else c.tokens
            counts = (c.cost.attention, c.cost.routing, c.cost.macs, c.cost.parameters)
            rows.writerow((c.cell, c.height, c.width, c.stage, tokens, *counts))
