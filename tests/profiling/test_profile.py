"""The command ``profile``."""

import re

import pytest

from biformer_lit.cli import main
from biformer_lit.profiling import Cost, total_cost

ONE_STAGE = ["--backbone.depths=[1]", "--backbone.dims=[32]", "--measure=false", "--num_classes=10", "--size=64"]


def row(out, part):
    """The numbers of one row of the printed table."""
    (line,) = [line for line in out.splitlines() if re.match(rf"[│┃] {part} ", line)]
    return [cell.strip() for cell in line.strip("│┃ ").split("│")][1:]


def test_the_command_prints_a_table(capsys):
    factors = ["--backbone.regions=[4,4,4,1]", "--backbone.topk=[2,8,16,all]"]
    main(["profile", "--model", "biformer_tiny", *factors, "--size", "[64,96]", "--batch_size=1"])
    out = capsys.readouterr().out
    assert "13,142,760" in out
    assert "images/s (median" in out
    assert "64 x 96" in out
    assert len(row(out, "total")) == 6


def test_activation_memory_is_in_the_table(capsys):
    factors = ["--backbone.attention=full", "--backbone.full_heads=2", "--backbone.cpe=0", "--backbone.lce=0"]
    main(["profile", *ONE_STAGE, *factors])
    values = 16 * 16 * (8 * 32 + 4 + 2 + 2 * 96)  # as test_activations counts by hand
    assert row(capsys.readouterr().out, "stage 1")[-1] == f"{4 * values / 2**20:.2f}"


@pytest.mark.parametrize("pattern", ["bra", "full", "window", "stripes", "dilated", "deformable"])
def test_every_pattern_has_its_costs(pattern, capsys):
    settings = {"attention": pattern, "topk": 2, "regions": 4, "head_dim": 8, "dilation": 4, "stripe_width": 2}
    settings["deform_stride"] = 4
    main(["profile", *ONE_STAGE, *(f"--backbone.{name}={value}" for name, value in settings.items())])
    parameters, macs, _, _, _, activations = row(capsys.readouterr().out, "total")
    assert int(parameters.replace(",", "")) > 0
    assert min(float(macs), float(activations)) > 0


def test_unknown_activation_memory_stays_unknown():
    known, unknown = Cost("stem", 1, 2, activations=3), Cost("head", 1, 2)
    assert total_cost([known, known]).activations == 6
    assert total_cost([known, unknown]).activations is None
