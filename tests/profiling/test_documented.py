"""The counted figures in the documentation are those that the package counts."""

import re
from functools import cache

import pytest
import yaml

from biformer_lit import Backbone
from biformer_lit.profiling import CELLS, activation_memory, count_costs, exponent, scaling, total_cost


def rows(root, page, header):
    """Cells of the rows of all tables under this header."""
    lines = (root / "docs" / page).read_text().splitlines()
    found = []
    for i, line in enumerate(lines):
        if line.startswith(header):
            for row in lines[i + 2 :]:
                if not row.startswith("|"):
                    break
                found.append([cell.strip() for cell in row.strip("|").split("|")])
    return found


@cache
def counted(settings):
    """Total cost and activation memory in bytes of a network given as in the tables."""
    backbone = Backbone(**yaml.safe_load(f"{{{settings}}}"))
    return total_cost(count_costs(backbone)), sum(activation_memory(backbone).values())


def settings(cell):
    return re.match(r"`([^`]+)`", cell)[1]


def change(value, form, unit):
    return f"{value:{form}}{unit}" if value else "0"


def test_costs_of_models_and_patterns(root):
    table = rows(root, "benchmarks.md", "| settings | parameters | MACs |")
    assert len(table) >= 4 + 7 + 8
    for name, *figures in table:
        cost, memory = counted(settings(name))
        assert figures == [
            f"{cost.parameters:,}",
            f"{cost.macs / 1e9:.3f} G",
            f"{cost.routing / 1e9:.4f} G",
            f"{cost.attention / 1e9:.3f} G",
            f"{cost.gathered / 1e6:.2f} M",
            f"{memory / 2**20:.1f} MiB",
        ], name


def test_changes_by_factor(root):
    table = rows(root, "model.md", "| settings | parameters | MACs | activation memory |")
    assert len(table) >= 16
    released, kept = counted("name: biformer_tiny")
    for name, parameters, macs, memory in table:
        cost, bytes_kept = counted(settings(name))
        assert parameters == change(cost.parameters - released.parameters, "+,", ""), name
        assert macs.removesuffix(" where S divides the map") == change((cost.macs - released.macs) / 1e6, "+.3f", " M")
        assert memory == change((bytes_kept - kept) / 2**20, "+.1f", " MiB"), name


@pytest.mark.parametrize("cell", CELLS)
def test_exponents(root, cell):
    (row,) = [row for row in rows(root, "benchmarks.md", "| cell | stage 1 |") if row[0] == cell]
    costs = scaling(cell, CELLS[cell], [(side, side) for side in range(224, 2049, 32)])
    stages = [[cost for cost in costs if cost.stage == stage] for stage in ("1", "2", "3", "4", "total")]
    assert row[1:6] == [f"{exponent(stage):.3f}" for stage in stages]


def test_the_figure_is_there_and_light(root):
    assert "images/complexity.png" in (root / "docs/benchmarks.md").read_text()
    assert (root / "docs/images/complexity.png").stat().st_size < 200_000
