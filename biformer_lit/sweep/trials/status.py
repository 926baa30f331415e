"""State of a study, seen from another terminal."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.sweep.trials.display import Line, duration, running_table, summary_line
from biformer_lit.sweep.trials.jobs import Standing
from biformer_lit.sweep.trials.progress import ProgressFile
from biformer_lit.sweep.trials.study import opened_study, shown_storage
from biformer_lit.text.escaping import visible


def print_status(study: str) -> None:
    """Print what runs, what has failed and how far the study has come.

    Args:
        study: The study's folder, or its study file.
    """
    with opened_study(study) as (spec, folder, ledger):
        standings = ledger.standings(job.key for job in ledger.jobs())
    console = Console()
    console.print(f"{spec.name}: {spec.question}", markup=False, highlight=False)
    lines = _running(spec, folder, standings)
    if lines:
        console.print(running_table(lines, spec.objective.metric))
    for key, standing in standings.items():
        if standing.status == "failed" and standing.attempt is not None:
            message = standing.attempt.user_attrs.get("message", "")
            console.print(
                f"failed: {key} ({standing.reason}): {visible(message)}", markup=False, highlight=False, soft_wrap=True
            )
    console.print(summary_line(standings.values()), highlight=False)
    console.print(f"storage: {shown_storage(spec, folder)}, study name {spec.name}", highlight=False, soft_wrap=True)
    times = [result["wall_seconds"] for s in standings.values() if s.status == "complete" and (result := s.result)]
    if times:
        console.print(f"trials take {duration(sum(times) / len(times))} on average", highlight=False)


def _running(spec: StudySpec, folder: Path, standings: Mapping[str, Standing]) -> list[Line]:
    lines = []
    for key, standing in standings.items():
        if standing.status != "running" or standing.attempt is None:
            continue
        progress = ProgressFile(folder / "cells" / key, spec.objective.metric, whole=True)
        list(progress.new())
        began = standing.attempt.datetime_start
        seconds = 0.0 if began is None else max(0.0, (type(began).now() - began).total_seconds())
        where = str(standing.attempt.user_attrs.get("owner", "")).partition(":")[0]
        lines.append(Line(key, seconds, progress.latest, f"on {where}", progress.silent_seconds()))
    return lines
