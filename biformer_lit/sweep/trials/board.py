"""Summaries of a study for TensorBoard, besides those that its trials log themselves.

``tensorboard --logdir STUDY/cells`` then shows its factors and figures as a table (HParams), curves and costs side by
side (Custom Scalars) and the main table (Text). The study's own summaries lie in ``cells``, and those of a trial in its
folder, beside what it logs: the factors when it starts, and the objective, the costs and how it ended when nobody will
train it any more.

TensorBoard takes the first summary of a name that it meets in a folder, and reads a folder's files in the order of
their names, without returning to earlier ones. So each summary has a file of its own; to replace it, one with a later
time in its name is written, and it is emptied. Its name says by a digest what it holds, so that a look at the names is
enough to see that nothing has changed.

Nothing here may hurt a study: what cannot be written is said in a line and tried again the next time.
"""

import contextlib
import fcntl
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from biformer_lit.running.history import read_lines
from biformer_lit.sweep.spec.quantities import QUANTITIES
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.spec.study_spec import StudySpec, digest_of
from biformer_lit.sweep.trials.jobs import Job, Standing, Status
from biformer_lit.sweep.trials.study import SPEC
from biformer_lit.sweep.trials.varied import Column, columns_of, values_of

if TYPE_CHECKING:
    from biformer_lit.sweep.trials.summaries import Summaries

OBJECTIVE = "study/objective"
"""Tag of the objective that counts; the metric's own tag has its course."""
ANSWER = "answer/table"
"""Tag of the main table; it stands above config/text_summary, of which each trial has one."""

_FORM = 1  # of what is written here: another one replaces what was written before
_FILE = re.compile(r"events\.out\.tfevents\.(\d+)\.(\w+)-([0-9a-f]{12})")
_TIME = re.compile(r"tfevents\.(\d+)")
_READ = 3600.0  # seconds after which a server has read what there is
_PATIENCE = 5.0  # seconds to wait for another coordinator that writes
_COSTS = {f"cost/{quantity.tag}": quantity for quantity in QUANTITIES}

Say = Callable[[str], None]


def write_tensorboard(
    folder: Path,
    jobs: Sequence[Job],
    standings: Mapping[str, Standing],
    *,
    table: str | None = None,
    say: Say = print,
) -> None:
    """Bring all that TensorBoard is to know of a study up to date with the record.

    What is up to date already is left alone, so it may be called whenever the record may have changed.

    Args:
        folder: The study's; ``study.yaml`` in it says what the study is, as others may have extended it meanwhile.
        jobs: Its jobs.
        standings: How they stand; a job that is not among them is left alone.
        table: The main table in Markdown; None leaves the one that is there.
        say: Takes a line about what could not be written.
    """
    with _harmless(say):
        spec = read_spec(folder / SPEC)
        columns = columns_of(spec)
        with _alone(folder):
            _write_study(spec, columns, folder / "cells", table)
            problems = []
            for job in jobs:
                standing = standings.get(job.key)
                if standing is not None:
                    try:
                        _write_trial(columns, folder, job, standing.status, standing.result or {})
                    except OSError as error:  # of this trial's folder perhaps, and the others are well
                        problems.append(error)
            if problems:
                raise problems[0]


def write_trial(
    spec: StudySpec,
    folder: Path,
    job: Job,
    status: Status,
    *,
    result: Mapping[str, Any] | None = None,
    costs: Mapping[str, int] | None = None,
    say: Say = print,
) -> None:
    """Bring what TensorBoard is to know of one trial up to date: when it starts, and when its job is settled.

    Args:
        spec: The study.
        folder: The study's.
        job: The trial's.
        status: How it stands.
        result: What came out, if something did.
        costs: Of the network, for a trial that starts.
        say: Takes a line about what could not be written.
    """
    with _harmless(say), _alone(folder):
        _write_trial(columns_of(spec), folder, job, status, {**(costs or {}), **(result or {})})


def _write_study(spec: StudySpec, columns: Mapping[str, Column], folder: Path, table: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    objective = spec.objective
    metrics = {OBJECTIVE: f"objective: {objective.metric}, {objective.epoch} epoch"}
    metrics |= {objective.metric: objective.metric}
    metrics |= {tag: quantity.tag_title for tag, quantity in _COSTS.items()}
    charts = _charts(objective.metric)
    varied = {name for name, column in columns.items() if column.bounds is not None or len(column.labels) > 1}
    varied |= {"seed"} if len(spec.seeds) > 1 else set()
    about = {
        "name": spec.name,
        "question": spec.question,
        "columns": {name: asdict(column) for name, column in columns.items()},
        "varied": sorted(varied),
        "metrics": metrics,
        "charts": charts,
    }

    def study() -> "Summaries":
        from biformer_lit.sweep.trials.summaries import experiment, layout  # noqa: PLC0415 (only where something is written)

        return experiment(spec.name, spec.question, columns, varied, metrics) + layout(charts)

    _bring(folder, "study", about, study)
    if table is None:
        return
    shown = f"### {spec.name}: {spec.question}\n\n{table}"

    def answer() -> "Summaries":
        from biformer_lit.sweep.trials.summaries import text  # noqa: PLC0415 (only where something is written)

        return text(ANSWER, shown)

    _bring(folder, "answer", {"text": shown}, answer)


def _charts(metric: str) -> dict[str, dict[str, list[str]]]:
    """Category to title of a chart to tags."""
    learning = {
        f"{metric}, and where the objective was taken": [metric, OBJECTIVE],
        "train loss": ["train/loss"],
        "validation loss": ["val/loss"],
    }
    costs = {quantity.tag_title: [tag] for tag, quantity in _COSTS.items()}
    return {"Learning": learning, "Costs": costs}


def _write_trial(
    columns: Mapping[str, Column], study: Path, job: Job, status: Status, known: Mapping[str, Any]
) -> None:
    """Write a trial's summaries; ``known`` is a result, or the costs that are known before there is one."""
    folder = study / "cells" / job.key
    settled = status in ("complete", "pruned", "failed")
    if settled or (status == "running" and known):  # else whoever trains it knows more, and writes it
        folder.mkdir(parents=True, exist_ok=True)
        values = values_of(columns, job)

        def start() -> "Summaries":
            from biformer_lit.sweep.trials.summaries import scalars, session_start  # noqa: PLC0415 (only where one is written)

            return session_start(job.key, values) + scalars(0, _costs(known, "before"))

        _bring(folder, "start", {"values": values}, start)
    if not settled:  # also where it is tried again
        _bring(folder, "end", None, list)
        return
    objective = known.get("objective", {}).get("value")
    success = status != "failed" and isinstance(objective, float | int) and math.isfinite(objective)
    figures = _costs(known, "after")

    def end() -> "Summaries":
        from biformer_lit.sweep.trials.summaries import scalars, session_end  # noqa: PLC0415 (only where something is written)

        counted = {OBJECTIVE: objective if success else None}
        return session_end(success=success) + scalars(0, figures) + scalars(_step_that_counts(folder, known), counted)

    _bring(folder, "end", {"success": success, "objective": objective, "figures": figures}, end)


def _costs(values: Mapping[str, Any], known: Literal["before", "after"]) -> dict[str, float | None]:
    """Tag to value of the quantities that are known before or after training; None for those that are not there."""
    found: dict[str, float | None] = {}
    for tag, quantity in _COSTS.items():
        if quantity.known == known:
            value = values.get(quantity.name)
            found[tag] = value if value is None or quantity.units == 1 else value / quantity.units
    return found


def _step_that_counts(folder: Path, result: Mapping[str, Any]) -> int:
    """The step at which the objective's value was logged, so that it lies on the metric's curve; 0 if unknown."""
    wanted = result.get(f"{result.get('objective', {}).get('epoch')}_epoch")
    lines = read_lines(folder / "progress.jsonl")
    steps = [line["step"] for line in lines if line.get("epoch") == wanted and isinstance(line.get("step"), int)]
    return max(0, steps[-1] - 1) if steps else 0  # what an epoch logs stands at the last step that was made


def _bring(folder: Path, kind: str, about: Mapping[str, Any] | None, make: Callable[[], "Summaries"]) -> None:
    """See that a folder has the one file of a kind that it is to have.

    Args:
        folder: Where.
        kind: Of the file: study, answer, start or end.
        about: What it is to say, as plain values; None if there is to be none.
        make: Makes it.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if "tfevents" in path.name)
    except FileNotFoundError:
        paths = []
    own = {path: match[3] for path in paths if (match := _FILE.fullmatch(path.name)) and match[2] == kind}
    digest = None if about is None else digest_of({"form": _FORM, **about})
    kept = next((path for path, found in own.items() if found == digest and path.stat().st_size), None)
    if kept is None and digest is not None:
        from biformer_lit.sweep.trials.summaries import write_events  # noqa: PLC0415 (only where something is written)

        latest = max((int(match[1]) for path in paths if (match := _TIME.search(path.name))), default=0)
        later = max(int(time.time()), latest + 1)
        kept = folder / f"events.out.tfevents.{later:010d}.{kind}-{digest}"
        write_events(kept, make(), kind)
        paths.append(kept)
    for path in own:  # only now: a full disk is to cost nothing that was there
        if path != kept:
            _withdraw(path, last=path == paths[-1])


def _withdraw(path: Path, *, last: bool) -> None:
    """Empty a file, and remove it later.

    A server that has come to a file that is gone then reads nothing more of its folder, however many there are.

    Args:
        path: The file.
        last: Whether it is the last of its folder, where servers wait for more.
    """
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        if found.st_size:
            path.write_bytes(b"")
        elif not last and time.time() - found.st_mtime > _READ:
            path.unlink()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other coordinators out; what both wrote would stand there twice until the next time."""
    with (folder / "tensorboard.lock").open("ab") as file:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # one that was stopped must not stop us
                time.sleep(0.02)
        yield


@contextlib.contextmanager
def _harmless(say: Say) -> Iterator[None]:
    """Let what goes wrong cost a line and nothing else."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is: the study is worth more than its pictures)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        say(f"TensorBoard's summaries of the study are not up to date ({reason}); sweep export writes them again")
