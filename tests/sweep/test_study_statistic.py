"""What CONTRIBUTING.md says of a new study statistic, done to a copy of the package and run."""

import json
import os
import subprocess
import sys

import pandas as pd
from documented_edits import edited_package

RUN = """
import json, sys
from pathlib import Path

from biformer_lit.cli import main
from finished_studies import finished_study

config, folder = sys.argv[1:]
objective = {"metric": "val/acc1", "mode": "max", "epoch": "best"}
init = {"folder": f"{folder}/trial", **objective, "digest": "", "parameters": 1, "macs": 1}
report = {"class_path": "biformer_lit.callbacks.TrialReport", "init_args": init}
main(["fit", "--config", config, "--trainer.max_epochs=1", "--trainer.logger.init_args.save_dir", f"{folder}/trial",
      "--trainer.callbacks+", json.dumps(report)])
result = json.loads(Path(folder, "trial/result.json").read_text())
measured = {"checkpoint_bytes": result["checkpoint_bytes"]}
factors = {"topk": {"one": {"model.backbone.topk": 1}, "two": {"model.backbone.topk": 2}}}
finished_study(Path(folder, "study"), factors=factors, seeds=[0, 1], measured=measured)
main(["sweep", "report", f"{folder}/study"])
"""


def test_a_statistic_costs_two_edits(root, tmp_path):
    package = edited_package(root, tmp_path / "edited", "Add a study statistic")
    helpers = root / "tests/sweep"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(root / "tests/configs/tiny.yaml"), str(tmp_path)],
        cwd=package,
        env=os.environ | {"PYTHONPATH": f"{package}{os.pathsep}{helpers}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "trial/result.json").read_text())["checkpoint_bytes"]
    files = list((tmp_path / "trial").rglob("*.ckpt"))
    assert measured == sum(path.stat().st_size for path in files) > 0
    study = tmp_path / "study"
    assert set(pd.read_csv(study / "results.csv")["checkpoint_bytes"]) == {measured}
    assert set(pd.read_csv(study / "summary.csv")["checkpoint_bytes"]) == {measured}
    shown = f"{measured / 1e6:.1f}"
    assert set(pd.read_csv(study / "report/table.csv", dtype=str)["checkpoints (MB)"]) == {shown}
    assert "checkpoints (MB)" in (study / "report/report.html").read_text()
    assert "checkpoints (MB)" in (study / "report/report.md").read_text()
    described = next((study / "cells").glob("events.out.tfevents.*.study-*")).read_bytes()
    assert b"size of the checkpoints (MB)" in described
    ended = next((study / "cells").glob("*/seed-0/events.out.tfevents.*.end-*")).read_bytes()
    assert b"cost/checkpoints_mb" in ended
