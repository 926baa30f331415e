"""Messages for errors that are caused by limits of the machine."""

import errno
import re

from biformer_lit.errors import causes

# how torch and multiprocessing tell of it where they hide the system's number
_FILES = re.compile(r"too many open files|received \d+ items of ancdata", re.IGNORECASE)
_MEMORY = re.compile(r"DefaultCPUAllocator: (?:can't allocate|not enough) memory: you tried to allocate (\d+) bytes")

_ENOUGH = 4096  # files that may be open


def limit_reached(error: BaseException) -> str | None:
    """Return the message for an error caused by the limit of open files or by a lack of memory, or None."""
    for cause in causes(error):
        by_number = isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE)
        if by_number or (isinstance(cause, OSError | RuntimeError) and _FILES.search(str(cause))):
            return f"{_limit()}; raise it (ulimit -n 4096), or lower data.init_args.num_workers"
        if isinstance(cause, RuntimeError) and (asked := _MEMORY.search(str(cause))):
            return (
                f"not enough memory: {int(asked[1]) / 1e9:,.1f} GB were asked for at once; lower "
                "data.init_args.batch_size, the size of the images, or the number of classes or channels"
            )
        if isinstance(cause, MemoryError):
            return "not enough memory; lower data.init_args.batch_size, the size of the images, or num_workers"
    return None


def raise_file_limit() -> None:
    """Let this process open as many files as it may allow itself, up to what data workers and a study come to."""
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _limit() -> str:
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ImportError:
        return "too many files are open"
    return f"this process may have no more than {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} files open"
