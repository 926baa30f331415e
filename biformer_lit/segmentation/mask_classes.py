"""Check, before the first step, that the masks of a split contain the declared classes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import datasets
import numpy as np

from biformer_lit.data.images.decoding import is_empty
from biformer_lit.data.labels import Integers
from biformer_lit.data.loading import LOADING_ERRORS
from biformer_lit.dense.masks import LabelRange, decode_mask
from biformer_lit.errors import DataError
from biformer_lit.text.class_names import shorten

_STREAMED = 32  # masks looked at in a stream
_TABLE = 2**16  # numbers that are counted rather than sorted


def require_classes(
    table: Any,
    column: str,
    labels: LabelRange,
    names: Sequence[str],
    split: str,
    training: bool,
    locate: Callable[[Any, str], Any],
) -> None:
    """Refuse masks that cannot be what was meant.

    Masks are looked at in an order of chance, which is always the same, until all classes were seen. So all of them are
    read only where a class is missing. Masks that cannot be read, or hold numbers that are no class, are left to those
    who read them: they are told there.

    Args:
        table: The split, ``datasets.Dataset`` or ``datasets.IterableDataset``, of which only the first masks are read.
        column: The column with the masks.
        labels: Which stored numbers are which classes.
        names: Names of the classes.
        split: Name of the split.
        training: Whether it is to be trained on, for which it has to hold every class.
        locate: Gives a stored mask whose path may be read, and raises ``DataError`` otherwise.

    Raises:
        DataError: If all pixels that count are of one class though others do not count; in training also if a class
            occurs nowhere.
    """
    seen: set[int] = set()  # stored numbers
    enough = max(len(names), 2) if training else 2  # one class alone does not acquit the others
    for where, value in _masks(table, column, split):
        if is_empty(value):
            continue
        try:
            found = _different(decode_mask(locate(value, where), where))
        except DataError:
            continue
        try:
            labels.encode(found, where)
        except DataError:  # the mask's own fault says more than what the others hold
            return
        seen |= set(found.tolist())
        if len(seen & {*labels.stored}) >= enough:
            return
    if seen:
        _judge(seen, labels, names, split, training and not isinstance(table, datasets.IterableDataset))


def _masks(table: Any, column: str, split: str) -> Iterator[tuple[str, Any]]:
    """Stored masks with what identifies them in messages; rows that cannot be read are left to those who need them."""
    try:
        if isinstance(table, datasets.IterableDataset):
            for number, row in enumerate(table.take(_STREAMED)):
                yield f"split {split!r}, streamed row {number}", row.get(column)
            return
        for row in np.random.default_rng(0).permutation(len(table)).tolist():
            yield f"split {split!r}, row {row}", table[row][column]
    except LOADING_ERRORS:
        return


def _different(stored: Integers) -> Integers:
    if stored.size and stored.min() >= 0 and stored.max() < _TABLE:
        return np.flatnonzero(np.bincount(stored.ravel()))
    return np.unique(stored)


def _judge(seen: set[int], labels: LabelRange, names: Sequence[str], split: str, complete: bool) -> None:
    stored = labels.stored
    held = [number for number, value in enumerate(stored) if value in seen]
    others = sorted(seen - set(stored))  # which mean no class
    numbers = shorten([str(value) for value in sorted(seen)])
    allow = "or data.init_args.absent_classes: allow if that is meant"
    if len(held) < 2 and others:
        beside = f"class {names[held[0]]!r} (stored as {stored[held[0]]})" if held else "no class"
        ignored = shorten([str(value) for value in others])
        raise DataError(
            f"split {split!r}: its masks hold {numbers}, of which {ignored} counts as no class, so that {beside} is "
            "all there is to learn or to score; if these are classes, set data.init_args.class_values: "
            f"[{', '.join(map(str, sorted(seen)))}], else correct ignore_index or reduce_zero_label, {allow}"
        )
    absent = [number for number in range(len(stored)) if number not in held]
    if complete and absent:
        text = shorten([f"{names[number]!r} (stored as {stored[number]})" for number in absent])
        raise DataError(
            f"split {split!r}: no mask holds the {'class' if len(absent) == 1 else 'classes'} {text}; its masks hold "
            f"{numbers}; correct data.init_args.num_classes, class_values (the stored number of each class) or the "
            f"names, {allow}"
        )
