"""Private parts of a storage of Optuna's. Seen in Optuna 5.0.0; imports no Optuna."""

from typing import Any


def behind_cache(storage: Any) -> Any:
    """Return the storage that Optuna's cache stands before, or ``storage`` itself if it has none."""
    return getattr(storage, "_backend", storage)
