"""Storage of a study: a journal in the study's folder, a database, or a proxy in front of one."""

import contextlib
import errno
import fcntl
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from biformer_lit.errors import ConfigError
from biformer_lit.seams.optuna_seams import behind_cache
from biformer_lit.sweep.spec.address import complete, redacted, shown

JOURNAL = "journal.log"
PATIENCE = 120.0
"""Seconds that a database may be away before a study gives up on it."""
_SQLITE_TIMEOUT = 60  # seconds that one writer waits for another
_TRIES = 10  # to open a database that others are just making

T = TypeVar("T")


class StorageError(ConfigError):
    """A storage that has gone away and not come back."""


class JournalLock(JournalFileOpenLock):
    """A lock that the system lets go of when its holder is killed, and that mends what the holder left half written.

    Optuna's own locks are files: a killed holder's stays for half a minute. And a line cut off by a kill or a full disk
    would make the journal unreadable as soon as another line followed it.

    Args:
        journal: The journal's path.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Wait for the lock, then cut off an incomplete last line."""
        self._file = self._journal.with_suffix(".lock").open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            journal = self._journal.open("rb+")
        except FileNotFoundError:
            self.release()
            raise
        with journal:
            end = journal.seek(0, os.SEEK_END)
            whole = _end_of_last_line(journal, end)
            if whole < end:
                journal.truncate(whole)
        return True

    def release(self) -> None:
        """Let the next one in."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Journal(JournalFileBackend):
    """A journal that names the line where it is damaged, or no journal at all.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._journal = path
        if not path.is_file():
            raise self._gone()
        super().__init__(str(path), lock_obj=JournalLock(path))

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """The records from a number on.

        Raises:
            StorageError: If a line is no record, or the file is gone.
        """
        try:
            for log in super().read_logs(log_number_from):
                if not _is_record(log):
                    raise self._damaged()
                yield log
        except FileNotFoundError:
            raise self._gone() from None
        except ValueError as error:  # of a line that is not JSON; ConfigError is one, too
            raise error if isinstance(error, StorageError) else self._damaged() from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records.

        Raises:
            StorageError: If the file is gone.
        """
        try:
            super().append_logs(logs)
        except FileNotFoundError:
            raise self._gone() from None

    def _gone(self) -> "StorageError":
        return StorageError(
            f"{self._journal} is gone; put it back, or run the same command again, which takes what is complete from "
            "the trials' folders"
        )

    def _damaged(self) -> "StorageError":
        number, line = 0, b""
        with self._journal.open("rb") as file:
            for number, line in enumerate(file, 1):  # noqa: B007 (used behind the loop)
                try:
                    if not _is_record(json.loads(line)):
                        break
                except ValueError:
                    break
        shown = line[:40].decode(errors="replace").strip()
        return StorageError(
            f"{self._journal}: line {number} ({shown!r}) is no record of a study: the line is damaged, or the file is "
            "another program's; put a copy back, or move the file away and run the same command, which takes what is "
            "complete from the trials' folders"
        )


def _is_record(log: Any) -> bool:
    return isinstance(log, dict) and isinstance(log.get("op_code"), int) and isinstance(log.get("worker_id"), str)


def _end_of_last_line(file: IO[bytes], end: int) -> int:
    """Position behind the last line feed."""
    block = 65536
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def open_storage(url: str | None, folder: Path, *, looking: bool = False) -> BaseStorage:
    """Open a study's storage; made if it is not there.

    Args:
        url: ``sqlite:///FILE``, ``postgresql://...``, ``mysql://...``, ``grpc://HOST:PORT`` (Optuna's proxy), None for
            ``journal.log`` in the folder. Environment variables in it (``$PGPASSWORD``) are filled in.
        folder: The study's folder.
        looking: Only read, so that nothing is made and no right to write is needed.

    Raises:
        ConfigError: If it cannot be opened, with the reason.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url is None:
        path = folder / JOURNAL
        if not looking:
            folder.mkdir(parents=True, exist_ok=True)
            path.touch()
        return _replayed(path)
    name, url = shown(url), complete(url)
    try:
        if url.startswith("grpc://"):
            return _proxy(url)
        return _database(url, looking)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"storage={name}: the driver {error.name} is not installed; pip install it, or name another driver, as in "
            "postgresql+psycopg:// or mysql+pymysql://"
        ) from None
    except ConfigError:
        raise
    except Exception as error:  # what drivers raise has no base in common
        raise ConfigError(f"storage={name}: cannot be opened ({_first_line(error)}); check the address") from error


def _replayed(path: Path) -> JournalStorage:
    try:
        return JournalStorage(Journal(path))
    except StorageError:
        raise
    except (LookupError, AssertionError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: its records do not make a study ({type(error).__name__}: {_first_line(error)}); put a copy back, "
            "or move the file away and run the same command, which takes what is complete from the trials' folders"
        ) from error


def _database(url: str, looking: bool) -> RDBStorage:
    if looking and (path := _sqlite_file(url)) is not None and not path.is_file():
        raise ConfigError(f"storage: {path} is gone; put it back")
    arguments = {"timeout": _SQLITE_TIMEOUT} if url.startswith("sqlite") else {}
    tries = 0
    while True:
        try:
            # a connection that the server has dropped is noticed before it is used
            options = {"connect_args": dict(arguments), "pool_pre_ping": True}
            return RDBStorage(url, engine_kwargs=options, skip_table_creation=looking)
        except Exception as error:
            tries += 1
            made = "IntegrityError" in _kinds(error) or "already exists" in str(error)
            if not made or tries == _TRIES:
                raise
        time.sleep(0.3)  # others who start at the same moment are making the tables


def _proxy(url: str) -> BaseStorage:
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise ConfigError(f"storage={shown(url)}: is not grpc://HOST:PORT; give both")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.GrpcStorageProxy(host=parts.hostname, port=parts.port)


def patiently(call: Callable[[], T], say: Callable[[str], None], seconds: float | None = None) -> T:
    """Call until the storage answers; a server that is restarted loses no work.

    Args:
        call: What to do; it must bear being done twice, as an answer may be what was lost.
        say: Gets a line of text when the waiting begins.
        seconds: How long to wait; ``PATIENCE`` by default.

    Raises:
        StorageError: If it did not come back in time.
    """
    patience = PATIENCE if seconds is None else seconds
    end = time.monotonic() + patience
    pause = 0.2
    while True:
        try:
            return call()
        except Exception as error:
            if isinstance(error, ConfigError) or not _is_outage(error):
                raise
            if time.monotonic() + pause > end:
                raise StorageError(
                    f"storage: has not answered for {patience:.0f} s ({_first_line(error)}); start it and run the same "
                    "command again"
                ) from error
            if pause == 0.2:
                say(f"the storage does not answer ({_first_line(error)}); waiting")
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def _is_outage(error: BaseException) -> bool:
    """Return whether the storage was away, as opposed to having refused; a disk that is full may be emptied."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return bool(_kinds(error) & {"OperationalError", "InterfaceError", "RpcError", "StorageInternalError"})


def _kinds(error: BaseException) -> set[str]:
    """Names of an error's classes and of its causes'; each driver has its own, named alike."""
    return {kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _sqlite_file(url: str) -> Path | None:
    found = re.fullmatch(r"sqlite:///([^?]+)(\?.*)?", url)
    return None if found is None or found[1] == ":memory:" else Path(found[1])


def file_of(storage: BaseStorage) -> Path | None:
    """The file of a storage in SQLite, None for others."""
    behind = behind_cache(storage)
    url = behind.engine.url if isinstance(behind, RDBStorage) else None
    if url is None or url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).absolute()


def _first_line(error: BaseException) -> str:
    """Return the first cause of an error, where Optuna only guesses."""
    *_, error = _causes(error)
    lines = [line.strip() for line in redacted(str(error)).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


@contextlib.contextmanager
def closing(storage: BaseStorage) -> Iterator[BaseStorage]:
    """Give the storage's connections back at the end."""
    try:
        yield storage
    finally:
        behind = behind_cache(storage)
        if isinstance(behind, RDBStorage):
            behind.remove_session()
            behind.engine.dispose()
        elif hasattr(behind, "close"):
            behind.close()
