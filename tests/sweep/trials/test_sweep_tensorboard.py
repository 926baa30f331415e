"""What TensorBoard shows of studies whose trainer only pretends: columns, values, and how trials ended."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time

import pytest
import yaml
from studies import ROOT, start, study, sweep, wait_for
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboards import Board, files, update

from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.trials import board, summaries
from biformer_lit.sweep.trials.board import write_tensorboard, write_trial
from biformer_lit.sweep.trials.jobs import Job
from biformer_lit.sweep.trials.varied import columns_of, values_of

FACTORS = {
    "width": {"key": "fake.width", "values": [16, 32.5]},
    "gate": {"key": "fake.gate", "values": [True, False]},
    "topk": {"key": "fake.topk", "values": [[1, 4], 8]},
    "lce": {"with": {"fake.lce": 5}, "without": {"fake.lce": 0}},
}
RESULT = {
    "objective": {"metric": "val/acc1", "mode": "max", "epoch": "best", "value": 0.75},
    "best_epoch": 2,
    "last_epoch": 3,
    "parameters": 1000,
    "macs": 5000,
    "images_per_second": 250.0,
    "peak_memory_bytes": 2**29,
    "wall_seconds": 90.0,
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs/sweeps/study"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs ``study.yaml`` in ``tmp_path`` in this process; the exit status."""
    monkeypatch.setenv("FAKE_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: sweep("run", tmp_path / "study.yaml", *arguments)


def job(spec, cell="c", seed=0, **factors):
    return Job(f"{cell}-12345678/seed-{seed}", cell, factors, seed, "123456789abc", False, "plan", {})


def begun(tmp_path, **changes):
    """A study's file, and its folder as if the study had begun."""
    spec = read_spec(study(tmp_path, **changes))
    folder = tmp_path / "begun"
    folder.mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(spec.as_dict()))
    return spec, folder


# -- columns ---------------------------------------------------------------------------------------------


def test_the_types_of_columns(tmp_path):
    columns = columns_of(read_spec(study(tmp_path, factors=FACTORS)))
    kinds = {name: column.kind for name, column in columns.items()}
    own = {"width": "number", "gate": "boolean", "topk": "text", "lce": "text"}
    assert kinds == {"cell": "text", "seed": "number", **own}
    one = job(None, width="32.5", gate="false", topk="1-4", lce="with")
    values = values_of(columns, one)
    assert values == {"cell": "c", "seed": 0, "width": 32.5, "gate": False, "topk": "1-4", "lce": "with"}
    assert values["gate"] is False
    # of a study that others have extended by a label of another kind
    assert "width" not in values_of(columns, job(None, width="all"))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "number"),
        ([1e-5, 3], "number"),
        ([True, False], "boolean"),
        ([True, 3], "text"),
        ([None, 3], "text"),
        (["a", "b"], "text"),
        (["1", 2], "text"),
        ({"small": 1, "large": 2}, "text"),
        ({"1": 1, "2": 2}, "number"),
    ],
)
def test_the_type_of_a_factor(tmp_path, values, kind):
    spec = read_spec(study(tmp_path, factors={"x": {"key": "fake.x", "values": values}}))
    assert columns_of(spec)["x"].kind == kind


def test_the_columns_of_a_whole_study(run, tmp_path, folder):
    study(tmp_path, factors=FACTORS, seeds=[0, 1])
    assert run("--workers", "4") == 0
    update(folder)
    board = Board(folder)
    assert board.columns() == {
        "gate": ("BOOL", [True, False]),
        "lce": ("STRING", ["with", "without"]),
        "seed": ("FLOAT64", [0, 0]),
        "topk": ("STRING", ["1-4", "8"]),
        "width": ("FLOAT64", [16, 32.5]),
        "cell": ("STRING", [0, 0]),
    }
    experiment = board.experiment()
    assert (experiment.name, experiment.description) == ("study", "Does it work?")
    assert [info.name.tag for info in experiment.metric_infos][:2] == ["study/objective", "val/acc1"]
    rows = board.rows()
    results = {path.parent: json.loads(path.read_text()) for path in folder.glob("cells/*/*/result.json")}
    assert len(rows) == len(results) == 32
    for path, result in results.items():
        row = rows[str(path.relative_to(folder / "cells"))]
        config = yaml.safe_load((path / "config.yaml").read_text())
        assert row.values["width"] == config["fake"]["width"]
        assert row.values["gate"] is config["fake"]["gate"]
        assert row.values["seed"] == config["seed_everything"]
        assert (row.status, row.sessions) == ("SUCCESS", 1)
        assert row.metrics["study/objective"] == pytest.approx(result["objective"]["value"])
        assert (row.metrics["cost/parameters"], row.metrics["cost/macs"]) == (1000, 1000)
        assert row.metrics["cost/images_per_second"] == 1
        assert row.metrics["cost/wall_minutes"] == pytest.approx(result["wall_seconds"] / 60)
        assert row.metrics["cost/peak_memory_gib"] == 0


def test_listed_cells(run, tmp_path, folder):
    cells = {"Swin layout": {"fake.x": 1}, "+ routing": {"fake.x": 2}}
    values = yaml.safe_load(study(tmp_path, plan="cells", factors=None, baseline="Swin layout").read_text())
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**values, "cells": cells}, sort_keys=False))
    assert run() == 0
    update(folder)
    assert Board(folder).columns() == {"cell": ("STRING", list(cells)), "seed": ("FLOAT64", [0, 0])}
    assert {row.values["cell"] for row in Board(folder).rows().values()} == set(cells)


def test_a_search_has_ranges_and_a_baseline_outside_of_them(tmp_path):
    """The baseline has no label for what is drawn, and its row no value."""
    space = {"lr": {"key": "fake.lr", "low": 1e-4, "high": 1e-2, "log": True}}
    spec, folder = begun(tmp_path, plan="search", space=space, baseline={"x": "c0"}, budget={"trials": 2}, cells=2)
    write_tensorboard(folder, [], {})
    write_trial(spec, folder, job(spec, "baseline", 1, x="c0"), "complete", result=RESULT)
    write_trial(spec, folder, job(spec, "drawn", x="c1", lr="0.00123457"), "pruned", result=RESULT)
    board = Board(folder)
    assert board.columns()["lr"] == ("FLOAT64", [1e-4, 1e-2])
    baseline, drawn = board.rows().values()
    assert "lr" not in baseline.values
    assert drawn.values["lr"] == 0.00123457
    assert drawn.status == "SUCCESS"  # as was meant


# -- how trials go ---------------------------------------------------------------------------------------


def test_a_trial_that_runs_and_ends(tmp_path):
    spec, folder = begun(tmp_path)
    one = job(spec, x="c0")
    write_tensorboard(folder, [one], {})
    write_trial(spec, folder, one, "running", costs={"parameters": 1000, "macs": 5000})
    (row,) = Board(folder).rows().values()
    assert row.status == "UNKNOWN"
    assert row.metrics == {"cost/parameters": 1000, "cost/macs": 5000}
    trial = folder / "cells" / one.key
    # what the trial logs itself
    now = int(time.time())
    course = [pair for step, value in ((9, 0.5), (19, 0.75), (29, 0.6)) for pair in logged(step, value)]
    summaries.write_events(trial / f"events.out.tfevents.{now + 5}.host.1.0", course, "logged")
    lines = [{"epoch": epoch, "step": 10 * epoch} for epoch in (1, 2, 3)]
    (trial / "progress.jsonl").write_text("\n".join([*map(json.dumps, lines), '{"epo', "[]"]))
    write_trial(spec, folder, one, "complete", result=RESULT)
    board = Board(folder)
    (row,) = board.rows().values()
    assert row.status == "SUCCESS"
    costs = {"cost/images_per_second": 250, "cost/peak_memory_gib": 0.5, "cost/wall_minutes": 1.5}
    costs |= {"cost/parameters": 1000, "cost/macs": 5000}
    assert row.metrics == pytest.approx({"study/objective": 0.75, "val/acc1": 0.6, **costs})
    assert board.steps(one.key, "study/objective") == [19]  # on the curve, at the best epoch
    # TensorBoard does not return to earlier files, so what came later must be in a later one
    names = sorted(path.name for path in trial.glob("*tfevents*"))
    assert [name.split(".")[4].split("-")[0] for name in names] == ["start", "host", "end"]


def logged(step, value):
    return summaries.scalars(step, {"val/acc1": value, "train/loss": 1 - value})


def test_a_trial_that_is_resumed_has_one_session(run, tmp_path, folder):
    fake = {0: {"fake.fail": "kill", "fake.times": 2, "fake.at": 2}}
    study(tmp_path, cells=1, fake=fake, retries=2)
    assert run() == 0
    (row,) = Board(folder).rows().values()
    assert (row.status, row.sessions) == ("SUCCESS", 1)
    assert [len(files(folder, kind)) for kind in ("start", "end")] == [1, 1]


def test_a_failure_that_is_tried_again_leaves_no_trace(run, tmp_path, folder):
    study(tmp_path, cells=2, fake={0: {"fake.fail": "nan"}})
    assert run() == 1
    rows = {row.values["x"]: row for row in Board(folder).rows().values()}
    assert {label: row.status for label, row in rows.items()} == {"c0": "FAILURE", "c1": "SUCCESS"}
    assert rows["c0"].metrics == {"cost/parameters": 1000, "cost/macs": 1000}
    assert update(folder) == []
    (tmp_path / "healed").touch()
    assert run("--retry-failed") == 0
    assert {row.status for row in Board(folder).rows().values()} == {"SUCCESS"}
    assert [len(files(folder, kind)) for kind in ("start", "end")] == [2, 2]
    assert update(folder) == []


def test_a_trial_that_fails_twice_alike(tmp_path):
    spec, folder = begun(tmp_path)
    one = job(spec, x="c0")
    for _ in range(3):
        write_trial(spec, folder, one, "running", costs={"parameters": 1000, "macs": 5000})
        (row,) = Board(folder).rows().values()
        assert row.status == "UNKNOWN"
        write_trial(spec, folder, one, "failed")
        (row,) = Board(folder).rows().values()
        assert row.status == "FAILURE"


def test_what_was_withdrawn_is_removed_when_nobody_reads_it(tmp_path):
    """A server that has come to a file that is gone would read nothing more of its folder."""
    spec, folder = begun(tmp_path)
    one = job(spec, x="c0")
    write_trial(spec, folder, one, "failed", costs={"parameters": 1000, "macs": 5000})
    (end,) = files(folder, "end")
    write_trial(spec, folder, one, "waiting")
    os.utime(end, (time.time() - 3700,) * 2)
    write_trial(spec, folder, one, "waiting")
    assert end.stat().st_size == 0  # still the last of its folder, where servers wait for more
    write_trial(spec, folder, one, "complete", result=RESULT)
    assert not end.exists()
    assert len(files(folder, "end")) == 1


def test_a_server_that_watches(tmp_path):
    """It stays with the last file of a folder, which a retry withdraws."""
    spec, folder = begun(tmp_path)
    one = job(spec, x="c0")
    write_tensorboard(folder, [], {}, table="first")
    write_trial(spec, folder, one, "running", costs={"parameters": 1000, "macs": 5000})
    board = Board(folder)
    write_trial(spec, folder, one, "failed")
    board.runs.Reload()
    write_trial(spec, folder, one, "running", costs={"parameters": 1000, "macs": 5000})
    board.runs.Reload()
    later = folder / "cells" / one.key / f"events.out.tfevents.{int(time.time()) + 5}.host.1.0"
    summaries.write_events(later, logged(9, 0.5), "logged")
    board.runs.Reload()
    assert board.rows()[one.key].metrics["val/acc1"] == 0.5
    write_trial(spec, folder, one, "complete", result=RESULT)
    write_tensorboard(folder, [], {}, table="second")
    board.runs.Reload()
    assert board.rows()[one.key].metrics["study/objective"] == 0.75
    assert board.text("answer/table")[-1].endswith("second")


def test_a_trial_that_waits_to_be_tried_again_has_not_ended(tmp_path):
    spec, folder = begun(tmp_path)
    one = job(spec, x="c0")
    write_trial(spec, folder, one, "failed", costs={"parameters": 1000, "macs": 5000})
    assert len(files(folder, "end")) == 1
    for status in ("waiting", "missing"):
        write_trial(spec, folder, one, status)
        assert len(files(folder, "end")) == 0
        assert len(files(folder, "start")) == 1
    write_trial(spec, folder, job(spec, "other"), "waiting")
    assert not (folder / "cells/other-12345678").exists()


def test_an_objective_that_is_no_number_is_a_failure(tmp_path):
    spec, folder = begun(tmp_path)
    result = RESULT | {"objective": RESULT["objective"] | {"value": float("nan")}}
    write_trial(spec, folder, job(spec, x="c0"), "complete", result=result)
    (row,) = Board(folder).rows().values()
    assert row.status == "FAILURE"
    assert "study/objective" not in row.metrics


def test_a_study_that_was_run_without_tensorboard(run, tmp_path, folder):
    """Also that of another machine, whose files are not here."""
    study(tmp_path, cells=2, fake={1: {"fake.fail": "nan"}})
    assert run() == 1
    before = Board(folder).rows()
    for path in files(folder):
        path.unlink()
    update(folder)
    after = Board(folder).rows()
    assert {key: row.status for key, row in after.items()} == {key: row.status for key, row in before.items()}
    assert [row.values for row in after.values()] == [row.values for row in before.values()]


def test_an_extended_study(run, tmp_path, folder):
    study(tmp_path, cells=2)
    assert run() == 0
    update(folder)
    assert Board(folder).columns()["x"] == ("STRING", ["c0", "c1"])
    study(tmp_path, cells=3, seeds=[0, 1])
    assert run("--extend", "--workers", "2") == 0
    update(folder)
    board = Board(folder)
    assert board.columns()["x"] == ("STRING", ["c0", "c1", "c2"])
    assert len(board.rows()) == 6
    assert len(files(folder, "study")) == 1
    # a coordinator that began with fewer cells ends last
    before = files(folder)
    write_tensorboard(folder, [], {})
    assert files(folder) == before


# -- charts and the table --------------------------------------------------------------------------------


def test_charts(tmp_path):
    _, folder = begun(tmp_path, objective={"metric": "val/loss", "mode": "min"})
    write_tensorboard(folder, [], {})
    (event,) = Board(folder).runs.Tensors(".", "custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    tags = [[list(chart.multiline.tag) for chart in category.chart] for category in layout.category]
    assert tags[0] == [["^val/loss$", "^study/objective$"], ["^train/loss$"], ["^val/loss$"]]
    assert ["^cost/images_per_second$"] in tags[1]
    assert len(tags[1]) == 5


def test_the_table_is_replaced_where_it_changed(tmp_path):
    _, folder = begun(tmp_path)
    for table in ("| cell |\n|---|\n| a |\n", "| cell |\n|---|\n| b |\n"):
        write_tensorboard(folder, [], {}, table=table)
        assert Board(folder).text("answer/table") == [f"### study: Does it work?\n\n{table}"]
        before = files(folder)
        assert len(before) == 2
        write_tensorboard(folder, [], {}, table=table)
        write_tensorboard(folder, [], {})
        assert files(folder) == before


# -- mishaps ---------------------------------------------------------------------------------------------


def test_nothing_is_written_twice(run, tmp_path, folder):
    study(tmp_path, cells=3, seeds=[0, 1])
    assert run("--workers", "3") == 0
    update(folder)
    before = [files(folder, kind) for kind in ("study", "start", "end")]
    assert [len(found) for found in before] == [1, 6, 6]
    assert run() == 0
    assert update(folder) == []
    assert [files(folder, kind) for kind in ("study", "start", "end")] == before


def test_what_a_killed_process_left(tmp_path):
    """Two files of a kind, and one that was not finished."""
    spec, folder = begun(tmp_path)
    one = job(spec, x="c0")
    write_trial(spec, folder, one, "complete", result=RESULT)
    (end,) = files(folder, "end")
    digest = end.name.rpartition("-")[2]
    old = end.with_name(end.name.replace(digest, "0" * 12).replace("tfevents.1", "tfevents.0"))
    old.write_bytes(end.read_bytes())
    twice = end.with_name(end.name.replace("tfevents.1", "tfevents.2"))
    twice.write_bytes(end.read_bytes())
    end.with_name(".end.99999").write_bytes(end.read_bytes()[:40])
    write_trial(spec, folder, one, "complete", result=RESULT)
    assert list(files(folder, "end")) == [end]
    assert len(Board(folder).runs.Tensors(one.key, "study/objective")) == 1


@pytest.mark.parametrize("moment", range(3))
def test_killed_while_it_writes(tmp_path, monkeypatch, moment):
    spec, folder = begun(tmp_path)
    one = job(spec, x="c0")
    write, calls = summaries.RecordWriter.write, []

    def dying(self, data):
        calls.append(data)
        if len(calls) > moment:
            raise KeyboardInterrupt
        write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(summaries.RecordWriter, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            write_trial(spec, folder, one, "complete", result=RESULT)
    assert files(folder) == {}
    write_trial(spec, folder, one, "complete", result=RESULT)
    (row,) = Board(folder).rows().values()
    assert (row.status, row.metrics["study/objective"]) == ("SUCCESS", 0.75)


def test_a_full_disk_costs_a_line(run, tmp_path, folder, monkeypatch, capsys):
    study(tmp_path, cells=2)

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(summaries, "write_events", full)
        assert run() == 0
        said = capsys.readouterr().out
        assert "TensorBoard's summaries of the study are not up to date (OSError: [Errno 28] No space left" in said
        assert len(update(folder)) == 1
    assert files(folder) == {}
    assert update(folder) == []
    assert {row.status for row in Board(folder).rows().values()} == {"SUCCESS"}


def test_one_trial_whose_folder_cannot_be_had(run, tmp_path, folder):
    study(tmp_path, cells=3)
    assert run() == 0
    for path in files(folder):
        path.unlink()
    first = min((folder / "cells").iterdir())
    first.rename(tmp_path / "away")
    first.write_text("a file where a folder should be")
    (said,) = update(folder)
    assert "\n" not in said
    assert len(Board(folder).rows()) == 2


def test_no_study_file(tmp_path):
    said = []
    write_tensorboard(tmp_path, [], {}, say=said.append)
    assert len(said) == 1
    assert "study.yaml" in said[0]


def test_another_coordinator_that_was_stopped(tmp_path, monkeypatch):
    """It holds the lock, and is not waited for beyond patience."""
    monkeypatch.setattr(board, "_PATIENCE", 0.1)
    _, folder = begun(tmp_path)
    with (folder / "tensorboard.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_tensorboard(folder, [], {}, table="table")
    assert len(files(folder)) == 2


def test_several_coordinators(tmp_path):
    """Each writes all it knows while the others do."""
    path = study(tmp_path, cells=6, seeds=[0, 1])
    coordinators = [start(tmp_path, path, "--workers", "2", FAKE_NO_REPORT="1") for _ in range(3)]
    folder = tmp_path / "study"
    wait_for((folder / "study.yaml").exists)
    while any(coordinator.poll() is None for coordinator in coordinators):
        assert update(folder, "table") == []
        time.sleep(0.05)
    assert [coordinator.wait() for coordinator in coordinators] == [0] * 3, (tmp_path / "coordinator.log").read_text()
    update(folder, "table")
    rows = Board(folder).rows()
    assert len(rows) == 12
    assert {(row.status, row.sessions) for row in rows.values()} == {("SUCCESS", 1)}
    assert [len(files(folder, kind)) for kind in ("study", "answer", "start", "end")] == [1, 1, 12, 12]
    assert "TensorBoard" not in (tmp_path / "coordinator.log").read_text()


def test_who_only_looks_does_without_tensorboard():
    """The status of a study is to be there at once."""
    package = f"import sys, types; p = types.ModuleType('biformer_lit'); p.__path__ = [{str(ROOT / 'biformer_lit')!r}];"
    code = "import biformer_lit.sweep.command; print([n for n in ('tensorboard', 'torch') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{package} sys.modules['biformer_lit'] = p; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
