"""``python -m biformer_lit sweep``: run a study, see how it stands, read out its results."""

import argparse
import dataclasses
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeAlias

import yaml
from rich.console import Console
from rich.table import Table

from biformer_lit.errors import BiFormerLitError, ConfigError
from biformer_lit.sweep.display import Display, Line, duration, running_table, summary_line
from biformer_lit.sweep.jobs import Job, Standing
from biformer_lit.sweep.ledger import Ledger
from biformer_lit.sweep.plan import Cell
from biformer_lit.sweep.progress import ProgressFile
from biformer_lit.sweep.resolve import Measure, Parse, ResolvedCell, resolve_cells
from biformer_lit.sweep.runner import Runner
from biformer_lit.sweep.source import PlanSource, SearchSource
from biformer_lit.sweep.spec import StudySpec, read_spec
from biformer_lit.sweep.storage import closing
from biformer_lit.sweep.study import begin, find_study, folder_of, open_ledger, result_rows, shown_storage

Estimate: TypeAlias = Callable[[dict[str, Any]], float]
"""From a complete config of ``fit`` to the seconds that it would train here."""

_DESCRIPTION = """Ablation studies: one YAML file, one command. Stop it whenever you like; the same command goes on."""
_RUN = """Train what is open of a study. Settings of training (--data.dataset FOLDER, --trainer.max_epochs 5) count for
all cells. Exit status 0: every cell is complete; 1: some failed, and the table says why; 2: bad input."""


class _Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with the message as one line."""
        raise ConfigError(message)


def sweep(args: Sequence[str], parse: Parse, measure: Measure, estimate: Estimate) -> int:
    """Run the command.

    Args:
        args: The command line after ``sweep``.
        parse: From arguments of ``fit`` to a complete config.
        measure: From a complete config to parameters and multiply-adds.
        estimate: From a complete config to the seconds that it would train here.

    Returns:
        The exit status.

    Raises:
        ConfigError: On bad input.
    """
    parser = _parser()
    given, rest = parser.parse_known_args(args)
    settings = _settings(rest) if given.command == "run" else {}
    if given.command != "run" and rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if given.command == "run":
        return _run(given, settings, parse, measure, estimate)
    return {"status": _status, "export": _export}[given.command](given)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("biformer_lit sweep", description=_DESCRIPTION, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    run = commands.add_parser("run", help="train what is open of a study", description=_RUN, allow_abbrev=False)
    run.add_argument("study", help="study file, such as sweeps/topk.yaml")
    run.add_argument("--workers", type=_positive, default=1, help="trials at a time (default: 1)")
    run.add_argument(
        "--devices", default="", help="GPUs to use, such as 0,1,2,3 (default: what each trial's config says)"
    )
    run.add_argument("--devices-per-trial", type=_positive, default=1, help="GPUs of each trial (default: 1)")
    run.add_argument("--folder", help="the study's folder (default: runs/sweeps/NAME)")
    run.add_argument("--name", help="name of the study (default: the file's)")
    run.add_argument("--storage", help="sqlite:///FILE, postgresql://..., mysql://... or grpc://HOST:PORT")
    run.add_argument("--dry-run", action="store_true", help="print the plan and train nothing")
    run.add_argument("--extend", action="store_true", help="add the study file's new cells and seeds to a study")
    run.add_argument("--retry-failed", action="store_true", help="try failed cells again")
    for name, text in (("status", "how a study stands"), ("export", "write results.csv and results.parquet")):
        command = commands.add_parser(name, help=text, description=f"Show or write {text}.", allow_abbrev=False)
        command.add_argument("study", help="the study's folder, or its study file")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _settings(rest: Sequence[str]) -> dict[str, Any]:
    """Settings of training, as ``fit`` takes them: --a.b value or --a.b=value."""
    settings: dict[str, Any] = {}
    words = iter(rest)
    for word in words:
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or "." not in name:
            raise ConfigError(f"unrecognized argument: {word}; --help lists the arguments")
        if not equals:
            following = next(words, None)
            if following is None:
                raise ConfigError(f"{word} needs a value; give it")
            text = following
        try:
            settings[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            settings[name] = text
    return settings


# -- run -------------------------------------------------------------------------------------------------


def _run(
    given: argparse.Namespace, settings: Mapping[str, Any], parse: Parse, measure: Measure, estimate: Estimate
) -> int:
    spec = _spec(given, settings)
    folder = folder_of(spec, given.folder)
    groups = _groups(given.devices, given.devices_per_trial)
    workers = given.workers
    if groups and workers > len(groups):
        raise ConfigError(
            f"--workers {workers}: --devices {given.devices} make {len(groups)} places of {given.devices_per_trial}; "
            "give more devices or fewer workers"
        )
    workers = max(workers, len(groups))
    if groups:  # Lightning takes those that the trial sees
        spec = dataclasses.replace(spec, settings={**spec.settings, "trainer.devices": given.devices_per_trial})

    def resolve(cells: list[Cell], baseline: ResolvedCell | None) -> list[ResolvedCell]:
        return resolve_cells(spec, cells, parse, measure, baseline)

    if given.dry_run:
        source = _source(spec, resolve, None)
        _print_plan(spec, folder, source, workers, estimate)
        return 0
    with Display(spec.name, spec.objective.metric) as display:
        ledger = open_ledger(spec, folder, display.say)
        with closing(ledger.storage):
            source = _source(spec, resolve, ledger)
            begin(spec, folder, ledger, source.resolved, extend=given.extend)
            if given.retry_failed:
                ledger.enqueue(source.jobs(), again=True)
            _raise_on_sigterm()
            try:
                standings = Runner(spec, source, ledger, display, workers=workers, groups=groups).run()
            except KeyboardInterrupt:
                display.say("stopped; the same command goes on")
                return 130
            jobs = source.jobs()
    return _report(spec, folder, jobs, standings)


def _spec(given: argparse.Namespace, settings: Mapping[str, Any]) -> StudySpec:
    spec = read_spec(given.study, settings)
    changes = {name: getattr(given, name) for name in ("name", "storage") if getattr(given, name)}
    return dataclasses.replace(spec, **changes) if changes else spec


def _source(spec: StudySpec, resolve: Any, ledger: Ledger | None) -> PlanSource | SearchSource:
    return SearchSource(spec, resolve, ledger) if spec.plan == "search" else PlanSource(spec, resolve)


def _groups(devices: str, size: int) -> list[list[str]]:
    names = [name.strip() for name in devices.split(",") if name.strip()]
    if len(set(names)) < len(names):
        raise ConfigError(f"--devices {devices}: names a device twice; remove one")
    if len(names) % size:
        raise ConfigError(f"--devices {devices}: {len(names)} devices do not divide into groups of {size}")
    return [names[i : i + size] for i in range(0, len(names), size)]


def _raise_on_sigterm() -> None:
    """End as after Ctrl-C when a cluster takes the machine away."""

    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def _report(spec: StudySpec, folder: Path, jobs: Sequence[Job], standings: Mapping[str, Standing]) -> int:
    """Write the results and print their table; the exit status."""
    from biformer_lit.sweep.results import results_frame, write_results  # noqa: PLC0415 (pandas takes its time)
    from biformer_lit.sweep.statistics import effects, markdown_table, summary  # noqa: PLC0415

    frame = results_frame(result_rows(spec.name, jobs, standings))
    write_results(frame, folder)
    table = summary(frame, mode=spec.objective.mode)
    table.to_csv(folder / "summary.csv", index=False)
    print(markdown_table(table, objective=spec.objective.metric))
    if spec.plan == "factorial":
        found = effects(frame, list(spec.factors))
        found.to_csv(folder / "effects.csv", index=False)
        print(found.to_string(index=False, float_format="{:.4f}".format))
    missing = [key for key, standing in standings.items() if standing.status not in ("complete", "pruned")]
    wrong = [key for key in missing if standings[key].reason != "constraint"]
    for key in wrong:
        standing = standings[key]
        print(f"{standing.status}: {key} ({standing.reason or 'not begun'})", file=sys.stderr)
    print(f"results: {folder / 'results.csv'}")
    return 1 if wrong else 0


def _print_plan(
    spec: StudySpec, folder: Path, source: PlanSource | SearchSource, workers: int, estimate: Estimate
) -> None:
    table = Table(title=f"{spec.name}: {spec.question}")
    table.add_column("cell")
    factors = dict.fromkeys(name for one in source.resolved.values() for name in one.cell.factors)
    for name in factors:
        table.add_column(name)
    for name in ("parameters", "MACs", "to baseline"):
        table.add_column(name, justify="right")
    baseline = next((one for one in source.resolved.values() if one.cell.baseline), None)
    for one in source.resolved.values():
        ratio = "" if baseline is None else f"{one.macs / baseline.macs:.3f}"
        labels = [one.cell.factors.get(name, "") for name in factors]
        table.add_row(one.cell.name, *labels, f"{one.parameters:,}", f"{one.macs / 1e9:.3f} G", ratio)
    console = Console()
    console.print(table)
    if spec.plan == "search":
        drawn = ", ".join([*spec.factors, *spec.space])
        extra = f", then the best {spec.search.top} and the baseline with {spec.search.confirm} fresh seeds"
        console.print(f"{spec.budget.trials} cells drawn over {drawn}{extra if spec.search.confirm else ''}")
    count = len(source.jobs()) if spec.plan != "search" else spec.budget.trials or 0
    console.print(f"{count} trials, {workers} at a time, in {folder}", highlight=False)
    typical = baseline or next(iter(source.resolved.values()), None)
    if typical is not None:
        try:
            seconds = estimate(typical.config)
        except BiFormerLitError as error:
            console.print(f"expected time: unknown ({error})", highlight=False, markup=False)
            return
        console.print(
            f"expected time: {duration(seconds)} for {typical.cell.name} (from a few steps on all of this machine), "
            f"{duration(seconds * count)} for all, one after the other",
            highlight=False,
        )


# -- status and export -----------------------------------------------------------------------------------


def _status(given: argparse.Namespace) -> int:
    spec, folder, _, standings = _read(given.study)
    console = Console()
    console.print(f"{spec.name}: {spec.question}", markup=False)
    lines = []
    for key, standing in standings.items():
        if standing.status == "running" and standing.trial is not None:
            progress = ProgressFile(folder / "cells" / key, spec.objective.metric, whole=True)
            list(progress.new())
            began = standing.trial.datetime_start
            seconds = 0.0 if began is None else max(0.0, (type(began).now() - began).total_seconds())
            where = str(standing.trial.user_attrs.get("owner", "")).partition(":")[0]
            lines.append(Line(key, seconds, progress.latest, f"on {where}"))
    if lines:
        console.print(running_table(lines, spec.objective.metric))
    for key, standing in standings.items():
        if standing.status == "failed" and standing.trial is not None:
            message = standing.trial.user_attrs.get("message", "")
            console.print(
                f"failed: {key} ({standing.reason}): {message}", markup=False, highlight=False, soft_wrap=True
            )
    console.print(summary_line(standings.values()), highlight=False)
    console.print(f"storage: {shown_storage(spec, folder)}, study name {spec.name}", highlight=False, soft_wrap=True)
    times = [result["wall_seconds"] for s in standings.values() if s.status == "complete" and (result := s.result)]
    if times:
        console.print(f"trials take {duration(sum(times) / len(times))} on average", highlight=False)
    return 0


def _export(given: argparse.Namespace) -> int:
    return _report(*_read(given.study))


def _read(study: str) -> tuple[StudySpec, Path, list[Job], dict[str, Standing]]:
    """A study that was run, its folder, and how the jobs that were written stand."""
    spec, folder = find_study(study)
    ledger = open_ledger(spec, folder, print)
    with closing(ledger.storage):
        jobs = ledger.jobs()
        return spec, folder, jobs, ledger.standings(job.key for job in jobs)
