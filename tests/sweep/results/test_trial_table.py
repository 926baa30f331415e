"""The table of results: complete, typed, and the same after it was written and read."""

import math

import pandas as pd
import pytest

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.results import trial_table as results
from biformer_lit.sweep.results.trial_table import outcomes, read_results, results_frame, row, write_results

RESULT = {
    "status": "complete",
    "seed": 1,
    "digest": "012345678901",
    "epochs": 18,
    "objective": {"metric": "val/acc1", "mode": "max", "epoch": "best", "value": 0.1 + 0.2},
    "metrics": {"best": {"val/loss": 0.5, "val/acc1": 0.1 + 0.2}, "last": {"val/loss": 1e-300, "val/acc1": 1 / 3}},
    "best_epoch": 7,
    "last_epoch": 18,
    "parameters": 13_139_752,
    "macs": 2**62 + 1,
    "images_per_second": None,
    "peak_memory_bytes": 2**53 + 1,
    "wall_seconds": 12.75,
    "sessions": 2,
    "versions": {"torch": "2.11", "python": "3.10"},
    "git_commit": None,
    "host": "box",
    "device": "cpu",
}
FIXED_BEFORE = ["study", "cell", "baseline"]
FIXED_MIDDLE = ["seed", "status", "reason", "objective", "best_epoch", "last_epoch"]
FIXED_AFTER = [
    *("parameters", "macs", "images_per_second", "peak_memory_bytes", "wall_seconds", "sessions"),
    *("digest", "git_commit", "host", "device"),
]


def frame_of_everything():
    """Awkward labels, conditional metrics, missing values, infinities and every status."""
    labels = ["none", "NA", "nan", "null", "007", "1e5", "True", 'a,"b"', "line\nbreak", "π |", " x ", "c\rr\r\n"]
    rows = []
    for seed, label in enumerate(labels):
        rows.append(row(f"c={seed}", {"topk": label, "a": str(seed)}, seed == 0, seed, "complete", None, RESULT))
    infinite = RESULT | {"metrics": {"best": {"val/acc5": math.inf}, "last": {}}, "objective": {"value": -math.inf}}
    rows.append(row("d", {"topk": "8", "a": "x"}, False, 0, "complete", "", infinite, study="s"))
    for seed, status in enumerate(["pruned", "failed", "missing", "running"]):
        rows.append(row("e", {"topk": "8", "a": "y"}, False, seed, status, "oom", None, study="s"))
    return results_frame(rows)


def test_row_flattens_a_result():
    flat = row("k=8", {"topk": "8"}, True, 1, "complete", None, RESULT, study="topk")
    assert flat["study"] == "topk"
    assert flat["cell"] == "k=8"
    assert flat["baseline"] is True
    assert flat["factor:topk"] == "8"
    assert flat["objective"] == 0.1 + 0.2
    assert flat["best:val/loss"] == 0.5
    assert flat["last:val/acc1"] == 1 / 3
    assert flat["version:torch"] == "2.11"
    assert flat["sessions"] == 2
    assert "epochs" not in flat


def test_row_without_result_keeps_status_and_reason():
    flat = row("k=8", {"topk": "8"}, False, 3, "failed", "oom", None)
    assert flat == {
        "study": None,
        "cell": "k=8",
        "baseline": False,
        "factor:topk": "8",
        "seed": 3,
        "status": "failed",
        "reason": "oom",
    }


def test_empty_study_has_all_columns_and_types():
    frame = results_frame([])
    assert len(frame) == 0
    assert list(frame.columns) == FIXED_BEFORE + FIXED_MIDDLE + FIXED_AFTER
    assert str(frame["seed"].dtype) == "Int64"
    assert str(frame["baseline"].dtype) == "boolean"
    assert str(frame["reason"].dtype) == "string"
    assert str(frame["objective"].dtype) == "float64"


def test_order_and_types_of_columns():
    frame = frame_of_everything()
    assert list(frame.columns) == [
        *FIXED_BEFORE,
        *("factor:topk", "factor:a"),
        *FIXED_MIDDLE,
        *("best:val/acc1", "best:val/acc5", "best:val/loss", "last:val/acc1", "last:val/loss"),
        *FIXED_AFTER,
        *("version:python", "version:torch"),
    ]
    types = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert {types[name] for name in ("seed", "best_epoch", "macs", "peak_memory_bytes", "sessions")} == {"Int64"}
    assert {types[name] for name in ("factor:a", "version:torch", "digest", "git_commit")} == {"string"}
    assert {types[name] for name in ("objective", "best:val/acc5", "wall_seconds")} == {"float64"}


def test_columns_do_not_depend_on_which_trials_are_done():
    rows = [
        row("a", {"k": "1"}, True, 0, "missing", None, None),
        row("b", {"k": "2"}, False, 0, "complete", None, RESULT),
    ]
    assert list(results_frame(rows).columns) == list(results_frame(rows[::-1]).columns)


def test_conditional_metrics_and_missing_values():
    frame = frame_of_everything()
    assert frame["best:val/acc5"].notna().sum() == 1
    assert math.isnan(frame["images_per_second"].iloc[0])
    assert frame["git_commit"].isna().all()
    assert frame["macs"].iloc[0] == 2**62 + 1
    assert frame["factor:topk"].iloc[0] == "none"
    assert frame["reason"].iloc[12] is pd.NA  # an empty text says nothing
    failed = frame[frame["status"] == "failed"]
    assert failed["reason"].tolist() == ["oom"]
    assert failed["parameters"].isna().all()


def test_nothing_is_dropped_silently():
    with pytest.raises(ValueError, match="'colour' is not a column"):
        results_frame([{"cell": "a", "seed": 0, "status": "missing", "colour": "red"}])
    with pytest.raises(ValueError, match="'best:' is not a column"):
        results_frame([{"cell": "a", "seed": 0, "status": "missing", "best:": 1.0}])
    with pytest.raises(ValueError, match="status='done' does not exist"):
        results_frame([row("a", {}, False, 0, "done", None, None)])
    with pytest.raises(ValueError, match="cell 'a' has two rows for seed 0"):
        results_frame([row("a", {}, False, 0, "failed", "oom", None), row("a", {}, False, 0, "complete", None, RESULT)])


@pytest.mark.parametrize("without", ["results.csv", "results.parquet"])
@pytest.mark.parametrize("make", [frame_of_everything, lambda: results_frame([])], ids=["full", "empty"])
def test_round_trip(tmp_path, without, make):
    frame = make()
    write_results(frame, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["results.csv", "results.parquet"]
    (tmp_path / "new" / without).unlink()
    pd.testing.assert_frame_equal(read_results(tmp_path / "new"), frame, check_exact=True)


def test_what_was_read_is_written_alike(tmp_path):
    write_results(frame_of_everything(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_results(read_results(tmp_path), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["results.csv", "results.parquet"])
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, name):
    write_results(results_frame([row("old", {}, True, 0, "missing", None, None)]), tmp_path)
    before = (tmp_path / name).read_bytes()

    def half(self, path, **kwargs):
        path.write_text("half a tab")
        raise OSError("disk full")

    monkeypatch.setattr(results.pd.DataFrame, "to_csv" if name.endswith("csv") else "to_parquet", half)
    with pytest.raises(OSError, match="disk full"):
        write_results(frame_of_everything(), tmp_path)
    assert (tmp_path / name).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv", "results.parquet"]


def test_read_without_files(tmp_path):
    with pytest.raises(ConfigError, match=r"neither results\.parquet nor results\.csv"):
        read_results(tmp_path)


def test_complete_without_a_finite_objective_counts_as_failed():
    frame = frame_of_everything()
    seen = outcomes(frame)
    assert frame["status"].iloc[12] == "complete"
    assert seen[["status", "reason"]].iloc[12].tolist() == ["failed", "nan"]
    pd.testing.assert_frame_equal(seen.drop(index=12), frame.drop(index=12))
