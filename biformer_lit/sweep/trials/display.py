"""Display of a running study: a line for each trial and a bar for the study, or plain lines in a log."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from typing_extensions import Self

from biformer_lit.sweep.trials.jobs import Standing
from biformer_lit.sweep.trials.progress import Progress
from biformer_lit.text.escaping import visible

_EVERY = 0.5  # seconds between two pictures
SILENT = 600.0  # seconds without a sign of a trial that are worth telling


@dataclass(frozen=True)
class Line:
    """A running trial.

    Attributes:
        job: Its key.
        seconds: How long it has run.
        progress: How far it has come, None before its first epoch.
        where: The machine, for trials of others.
        silent: Seconds since it wrote anything; told where it is long.
    """

    job: str
    seconds: float
    progress: Progress | None
    where: str = ""
    silent: float = 0.0


def duration(seconds: float) -> str:
    """Write seconds as 1:02:03 or 4:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def summary_line(standings: Iterable[Standing]) -> str:
    """Count jobs by status: "3 of 8 complete, 2 running, 3 waiting"."""
    counts = Counter("waiting" if s.status == "missing" else s.status for s in standings)
    total = sum(counts.values())
    others = [f"{counts[name]} {name}" for name in ("pruned", "running", "waiting", "failed") if counts[name]]
    return ", ".join([f"{counts['complete']} of {total} complete", *others])


def running_table(lines: Sequence[Line], metric: str) -> Table:
    """A line for each running trial."""
    table = Table(box=None, pad_edge=False)
    table.add_column("running")
    for name in ("epoch", metric, "time", "left"):
        table.add_column(name, justify="right")
    for line in lines:
        p = line.progress
        epoch = "starting" if p is None else f"{p.epoch}/{p.epochs}"
        value = "" if p is None or p.value is None else f"{p.value:.4f}"
        left = "" if p is None or p.seconds_left is None else duration(p.seconds_left)
        quiet = f"(silent for {duration(line.silent)})" if line.silent > SILENT else ""
        table.add_row(" ".join(filter(None, (line.job, line.where, quiet))), epoch, value, duration(line.seconds), left)
    return table


class Display:
    """Shows a study while it runs.

    Args:
        name: The study's.
        metric: The objective's name.
        console: Where; the standard output by default.
    """

    def __init__(self, name: str, metric: str, console: Console | None = None) -> None:
        self._console = console or Console()
        self._name, self._metric = name, metric
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._shown = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the moving lines away."""
        if self._live is not None:
            self._live.update("", refresh=True)
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        console = self._console if self._live is None else self._live.console
        console.print(f"{time.strftime('%H:%M:%S')} {visible(text)}", highlight=False, soft_wrap=True, markup=False)
        console.file.flush()  # a log that is followed shows it now

    def show(self, lines: Sequence[Line], standings: Mapping[str, Standing]) -> None:
        """The picture as it is now, on a terminal."""
        if self._live is None or time.monotonic() - self._shown < _EVERY:
            return
        self._shown = time.monotonic()
        whole = Table.grid()
        whole.add_row(running_table(lines, self._metric))
        settled = sum(standing.settled for standing in standings.values())
        foot = Table.grid(padding=(0, 1))
        foot.add_row(self._name, ProgressBar(len(standings), settled, width=40), summary_line(standings.values()))
        whole.add_row(foot)
        self._live.update(whole, refresh=True)
