"""Folder of a run, and the checkpoints that earlier runs of the same config left beside it."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from biformer_lit.errors import ConfigError
from biformer_lit.seams.lightning_seams import number_runs

NAMES: Final = ("last", "best", "hpc")
"""What ``--ckpt_path`` may say instead of a file."""

_HANDED_ON = "BIFORMER_LIT_CKPT_PATH"  # environment variable: for the ranks that this process launches


def claim_versions(loggers: Sequence[Logger]) -> None:
    """Have loggers number their runs by making the folder ``version_N``: what another run has made is not theirs.

    Lightning looks which numbers there are and makes the folder later, so that runs started together write into one.
    Only rank 0 makes it; the others of a run are told by Lightning.

    Args:
        loggers: A trainer's, before it runs.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger | CSVLogger) and "://" not in str(logger.root_dir):
            number_runs(logger, _claim)


def _claim(logger: Any, number: int) -> int:
    if getattr(rank_zero_only, "rank", 0) != 0:
        return number
    root = Path(logger.root_dir)
    root.mkdir(parents=True, exist_ok=True)
    while not _made(root / f"version_{number}"):
        number += 1
    return number


def _made(folder: Path) -> bool:
    """Return whether a folder was not there and is now; of several processes that ask, one is told so."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def newest_checkpoint(name: str, trainer: Namespace) -> str:
    """The file that ``--ckpt_path last`` (or ``best``, or ``hpc``) means.

    Args:
        name: One of :data:`NAMES`.
        trainer: The trainer's settings, from which follows where runs of this config write.

    Returns:
        The path: of those that runs of this config have left, the one that was written last.

    Raises:
        ConfigError: If there is none.
    """
    if (handed_on := _handed_on(name)) is not None:
        return handed_on
    places = [_root(trainer)] if name == "hpc" else list(_places(trainer))
    wanted = re.compile(rf"{name}_ckpt_\d+" if name == "hpc" else rf"{name}(-v\d+)?")
    inside = [path for place in places for path in (place, *place.glob("*/checkpoints")) if path.is_dir()]
    files = [path for folder in inside for path in folder.glob("*.ckpt") if wanted.fullmatch(path.stem)]
    found = [path for path in files if path.is_file()]
    if not found:
        raise ConfigError(
            f"ckpt_path={name}: no run of this config has left a {'hpc_ckpt_N' if name == 'hpc' else name}.ckpt in "
            f"{', '.join(map(str, places))}; give --ckpt_path FILE, or leave it out to begin from the start"
        )
    path = str(max(found, key=lambda one: (one.stat().st_mtime_ns, str(one))))
    sys.stderr.write(f"--ckpt_path {name}: {path}\n")
    os.environ[_HANDED_ON] = f"{os.getpid()} {name} {path}"
    return path


def _handed_on(name: str) -> str | None:
    """Return what the process that launched this rank has found; another may have been saved since."""
    parent, _, rest = os.environ.get(_HANDED_ON, "").partition(" ")
    asked, _, path = rest.partition(" ")
    return path if parent == str(os.getppid()) and asked == name and "LOCAL_RANK" in os.environ else None


def _root(trainer: Namespace) -> Path:
    return Path(trainer.get("default_root_dir") or ".")


def _places(trainer: Namespace) -> Iterator[Path]:
    """Folders in which runs of a config keep their checkpoints, or the folders of these runs."""
    for callback in _settings(trainer.get("callbacks")):
        if dirpath := callback.get("dirpath"):
            yield Path(dirpath)
    if trainer.get("logger") is False:
        yield _root(trainer) / "checkpoints"
        return
    first = next(iter(_settings(trainer.get("logger"))), {"name": "lightning_logs"})  # whose folder Lightning takes
    name = next((first[key] for key in ("name", "project", "experiment_name") if first.get(key) is not None), "")
    folder = Path(first.get("save_dir") or _root(trainer)) / str(name)
    version = first.get("version")
    if version is None:
        yield folder
    else:
        yield folder / (version if isinstance(version, str) else f"version_{version}") / "checkpoints"


def _settings(given: Any) -> list[dict[str, Any]]:
    """The arguments of each class in a setting that takes one or a list of them."""
    several = given if isinstance(given, list) else [given]
    return [dict(vars(one.get("init_args") or one)) for one in several if isinstance(one, Namespace)]
