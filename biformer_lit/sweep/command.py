"""``python -m biformer_lit sweep``: run a study, see how it stands, read out its results."""

import argparse
import dataclasses
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from biformer_lit.errors import BiFormerLitError, ConfigError
from biformer_lit.extending.plugin_words import HELP, WORD
from biformer_lit.sweep.spec import address
from biformer_lit.sweep.spec.cells import Cell
from biformer_lit.sweep.spec.quantities import QUANTITIES, Quantity, prefixed
from biformer_lit.sweep.spec.resolve import ResolvedCell, resolve_cells, task_objective
from biformer_lit.sweep.spec.runs import Runs
from biformer_lit.sweep.spec.study_reader import read_spec
from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.sweep.trials.display import Display, duration
from biformer_lit.sweep.trials.jobs import Standing
from biformer_lit.sweep.trials.ledger import Ledger
from biformer_lit.sweep.trials.meaning import Meanings
from biformer_lit.sweep.trials.runner import Runner
from biformer_lit.sweep.trials.source import PlanSource, SearchSource
from biformer_lit.sweep.trials.status import print_status
from biformer_lit.sweep.trials.storage import closing
from biformer_lit.sweep.trials.study import SPEC, as_recorded, begin, folder_of, open_ledger, with_others
from biformer_lit.sweep.trials.study_plugins import check_plugins, note_plugins

_DESCRIPTION = """Ablation studies: one YAML file, one command. Stop it whenever you like; the same command goes on."""
_RUN = """Train what is open of a study. Settings of training (--data.dataset FOLDER, --trainer.max_epochs 5) count for
all cells. Exit status 0: every cell is complete; 1: some failed, and the table says why; 2: bad input."""


class _Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with the message as one line."""
        raise ConfigError(message)


def sweep(args: Sequence[str], runs: Runs) -> int:
    """Run the command.

    Args:
        args: The command line after ``sweep``.
        runs: What a study is told of the runs of ``fit``.

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
        return _run(given, settings, runs)
    return _LOOKING[given.command](given)


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
    run.add_argument(WORD, metavar="PLUGIN", help=HELP)  # taken out before; here for the help
    for name, text in _TEXTS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        if name == "compare":
            command.add_argument("study", nargs="+", help="folders, study files or bundles of at least two studies")
        else:
            alternative = ", its study file or a bundle" if name == "report" else ", or its study file"
            command.add_argument("study", help=f"the study's folder{alternative}")
        if name == "export":
            command.add_argument("--bundle", type=Path, help="also pack everything but checkpoints as this zip file")
            command.add_argument("--checkpoints", action="store_true", help="pack the checkpoints, too")
        if name in ("report", "compare"):
            default = "comparison, here" if name == "compare" else "report in the study's folder, or beside the bundle"
            command.add_argument("--out", type=Path, help=f"folder to write to (default: {default})")
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
        except (yaml.YAMLError, ValueError, RecursionError):  # a text, as is a date that cannot be
            settings[name] = text
    return settings


# -- run -------------------------------------------------------------------------------------------------


def _run(given: argparse.Namespace, settings: Mapping[str, Any], runs: Runs) -> int:
    spec = _spec(given, settings, runs)
    folder = folder_of(spec, given.folder)
    groups = _groups(given.devices, given.devices_per_trial)
    workers = given.workers
    if groups and workers > len(groups):
        raise ConfigError(
            f"--workers {workers}: --devices {given.devices} make {len(groups)} slots of {given.devices_per_trial}; "
            "give more devices or fewer workers"
        )
    workers = max(workers, len(groups))
    if groups:  # Lightning takes those that the trial sees
        spec = dataclasses.replace(spec, settings={**spec.settings, "trainer.devices": given.devices_per_trial})

    meanings: Meanings | None = None

    def resolve(cells: list[Cell], baseline: ResolvedCell | None) -> list[ResolvedCell]:
        resolved = resolve_cells(spec, cells, runs, baseline)
        return resolved if meanings is None else meanings.known(resolved)

    if given.dry_run:
        check_plugins(spec.name, folder)
        source = _source(spec, resolve, None)
        _print_plan(spec, folder, source, workers, runs)
        return 0
    with Display(spec.name, spec.objective.metric) as display:
        if spec.storage is not None and address.kept(spec.storage) != spec.storage:
            display.say(
                f"the password is not written down: {SPEC} has {address.kept(spec.storage)}, and commands that "
                "look at the study take it from that variable"
            )
        ledger = open_ledger(spec, folder, display.say)
        with closing(ledger.storage):
            check_plugins(spec.name, folder, ledger)
            meanings = Meanings(ledger, runs)
            source = _source(spec, resolve, ledger)
            begin(spec, folder, ledger, source.resolved, meanings, extend=given.extend)
            note_plugins(spec.name, folder, ledger, [spec.as_dict(), *(one.config for one in source.resolved.values())])
            if given.retry_failed:
                ledger.enqueue(source.jobs(), again=True)
            _raise_on_sigterm()
            try:
                standings = Runner(spec, source, ledger, display, workers=workers, groups=groups).run()
            except KeyboardInterrupt:
                display.say("stopped; the same command goes on")
                return 130
            from biformer_lit.sweep.results.export import write_tables  # noqa: PLC0415 (pandas takes its time)

            jobs, everything = with_others(source.jobs(), standings, ledger)
            text = write_tables(as_recorded(spec, ledger), folder, jobs, everything, ledger.study)
    waiting = sum(not everything[job.key].settled for job in jobs if job.key not in standings)
    if waiting:
        print(
            f"{waiting} trials that another command added are not settled; it writes the tables again", file=sys.stderr
        )
    return _conclude(text, folder, standings)


def _conclude(text: str, folder: Path, standings: Mapping[str, Standing]) -> int:
    """Show the tables, and what is missing; the exit status."""
    from biformer_lit.sweep.results.export import missing_lines  # noqa: PLC0415

    print(text)
    missing = missing_lines(standings)
    for line in missing:
        print(line, file=sys.stderr)
    print(f"results: {folder / 'results.csv'}")
    return 1 if missing else 0


def _spec(given: argparse.Namespace, settings: Mapping[str, Any], runs: Runs) -> StudySpec:
    spec = read_spec(given.study, settings, lambda spec: task_objective(spec, runs))
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


def _print_plan(spec: StudySpec, folder: Path, source: PlanSource | SearchSource, workers: int, runs: Runs) -> None:
    table = Table(title=escape(f"{spec.name}: {spec.question}"))
    table.add_column("cell")
    factors = dict.fromkeys(name for one in source.resolved.values() for name in one.cell.factors)
    for name in factors:
        table.add_column(escape(name))
    costs = [quantity for quantity in QUANTITIES if quantity.known == "before"]
    for name in (*(quantity.title for quantity in costs), "to baseline"):
        table.add_column(name, justify="right")
    baseline = next((one for one in source.resolved.values() if one.cell.baseline), None)
    for one in source.resolved.values():
        ratio = "" if baseline is None else f"{one.costs['macs'] / baseline.costs['macs']:.3f}"
        labels = [one.cell.factors.get(name, "") for name in factors]
        table.add_row(
            escape(one.cell.name),
            *map(escape, labels),
            *(_exactly(quantity, one.costs[quantity.name]) for quantity in costs),
            ratio,
        )
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
            seconds = runs.seconds(typical.config)
        except BiFormerLitError as error:
            console.print(f"expected time: unknown ({error})", highlight=False, markup=False)
            return
        console.print(
            f"expected time: {duration(seconds)} for {typical.cell.name} (from a few steps on all of this machine), "
            f"{duration(seconds * count)} for all, one after the other",
            highlight=False,
        )


def _exactly(quantity: Quantity, value: int) -> str:
    return f"{prefixed(quantity, value, 3)} G" if quantity.prefix == "G" else f"{value:,}"


# -- looking at a study ----------------------------------------------------------------------------------


def _status(given: argparse.Namespace) -> int:
    print_status(given.study)
    return 0


def _export(given: argparse.Namespace) -> int:
    from biformer_lit.sweep.results.export import export_study, write_bundle  # noqa: PLC0415

    if given.checkpoints and given.bundle is None:
        raise ConfigError("--checkpoints belongs to --bundle FILE.zip; give that too")
    if given.bundle is not None and given.bundle.exists():
        raise ConfigError(f"--bundle {given.bundle}: exists already; choose another file or remove it")
    text, folder, standings = export_study(given.study)
    status = _conclude(text, folder, standings)
    if given.bundle is not None:
        from biformer_lit.sweep.report.write import write_report  # noqa: PLC0415

        write_report(folder, folder / "report", print)
        count = write_bundle(folder, given.bundle, checkpoints=given.checkpoints)
        print(f"bundle: {given.bundle} ({count} files)")
    return status


def _report(given: argparse.Namespace) -> int:
    from biformer_lit.sweep.report.report_commands import report  # noqa: PLC0415

    report(given.study, given.out)
    return 0


def _compare(given: argparse.Namespace) -> int:
    from biformer_lit.sweep.report.report_commands import compare  # noqa: PLC0415

    compare(given.study, given.out)
    return 0


_TEXTS = {
    "status": "show how a study stands",
    "export": "write results.csv, results.parquet and summary.csv from the record",
    "report": "write the answer, tables and figures as a page, Markdown, LaTeX and CSV",
    "compare": "set the same cells of several studies side by side",
}
_LOOKING: dict[str, Callable[[argparse.Namespace], int]] = {
    "status": _status,
    "export": _export,
    "report": _report,
    "compare": _compare,
}
