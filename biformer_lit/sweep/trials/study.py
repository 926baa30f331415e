"""A study on disk and in its storage: begun, found again, extended, and read out."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.storages import BaseStorage

from biformer_lit.common.files import write_text
from biformer_lit.errors import ConfigError
from biformer_lit.running import trial_folders as trials
from biformer_lit.sweep.spec import address
from biformer_lit.sweep.spec.resolve import ResolvedCell
from biformer_lit.sweep.spec.study_file import read_yaml
from biformer_lit.sweep.spec.study_reader import read_spec, spec_of
from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.sweep.trials.jobs import Job, Standing
from biformer_lit.sweep.trials.ledger import Ledger
from biformer_lit.sweep.trials.meaning import Meanings
from biformer_lit.sweep.trials.storage import JOURNAL, closing, open_storage, patiently
from biformer_lit.sweep.trials.study_plugins import PLUGINS

SPEC = trials.SPEC
IMPORTANCES = "importances.csv"
# what all results of a study must have in common; --extend does not change it
_FIXED = ("plan", "objective", "constraints", "baseline")
_FIXED_IN_SEARCH = ("factors", "space", "seeds")
_APART = ("name", "retries", "storage", "question")  # changed at any time
_SPEC_NOTED = "spec"
_AS_RUN = "# The study as it was run, complete.\n"


def folder_of(spec: StudySpec, folder: str | None) -> Path:
    """The study's folder: the one that was named, or ``runs/sweeps/NAME``."""
    return Path(folder) if folder else Path("runs", "sweeps", spec.name)


def find_study(study: str) -> tuple[StudySpec, Path]:
    """The study of a folder, or of the study file that it was run from.

    Args:
        study: A study's folder, its ``study.yaml``, or a study file whose folder is at the usual place.

    Raises:
        ConfigError: If there is none.
    """
    path = Path(study)
    candidates = [path] if path.is_dir() else [path.parent]
    if path.is_file():
        candidates.append(folder_of(read_spec(path), None))
    for folder in candidates:
        if (folder / SPEC).is_file():
            return read_spec(folder / SPEC), folder
    raise ConfigError(f"{study}: holds no study that was run; give its folder, such as runs/sweeps/NAME, with {SPEC}")


@contextlib.contextmanager
def opened_study(study: str) -> Iterator[tuple[StudySpec, Path, Ledger]]:
    """A study that was run, its folder and its trials, for as long as the context lasts.

    Args:
        study: As for :func:`find_study`.
    """
    spec, folder = find_study(study)
    ledger = open_ledger(spec, folder, print, looking=True)
    with closing(ledger.storage):
        yield spec, folder, ledger


def open_ledger(spec: StudySpec, folder: Path, say: Callable[[str], None], *, looking: bool = False) -> Ledger:
    """The study's trials, for ``looking`` without a right to write anything.

    Raises:
        ConfigError: If its storage cannot be opened.
    """
    storage = open_storage(spec.storage, folder, looking=looking)
    local = spec.storage is None  # a database file may serve several folders
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if spec.plan == "search" and spec.search.prune:
        pruner = optuna.pruners.MedianPruner(n_warmup_steps=spec.search.warmup_epochs)
    # several commands draw from one space: seeded alike they would draw alike after a restart
    seed = spec.search.sampler_seed + patiently(lambda: _trials_so_far(storage, spec.name), say)
    return Ledger(
        storage,
        spec.name,
        folder,
        mode=spec.objective.mode,
        retries=spec.retries,
        local=local,
        sampler=optuna.samplers.TPESampler(seed=seed) if spec.plan == "search" else None,
        pruner=pruner,
        say=say,
        looking=looking,
    )


def _trials_so_far(storage: BaseStorage, name: str) -> int:
    try:
        return len(storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False))
    except KeyError:
        return 0


def begin(
    spec: StudySpec,
    folder: Path,
    ledger: Ledger,
    resolved: Mapping[str, ResolvedCell],
    meanings: Meanings,
    *,
    extend: bool,
) -> None:
    """Note what the study is, or see that it is still the same.

    What decides is what the cells come to: a base file may move or gain a comment, and a question may be reworded.

    Args:
        spec: The study.
        folder: Its folder.
        ledger: Its trials.
        resolved: Its planned cells, with the digests that they had where they mean the same.
        meanings: What they meant before.
        extend: Whether cells and seeds may be added to a study that was begun.

    Raises:
        ConfigError: If the study was begun with other contents; both ways out are named.
    """
    cells = {name: one.digest for name, one in resolved.items()}
    contents = spec.as_dict()
    del contents["storage"]  # it may hold a password
    now = {"digest": spec.digest(), "spec": contents, "cells": cells}
    _check_folder(spec, folder)
    noted = ledger.attribute(_SPEC_NOTED)
    if noted is None:
        if not _lost_its_record(spec, folder):
            _check_unused(folder)
    else:
        before = json.loads(noted)
        _check_same(spec, before, cells, meanings, extend=extend)
        file_is_current = (folder / SPEC).is_file() and not _tells(read_spec(folder / SPEC))
        if before == now and file_is_current:
            meanings.note(resolved)
            return
    folder.mkdir(parents=True, exist_ok=True)
    ledger.note(_SPEC_NOTED, json.dumps(now))
    meanings.note(resolved)
    write_text(folder / SPEC, text_of(spec))


def _check_same(
    spec: StudySpec, before: Mapping[str, Any], cells: Mapping[str, str], meanings: Meanings, *, extend: bool
) -> None:
    """Refuse a study that is not the one that was begun, nor, with ``extend``, a larger one."""
    old, new = spec_of(before["spec"]).as_dict(), spec.as_dict()
    searching = spec.plan == "search"
    lost = [
        f"cell {name}{_how(name, meanings)}" for name, digest in before["cells"].items() if cells.get(name) != digest
    ]
    lost += [f"seed {seed}" for seed in old["seeds"] if seed not in spec.seeds]
    fixed = [name for name in (*_FIXED, *(_FIXED_IN_SEARCH if searching else ())) if old[name] != new[name]]
    grown = bool(cells.keys() - before["cells"].keys() or set(spec.seeds) - set(old["seeds"]))
    grown = grown or (searching and (old["budget"]["trials"], old["search"]) != (spec.budget.trials, new["search"]))
    if not (lost or fixed or (grown and not extend)):
        return
    fields = [name for name in new if name not in _APART and old[name] != new[name]]
    changed = ", ".join(fields or ["the configs that the base files come to"])
    gone = f"; gone or of another meaning: {', '.join(lost)}" if lost else ""
    add = "" if lost or fixed else "add its new cells and seeds with --extend, or "
    raise ConfigError(
        f"study {spec.name} was begun with other contents ({changed} changed{gone}): {add}begin a new study with "
        "--name NEW, or give back what was changed"
    )


def _how(cell: str, meanings: Meanings) -> str:
    found = meanings.changes.get(cell)
    return f" ({'; '.join(found)})" if found else ""


def as_recorded(spec: StudySpec, ledger: Ledger) -> StudySpec:
    """The study as its record has it, which others may have extended since it was begun."""
    noted = ledger.attribute(_SPEC_NOTED)
    return spec if noted is None else replace(spec_of(json.loads(noted)["spec"]), storage=spec.storage)


def with_others(
    jobs: Iterable[Job], standings: Mapping[str, Standing], ledger: Ledger
) -> tuple[list[Job], dict[str, Standing]]:
    """A study's jobs, and behind them those that others have added to it meanwhile; and how all of them stand."""
    own = list(jobs)
    keys = {job.key for job in own}
    added = [job for job in ledger.jobs() if job.key not in keys]
    return own + added, {**standings, **ledger.standings(job.key for job in added)}


def text_of(spec: StudySpec) -> str:
    """A study as its file, complete, with a reference to the environment in the place of a password."""
    contents = spec.as_dict()
    if spec.storage is not None:
        contents["storage"] = address.kept(spec.storage)
    text = yaml.safe_dump(contents, sort_keys=False, allow_unicode=True)
    return f"# {' '.join(spec.question.split())}\n#\n{_AS_RUN}{text}"


def read_text(folder: Path) -> str:
    """The text of a study's own file; one that an earlier version wrote may hold a password, which is left out."""
    spec = read_spec(folder / SPEC)
    return text_of(spec) if _tells(spec) else (folder / SPEC).read_text(encoding="utf-8")


def _tells(spec: StudySpec) -> bool:
    """Tell whether a password stands in the study's address."""
    return spec.storage is not None and address.kept(spec.storage) != spec.storage


def _check_folder(spec: StudySpec, folder: Path) -> None:
    """Refuse the folder of another study, whose results would be taken for ours."""
    path = folder / SPEC
    name = read_yaml(path).get("name") if path.is_file() else spec.name
    if name != spec.name:
        raise ConfigError(f"--folder {folder}: holds study {name}, not {spec.name}; give each its own folder")


def _lost_its_record(spec: StudySpec, folder: Path) -> bool:
    """Tell whether only the record is new in this study's folder, where complete trials still lie."""
    path = folder / SPEC
    if not path.is_file() or _AS_RUN not in path.read_text(encoding="utf-8"):
        return False
    return read_spec(path).digest() == spec.digest()


def _check_unused(folder: Path) -> None:
    """Refuse a folder with files that this study would replace, for it has written none yet."""
    tables = ("results.csv", "results.parquet", "summary.csv", "effects.csv", IMPORTANCES)
    for name in (SPEC, PLUGINS, *tables, "cells"):
        path = folder / name
        if path.is_file() or path.is_symlink() or (path.is_dir() and any(path.iterdir())):
            raise ConfigError(
                f"--folder {folder}: holds {name} already, and the study's record does not know of it; choose another "
                "folder, or move it away"
            )


def shown_storage(spec: StudySpec, folder: Path) -> str:
    """Address of the study's storage, without a password."""
    return str(folder / JOURNAL) if spec.storage is None else address.shown(spec.storage)
