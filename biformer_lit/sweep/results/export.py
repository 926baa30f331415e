"""Export of a study's results from its record into files: tables, and a bundle to share."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna

from biformer_lit.common.files import replacing
from biformer_lit.errors import ConfigError
from biformer_lit.sweep.results.cell_summary import importances, markdown_table, summary
from biformer_lit.sweep.results.factorial import effects
from biformer_lit.sweep.results.trial_table import outcomes, result_rows, results_frame, write_csv, write_results
from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.sweep.trials.board import write_tensorboard
from biformer_lit.sweep.trials.jobs import Job, Standing
from biformer_lit.sweep.trials.study import IMPORTANCES, SPEC, opened_study, read_text
from biformer_lit.sweep.trials.study_plugins import PLUGINS

SUMMARY, EFFECTS = "summary.csv", "effects.csv"
_OF_TRIALS = (
    *(
        "config.yaml",
        "trial.yaml",
        "hparams.yaml",
        "progress.jsonl",
        "result.json",
        "failure.json",
        "sessions.jsonl",
        "trial.log",
    ),
    "events.out.tfevents.*",
)
_CHECKPOINTS = "checkpoints/*"


def write_tables(
    spec: StudySpec,
    folder: Path,
    jobs: Sequence[Job],
    standings: Mapping[str, Standing],
    study: optuna.Study,
    tables: Path | None = None,
) -> str:
    """Write a study's results, and bring TensorBoard's files up to date.

    Args:
        spec: The study.
        folder: Its folder.
        jobs: Its jobs.
        standings: How they stand.
        study: As Optuna has it, its storage open.
        tables: Folder for the results, where the study's own is only to be read; TensorBoard's files then stay.

    Returns:
        The tables for people, as text.
    """
    place = tables or folder
    frame = results_frame(result_rows(spec.name, jobs, standings))
    write_results(frame, place)
    seen = outcomes(frame)
    table = summary(seen, mode=spec.objective.mode)
    write_csv(table, place / SUMMARY)
    main = markdown_table(table, objective=spec.objective.metric)
    texts = [main]
    if spec.plan == "factorial":
        found = effects(seen, list(spec.factors))
        write_csv(found, place / EFFECTS)
        texts.append(found.to_string(index=False, float_format="{:.4f}".format))
    if spec.plan == "search":
        if seen.loc[seen["status"] == "complete"].groupby("cell")["seed"].nunique().gt(1).any():
            texts.append(f"Means of cells that were drawn include seed {spec.seeds[0]}, by which they were chosen.\n")
        rated = importances(study)
        write_csv(rated, place / IMPORTANCES)
        if len(rated):
            texts.append(rated.to_string(index=False, float_format="{:.2f}".format))
    if tables is None:
        write_tensorboard(folder, jobs, standings, table=main)
    return "\n".join(texts)


def export_study(study: str, tables: Path | None = None) -> tuple[str, Path, dict[str, Standing]]:
    """Write the results of a study that was run.

    Args:
        study: The study's folder, or its study file.
        tables: Folder for the results, where the study's own is only to be read.

    Returns:
        The tables as text, the folder, and how the study's jobs stand.
    """
    with opened_study(study) as (spec, folder, ledger):
        jobs = ledger.jobs()
        standings = ledger.standings(job.key for job in jobs)
        return write_tables(spec, folder, jobs, standings, ledger.study, tables), folder, standings


def missing_lines(standings: Mapping[str, Standing]) -> list[str]:
    """A line for each trial that should be complete and is not; cells over the constraints are no trials."""
    missing = {key: standing for key, standing in standings.items() if standing.status not in ("complete", "pruned")}
    return [
        f"{standing.status}: {key} ({standing.reason or 'not begun'})"
        for key, standing in missing.items()
        if standing.reason != "constraint"
    ]


def write_bundle(folder: Path, bundle: Path, *, checkpoints: bool) -> int:
    """Pack what a study's report is made of, and the report if there is one.

    Args:
        folder: The study's, exported.
        bundle: The zip file; never overwritten.
        checkpoints: Whether the trials' checkpoints are packed too.

    Returns:
        How many files were packed.

    Raises:
        ConfigError: If the file exists.
    """
    if bundle.exists():
        raise ConfigError(f"--bundle {bundle}: exists already; choose another file or remove it")
    if not bundle.parent.is_dir():
        raise ConfigError(f"--bundle {bundle}: the folder {bundle.parent} does not exist; make it first")
    patterns = [SPEC, PLUGINS, "*.csv", "*.parquet", "report/**/*", "cells/events.out.tfevents.*"]
    patterns += [f"cells/*/*/{name}" for name in _OF_TRIALS]
    if checkpoints:
        patterns.append(f"cells/*/*/{_CHECKPOINTS}")
    found = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    name = folder.resolve().name
    with replacing(bundle) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in found:
            if path == folder / SPEC:
                archive.writestr(str(Path(name, SPEC)), read_text(folder))
            else:
                archive.write(path, Path(name, path.relative_to(folder)))
    return len(found)
