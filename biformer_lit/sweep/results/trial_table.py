"""The table of a study's results: one row a trial, whatever became of it, kept as CSV and as Parquet."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from biformer_lit.common.files import replacing
from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.quantities import QUANTITIES
from biformer_lit.sweep.trials.jobs import Job, Standing
from biformer_lit.text.escaping import for_csv, from_csv

STATUSES = ("complete", "pruned", "failed", "missing", "running")
CSV = "results.csv"
PARQUET = "results.parquet"
_LARGEST = 1e100  # of an objective that can be compared

# The columns in their order; a name that ends in a colon stands for all columns that begin with it.
_DTYPES = {
    "study": "string",
    "cell": "string",
    "baseline": "boolean",
    "factor:": "string",
    "seed": "Int64",
    "status": "string",
    "reason": "string",
    "objective": "float64",
    "best_epoch": "Int64",
    "last_epoch": "Int64",
    "best:": "float64",
    "last:": "float64",
    **{quantity.name: quantity.dtype for quantity in QUANTITIES},
    "sessions": "Int64",
    "digest": "string",
    "git_commit": "string",
    "host": "string",
    "device": "string",
    "version:": "string",
}
_FROM_RESULT = (
    *("best_epoch", "last_epoch", *(quantity.name for quantity in QUANTITIES)),
    *("sessions", "digest", "git_commit", "host", "device"),
)


def row(
    cell_name: str,
    factors: Mapping[str, str],
    baseline: bool,
    seed: int,
    status: str,
    reason: str | None,
    result: Mapping[str, Any] | None,
    *,
    study: str | None = None,
) -> dict[str, Any]:
    """Flatten one trial into a row.

    Args:
        cell_name: Name of the cell.
        factors: Label of each factor.
        baseline: Whether the cell is the one that others are compared to.
        seed: Seed of the trial.
        status: One of ``STATUSES``.
        reason: Why it failed or is missing; None where there is nothing to say.
        result: What ``result.json`` holds, or None if there is none.
        study: Name of the study.

    Returns:
        Column -> value, ready for ``results_frame``. What ``result`` lacks is left out.
    """
    flat: dict[str, Any] = {"study": study, "cell": cell_name, "baseline": baseline}
    flat |= {f"factor:{name}": label for name, label in factors.items()}
    flat |= {"seed": seed, "status": status, "reason": reason}
    if result is None:
        return flat
    flat["objective"] = result.get("objective", {}).get("value")
    for which, metrics in result.get("metrics", {}).items():
        flat |= {f"{which}:{name}": value for name, value in metrics.items()}
    flat |= {name: result[name] for name in _FROM_RESULT if name in result}
    return flat | {f"version:{name}": value for name, value in result.get("versions", {}).items()}


def result_rows(study: str, jobs: Iterable[Job], standings: Mapping[str, Standing]) -> list[dict[str, Any]]:
    """A row of the results for each job, whatever became of it."""
    rows = []
    for job in jobs:
        standing = standings[job.key]
        status = "missing" if standing.status == "waiting" else standing.status
        reason = standing.reason if status == "failed" else None
        rows.append(row(job.cell, job.factors, job.baseline, job.seed, status, reason, standing.result, study=study))
    return rows


def results_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Build the table of results, in the order of ``rows``.

    Args:
        rows: One mapping a trial (see ``row``); a column that a row lacks is missing there. The table has a column
            for every factor, metric and package that any row names, and all other columns always.

    Returns:
        Nullable ``Int64``, ``boolean`` and ``string`` columns, in which a missing value is ``pandas.NA`` (an empty
        text is a missing text), and ``float64`` columns, in which it is NaN. Factors stand in the order in which
        they appear, metrics and packages in alphabetical order.

    Raises:
        ValueError: If a row has a column or a status that does not exist, or a trial has two rows.
    """
    columns = _columns(name for each in rows for name in each)
    data = {name: _array([each.get(name) for each in rows], dtype) for name, dtype in columns.items()}
    return _checked(pd.DataFrame(data, columns=list(columns)))


def outcomes(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its trials' statuses as the statistics see them.

    A complete trial whose objective is not a number, or too large for squares of it to be one, has nothing to compare:
    it counts as failed, for the reason ``nan``.
    """
    worthless = (frame["status"] == "complete") & ~(frame["objective"].abs() < _LARGEST)
    seen = frame.copy()
    seen.loc[worthless, "status"] = "failed"
    seen.loc[worthless, "reason"] = "nan"
    return seen


def write_results(frame: pd.DataFrame, folder: str | Path) -> None:
    """Write ``results.csv`` and ``results.parquet``.

    Whoever reads meanwhile, and whenever this process is killed, finds either the old file or the new one, complete.

    Args:
        frame: What ``results_frame`` made.
        folder: Made if it does not exist.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(frame, folder / CSV)
    with replacing(folder / PARQUET) as path:
        frame.to_parquet(path, engine="pyarrow", index=False)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, as a whole or not at all, with no text that a spreadsheet would take for a formula."""
    texts = frame.select_dtypes(["string", "object"])
    with replacing(path) as temporary:
        frame.assign(**{name: texts[name].map(for_csv) for name in texts}).to_csv(temporary, index=False)


def read_results(folder: str | Path) -> pd.DataFrame:
    """Read what ``write_results`` wrote, types included: from ``results.parquet``, or without it from ``results.csv``.

    Args:
        folder: Folder of the study.

    Raises:
        ConfigError: If neither file is there, or it does not hold the results of a study.
    """
    folder = Path(folder)
    path = next((path for path in (folder / PARQUET, folder / CSV) if path.is_file()), None)
    if path is None:
        raise ConfigError(f"folder={str(folder)!r} has neither {PARQUET} nor {CSV}; run the study first")
    try:
        frame = pd.read_parquet(path, engine="pyarrow") if path.name == PARQUET else _read_csv(path)
        columns = _columns(frame.columns)
        return _sound(_checked(frame[list(columns)].astype(columns)))
    except (ValueError, TypeError, KeyError, OverflowError, OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: does not hold the results of a study ({reason}); export the study again") from error


def _sound(frame: pd.DataFrame) -> pd.DataFrame:
    """Refuse figures that no trial has: the files may come from anybody."""
    for name in frame.select_dtypes("Int64"):
        if (frame[name].fillna(0) < 0).any():
            raise ValueError(f"{name} is {frame[name].min()}, below 0")
    for name in (quantity.name for quantity in QUANTITIES if not quantity.whole):
        if (frame[name] < 0).any() or np.isinf(frame[name]).any():
            raise ValueError(f"{name} is {frame[name].min()} at the least and {frame[name].max()} at the most")
    marked = frame.loc[frame["baseline"].fillna(False), "cell"].unique()
    if len(marked) > 1:
        raise ValueError(f"{len(marked)} cells are the baseline, not one: {', '.join(map(str, marked[:3]))}")
    return frame


def read_importances(path: Path) -> pd.DataFrame | None:
    """Read what each parameter of a search explains, None where there is no such file.

    Raises:
        ConfigError: If it does not hold that.
    """
    if not path.is_file():
        return None
    try:
        frame = pd.read_csv(path)[["parameter", "importance", "trials"]]
        frame = frame.astype({"parameter": "string", "importance": "float64", "trials": "int64"})
    except (ValueError, TypeError, KeyError, OverflowError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: does not hold importances ({reason}); export the study again") from error
    return frame.assign(parameter=frame["parameter"].map(from_csv))


def _read_csv(path: Path) -> pd.DataFrame:
    # text converted here: pandas takes labels such as "none" for missing, and may round a number's last digit
    texts = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    parse: dict[str, Callable[[str], Any]] = {
        "boolean": "True".__eq__,
        "Int64": int,
        "float64": float,
        "string": from_csv,
    }
    data = {
        name: _array([None if text is pd.NA else parse[dtype](text) for text in texts[name]], dtype)
        for name, dtype in _columns(texts.columns).items()
    }
    return pd.DataFrame(data)


def _columns(names: Iterable[str]) -> dict[str, str]:
    """All columns of a table that has these names among its columns: name -> type, in order."""
    groups: dict[str, list[str]] = {entry: [] for entry in _DTYPES}
    for name in dict.fromkeys(names):
        entry = name if name in _DTYPES else name.partition(":")[0] + ":"
        if entry not in _DTYPES or name.endswith(":"):
            raise ValueError(f"{name!r} is not a column of the results")
        groups[entry].append(name)
    columns: dict[str, str] = {}
    for entry, dtype in _DTYPES.items():
        found = groups[entry] if entry == "factor:" else sorted(groups[entry])
        columns |= dict.fromkeys(found if entry.endswith(":") else [entry], dtype)
    return columns


def _array(values: list[Any], dtype: str) -> Any:
    if dtype == "float64":
        return np.array([math.nan if value is None or value is pd.NA else value for value in values], dtype=dtype)
    if dtype == "string":
        return pd.array([None if value is None or value == "" else str(value) for value in values], dtype=dtype)
    return pd.array(values, dtype=dtype)


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    wrong = set(frame["status"].fillna("")) - set(STATUSES)
    if wrong:
        raise ValueError(f"status={min(wrong)!r} does not exist; choose from {', '.join(STATUSES)}")
    twice = frame[frame.duplicated(["study", "cell", "seed"])]
    if len(twice):
        raise ValueError(f"cell {twice['cell'].iloc[0]!r} has two rows for seed {twice['seed'].iloc[0]}")
    return frame
