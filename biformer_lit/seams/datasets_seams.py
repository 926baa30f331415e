"""Private state of a stream in Hugging Face datasets. Seen in datasets 5.2.0."""

from typing import Any


def examples_of(stream: Any) -> Any:
    """Return what an ``IterableDataset`` reads its examples from."""
    return stream._ex_iterable


def wait_as(examples: Any, stream: Any) -> None:
    """Wait at the end of a pass for threads that read files, if ``stream`` does; of use in some versions only."""
    examples._sleep_on_threads_shutdown = getattr(examples_of(stream), "sleep_on_threads_shutdown", False)
