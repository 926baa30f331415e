"""Finished studies made of nothing but files and a record: what reports are written from, in no time.

``python finished_studies.py FOLDER CELLS SEEDS EPOCHS`` makes a large one, to time reports and pages with.
"""

import json
import math
import random
import sys
from pathlib import Path

import optuna
import yaml
from optuna.trial import TrialState, create_trial

from biformer_lit.sweep.spec.cells import plan_cells
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.spec.study_spec import digest_of
from biformer_lit.sweep.trials.jobs import Job
from biformer_lit.sweep.trials.source import folder_name
from biformer_lit.sweep.trials.storage import closing, open_storage
from biformer_lit.sweep.trials.study import SPEC


def value_of(cell, seed, epochs):
    """Accuracy after each epoch, the same whenever it is asked."""
    draw = random.Random(f"{cell.name} {seed}")
    top = 0.6 + 0.3 * random.Random(cell.name).random() + draw.gauss(0, 0.01)
    return [top * (1 - math.exp(-4 * (epoch + 1) / epochs)) + draw.gauss(0, 0.002) for epoch in range(epochs)]


def finished_study(folder, *, epochs=3, failed=(), value=value_of, measured=None, **contents):
    """Write a study's folder and its record, every trial complete but those named in ``failed`` as (cell, seed)."""
    folder.mkdir(parents=True)
    values = {"name": folder.name, "question": "Which one?", "base": "digits", "plan": "factorial", "seeds": [0]}
    (folder / SPEC).write_text(yaml.safe_dump({**values, **contents}, sort_keys=False))
    spec = read_spec(folder / SPEC)
    storage = open_storage(None, folder)
    optuna.create_study(storage=storage, study_name=spec.name, direction="maximize")
    study_id = storage.get_study_id_from_name(spec.name)
    with closing(storage):
        for seed in spec.seeds:
            for number, cell in enumerate(plan_cells(spec)):
                one = _trial(folder, spec, cell, number, seed, epochs, failed, value, measured)
                storage.create_new_trial(study_id, one)
    return folder


def _trial(folder, spec, cell, number, seed, epochs, failed, value, measured):
    digest = digest_of(cell.name)
    key = folder_name(cell.name, digest, seed)
    job = Job(key, cell.name, cell.factors, seed, digest, cell.baseline, "plan", {**cell.factors, "seed": seed})
    attrs = {"job": key, "attempt": 0, "about": job.text(), "phase": "plan"}
    place = folder / "cells" / key
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(yaml.safe_dump({"model": cell.overrides, "seed_everything": seed}))
    if (cell.name, seed) in failed:
        attrs |= {"reason": "nan", "message": "train/loss=nan"}
        return create_trial(state=TrialState.FAIL, user_attrs=attrs)
    course = value(cell, seed, epochs)
    metric = spec.objective.metric
    lines = [
        {"epoch": i + 1, "epochs": epochs, "step": 10 * (i + 1), "wall_seconds": 2.0 * i, "session": 1,
         "peak_memory_bytes": 10**9, "metrics": {metric: one, "train/loss": 1 - one, "val/loss": 1.1 - one}}
        for i, one in enumerate(course)
    ]  # fmt: skip
    (place / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    best = max(range(epochs), key=course.__getitem__)
    result = {
        "status": "complete", "seed": seed, "digest": digest, "parameters": 10**6 + 1000 * number,
        "macs": 2 * 10**7 + 10**5 * number, "epochs": epochs,
        "objective": {"metric": metric, "mode": "max", "epoch": "best", "value": course[best]},
        "metrics": {"best": lines[best]["metrics"], "last": lines[-1]["metrics"]},
        "best_epoch": best + 1, "last_epoch": epochs, "images_per_second": 300.0 - number, "peak_memory_bytes": 10**9,
        "wall_seconds": 2.0 * epochs, "sessions": 1, "versions": {"torch": "2.15.0"}, "git_commit": "c0ffee",
        "host": "here", "device": "cpu", **(measured or {}),
    }  # fmt: skip
    (place / "result.json").write_text(json.dumps(result))
    attrs["result"] = json.dumps(result)
    return create_trial(state=TrialState.COMPLETE, value=course[best], user_attrs=attrs)


def grid(cells):
    """Two factors whose combinations are at least so many cells."""
    side = math.ceil(math.sqrt(cells))
    return {
        name: {f"{name}{i}": {f"model.backbone.{key}": i} for i in range(side)}
        for name, key in (("a", "lce"), ("b", "head_dim"))
    }


if __name__ == "__main__":
    cells, seeds, epochs = map(int, sys.argv[2:])
    finished_study(
        Path(sys.argv[1]), factors=grid(cells), baseline={"a": "a0", "b": "b0"}, seeds=list(range(seeds)), epochs=epochs
    )
