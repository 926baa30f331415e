"""A run on a full disk: one line, wherever it shows first."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

from lightning.pytorch import Trainer

from biformer_lit.errors import BiFormerLitError, DiskFullError, causes, is_disk_full


@contextlib.contextmanager
def one_disk_error(trainer: Callable[[], Trainer]) -> Iterator[None]:
    """Make of every error of a full disk, of other threads too, one :class:`DiskFullError` that says what to do.

    TensorBoard writes in a thread of its own, which dies with a traceback, and tells the run at its next event. If
    there is none, the end of the log would be lost without a word.

    Args:
        trainer: Gives the trainer of the run, once there is one.

    Raises:
        DiskFullError: In place of what says so otherwise.
    """
    in_threads: list[OSError] = []
    usual = threading.excepthook

    def hook(told: threading.ExceptHookArgs) -> None:
        if isinstance(told.exc_value, OSError) and is_disk_full(told.exc_value):
            in_threads.append(told.exc_value)
        else:
            usual(told)

    threading.excepthook = hook
    try:
        yield
    except Exception as error:
        full = _first_told(error)
        if full is None or (full is error and isinstance(error, DiskFullError)):
            raise
        raise (full if isinstance(full, DiskFullError) else _error(full, trainer())) from None
    finally:
        threading.excepthook = usual
    if in_threads:
        raise _error(in_threads[0], trainer())


def _first_told(error: BaseException) -> DiskFullError | OSError | None:
    """The error of a full disk that another one comes from, unless that one says itself what is to be done.

    Ours is preferred: what fails after it, such as the end of the log, fails for the same reason. A full memory file
    system of data workers is not meant, which torch tells as a RuntimeError.
    """
    found: OSError | None = None
    for cause in causes(error):
        if isinstance(cause, DiskFullError):
            return cause
        if isinstance(cause, BiFormerLitError):
            return None
        if found is None and isinstance(cause, OSError) and is_disk_full(cause):
            found = cause
    return found


def _error(error: OSError, trainer: Trainer) -> DiskFullError:
    folder = getattr(trainer.logger, "log_dir", None) or trainer.default_root_dir
    where = os.path.abspath(error.filename or folder)  # noqa: PTH100  # a filename may be bytes
    return DiskFullError(
        f"{where}: {(error.strerror or str(error)).lower()}: the run's files cannot be written; make room and go on "
        "from its last checkpoint with --ckpt_path, or write elsewhere (trainer.default_root_dir, a logger's save_dir)"
    )
