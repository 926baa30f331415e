"""Cost against resolution: the exponents, and that the closed form, the table and the files tell the same."""

import csv
import json
import math

import pytest
from PIL import Image

from biformer_lit import Backbone
from biformer_lit.cli import main
from biformer_lit.errors import ConfigError
from biformer_lit.profiling import CELLS, complexity, count_costs, exponent, scaling, total_cost
from biformer_lit.profiling.curves import draw_complexity

SIDES = range(224, 2049, 32)
# 7 divides the maps of all stages, and so do the windows and stripes: nothing is rounded
EVEN_SIDES = range(224, 2049, 224)


def fitted(name, sides, stage="1"):
    costs = scaling(name, CELLS[name], [(side, side) for side in sides])
    return exponent([cost for cost in costs if cost.stage == stage])


def test_the_interaction_of_bra_grows_as_the_paper_says():
    assert fitted("BRA, S auto", SIDES) == pytest.approx(4 / 3, abs=0.02)


@pytest.mark.parametrize(("name", "power"), [("full", 2), ("window", 1), ("stripes", 1.5), ("dilated", 2)])
def test_what_the_other_patterns_grow_as(name, power):
    assert fitted(name, SIDES) == pytest.approx(power, abs=0.02)
    assert fitted(name, EVEN_SIDES) == pytest.approx(power, abs=1e-12)


def test_points_for_every_patch_are_quadratic():
    assert fitted("deformable", SIDES) == pytest.approx(2, abs=0.02)  # the points' own cost is linear


def test_a_fixed_s_is_quadratic_where_its_regions_fit():
    assert fitted("BRA, S = 7", EVEN_SIDES) == pytest.approx(2, abs=0.001)
    # elsewhere a region is rounded up by as much as a token per side, which weighs more on small maps
    assert 1.95 < fitted("BRA, S = 7", SIDES) < 2


def test_an_exponent_is_the_slope_of_a_power():
    costs = scaling("window", CELLS["window"], [(224, 224), (448, 448)])
    first = [cost for cost in costs if cost.stage == "1"]
    assert exponent(first) == pytest.approx(1)
    assert math.isnan(exponent(first[:1]))


@pytest.mark.parametrize("size", [(224, 224), (480, 640), (1000, 333), (2048, 2048)])
@pytest.mark.parametrize("name", CELLS)
def test_costs_are_those_of_the_profile(name, size):
    costs = [cost.cost for cost in scaling(name, CELLS[name], [size])]
    counted = count_costs(CELLS[name], size=size)
    assert costs == [*counted, total_cost(counted)]


def test_the_default_cells_have_equal_heads():
    for backbone in CELLS.values():
        stages = backbone.build(10).stages
        assert [stage.blocks[0].attn.heads for stage in stages] == [2, 4, 8, 16]
        assert all(stage.blocks[0].attn.qkv.bias is not None for stage in stages)


def read(folder):
    with (folder / "complexity.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_command_writes_a_table_and_a_figure(tmp_path, capsys):
    cells = {"two stages": {"depths": [1, 2], "dims": [32, 64], "attention": "window"}, "full": {"attention": "full"}}
    out = tmp_path / "new" / "folder"
    main(["complexity", f"--cells={json.dumps(cells)}", "--sizes=[64,[96,160],128]", f"--out={out}"])
    rows = read(out)
    assert len(rows) == 3 * (2 + 3) + 3 * (4 + 3)
    (stage,) = [r for r in rows if (r["cell"], r["height"], r["stage"]) == ("two stages", "96", "2")]
    cost = count_costs(Backbone(depths=[1, 2], dims=[32, 64], attention="window"), size=(96, 160))[2]
    assert stage == {
        "cell": "two stages",
        "height": "96",
        "width": "160",
        "stage": "2",
        "tokens": str(12 * 20),
        "attention_macs": str(cost.attention),
        "routing_macs": "0",
        "macs": str(cost.macs),
        "parameters": str(cost.parameters),
    }
    assert {r["tokens"] for r in rows if r["stage"] in ("stem", "head")} == {""}
    with Image.open(out / "complexity.png") as image:
        assert image.width > 1000
    printed = capsys.readouterr().out
    assert "stage 4" in printed
    assert "2.000" in printed
    assert "complexity.csv and" in printed


def test_cells_from_a_config(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells.yaml").write_text(
        "cells:\n  mine: {attention: bra, topk: 2, regions: auto}\nsizes: [128, 256]\nout: here\n"
    )
    main(["complexity", "--config", "cells.yaml"])
    assert {row["cell"] for row in read(tmp_path / "here")} == {"mine"}


def test_a_default_run_draws_all_patterns(tmp_path, capsys):
    complexity(out=str(tmp_path))
    assert {row["cell"] for row in read(tmp_path)} == set(CELLS)
    assert len({row["height"] for row in read(tmp_path)}) == len(SIDES)
    assert (tmp_path / "complexity.png").stat().st_size < 200_000
    with pytest.raises(ConfigError, match=r"complexity\.csv exists already; remove it or choose another folder"):
        complexity(out=str(tmp_path))


def test_more_cells_than_colours(tmp_path, capsys):
    cells = {f"k = {k}": Backbone(attention="bra", topk=k, regions="auto", depths=[1], dims=[32]) for k in range(1, 10)}
    complexity(cells, [64, 100], str(tmp_path))
    assert "k = 9" in capsys.readouterr().out


def test_names_are_taken_as_they_are(tmp_path, capsys):
    names = ["_hidden", "a $cost", "[red]", "$x$"]
    complexity({name: Backbone(attention="window") for name in names}, [224, 448], str(tmp_path))
    printed = capsys.readouterr().out
    assert all(f" {name} " in printed for name in names)
    figure = draw_complexity(scaling("_hidden", CELLS["window"], [(224, 224), (448, 448)]))
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["_hidden  $(HW)^{1.00}$"]


def test_maps_that_stay_the_same_have_no_exponent(tmp_path, capsys):
    complexity({"a": Backbone(attention="window")}, [225, 250], str(tmp_path))
    assert " - " in capsys.readouterr().out  # stage 4 has 8 x 8 tokens both times
