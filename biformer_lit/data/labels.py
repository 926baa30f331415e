"""Classes of a data set, and the labels of its rows as numbers 0..n-1."""

from collections.abc import Iterable, Sequence
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.model_selection import train_test_split

from biformer_lit.data.class_numbers import numbers_in_split
from biformer_lit.errors import ConfigError, DataError
from biformer_lit.text.class_names import numbers_by_name, shorten

Integers = npt.NDArray[np.int64]
UNLABELLED = -1


class Classes:
    """The classes of a data set.

    Args:
        names: One name per class, in the order of the class numbers.
        values: The label stored for each class, integers or strings; by default the class numbers.
        argument: The argument of the data module that says where labels are stored, for errors.
    """

    def __init__(
        self, names: Iterable[str], values: Iterable[int | str] | None = None, argument: str = "label_column"
    ) -> None:
        self._argument = argument
        self.names = tuple(names)
        self.values = tuple(range(len(self.names)) if values is None else values)
        self._numbers: dict[Any, int] = {value: number for number, value in enumerate(self.values)}

    def of_split(self, feature: Any, split: str) -> "Classes":
        """These classes as a split stores them: its own ``ClassLabel``, or text, is read by name.

        Args:
            feature: The ``datasets`` feature of the split's labels.
            split: Name of the split.

        Raises:
            DataError: If the split names classes that are none of these.
        """
        if isinstance(feature, datasets.ClassLabel):
            stored: dict[Any, str] = dict(enumerate(feature.names))
        elif "string" in str(getattr(feature, "dtype", "")):
            stored = {name: name for name in self.names}
        else:
            return self
        numbers = numbers_in_split(list(stored.values()), self.names, split)
        return self._with(self.names, dict(zip(stored, numbers, strict=True)))

    def numbered_as(self, names: Sequence[str]) -> "Classes":
        """These classes with the numbers that they have among ``names``.

        Raises:
            UnknownClassesError: If one of them is not there.
        """
        numbers = numbers_by_name(self.names, names)
        return self._with(names, {value: numbers[number] for value, number in self._numbers.items()})

    def _with(self, names: Sequence[str], numbers: dict[Any, int]) -> "Classes":
        classes = Classes(names, argument=self._argument)
        classes._numbers = numbers
        return classes

    def number(self, value: Any, where: str) -> int:
        """Number of the class that a stored label means.

        Args:
            value: Stored label.
            where: What an error begins with.

        Returns:
            The class number, or -1 for no label (None or a negative integer).

        Raises:
            DataError: If the label is none of the classes.
        """
        if value is None or (isinstance(value, int) and value < 0):
            return UNLABELLED
        number = self._numbers.get(value) if isinstance(value, int | float | str) else None
        if number is None:
            raise DataError(
                f"{where}: label {_shown(value)} is not one of the {len(self.names)} classes known from the "
                f"training data ({shorten(self.names)}); correct the data, or set data.init_args.{self._argument}"
            )
        return number

    def encode(self, values: Sequence[Any], split: str) -> Integers:
        """Class numbers of all rows of a split, shape (rows,); see ``number``."""
        numbers = (self.number(value, f"split {split!r}, row {row}") for row, value in enumerate(values))
        return np.fromiter(numbers, np.int64, len(values))


def _shown(value: Any) -> str:
    text = repr(value)  # there may be images in place of labels
    return text if len(text) <= 80 else f"{text[:77]}..."


def stored_labels(dataset: datasets.Dataset, column: str, split: str) -> list[int | str | None]:
    """All labels of a split as they are stored.

    Args:
        dataset: The split.
        column: Name of the label column.
        split: Name of the split, for errors.

    Returns:
        One integer, string or None (missing) per row.

    Raises:
        DataError: If the column holds neither integers nor strings.
    """
    return plain_labels(stored_column(dataset, column), column, split)


def stored_column(dataset: datasets.Dataset, column: str) -> pa.ChunkedArray:
    """All values of a column as they are stored."""
    return dataset.select_columns([column]).with_format("arrow")[:].column(column)


def plain_labels(
    values: pa.ChunkedArray, column: str, split: str, argument: str = "label_column"
) -> list[int | str | None]:
    """Stored labels as integers or strings.

    Args:
        values: The labels.
        column: What holds them, for errors.
        split: Name of the split, for errors.
        argument: The argument that an error names.

    Returns:
        One integer, string or None (missing) per label.

    Raises:
        DataError: If they are neither integers nor strings.
    """
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int64())
    if not (pa.types.is_integer(values.type) or _is_string(values.type) or pa.types.is_null(values.type)):
        raise DataError(
            f"split {split!r}: column {column!r} holds {values.type}, but labels must be integers or "
            f"strings; set data.init_args.{argument} or convert the column"
        )
    return list(values.to_pylist())


def _is_string(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def find_classes(
    feature: Any,
    labels: Sequence[int | str | None],
    num_classes: int | None,
    argument: str = "label_column",
    *,
    complete: bool = True,
    fewer: bool = False,
) -> Classes:
    """The classes a label column distinguishes.

    A ``ClassLabel`` column names them. Integers are 0..``num_classes``-1 if that number is given and the greatest of
    them is the last of these. Otherwise the classes are the sorted different labels.

    Args:
        feature: The ``datasets`` feature of the label column.
        labels: Stored labels to take the classes from, if the feature does not name them.
        num_classes: The number of classes the user expects, if given.
        argument: The argument that says where labels are stored, for errors.
        complete: Whether the labels are those of the training data, which has to show the last class at least.
        fewer: Whether there may be fewer classes than that, as in data that a trained network is evaluated on.

    Returns:
        The classes.

    Raises:
        ConfigError: If ``num_classes`` is given and is not the number found.
        DataError: If there is no label at all.
    """
    if isinstance(feature, datasets.ClassLabel):
        classes = Classes(feature.names, argument=argument)
    else:
        found = {value for value in labels if value is not None and not (isinstance(value, int) and value < 0)}
        if not found:
            raise DataError(f"no row is labelled; set data.init_args.{argument} to the column with the labels")
        integers = [value for value in found if isinstance(value, int)]
        greatest = max(integers, default=-1)
        if (
            num_classes is not None
            and integers
            and greatest < num_classes
            and (greatest + 1 == num_classes or not complete or fewer)
        ):
            return Classes(map(str, range(num_classes)), argument=argument)
        values: list[Any] = sorted(integers) if integers else sorted(map(str, found))
        classes = Classes(map(str, values), values, argument)
    lacking = fewer and num_classes is not None and len(classes.names) < num_classes
    if num_classes is not None and num_classes != len(classes.names) and not lacking:
        raise ConfigError(
            f"data.init_args.num_classes: {num_classes} given, but the data set has {len(classes.names)} "
            f"classes ({shorten(classes.names)}); leave it out or correct it"
        )
    return classes


def streamed_classes(
    feature: Any, num_classes: int | None, argument: str = "label_column", *, fewer: bool = False
) -> Classes:
    """The classes of a label column whose rows cannot be looked at in advance.

    Args:
        feature: The ``datasets`` feature of the label column.
        num_classes: The number of classes the user expects, if given.
        argument: The argument that says where labels are stored, for errors.
        fewer: As for ``find_classes``.

    Returns:
        The named classes of a ``ClassLabel``, or 0..``num_classes``-1 for integers.

    Raises:
        DataError: If the classes cannot be known.
        ConfigError: If ``num_classes`` is not the number of them.
    """
    if isinstance(feature, datasets.ClassLabel):
        return find_classes(feature, [], num_classes, argument, fewer=fewer)
    if num_classes is None or "int" not in str(getattr(feature, "dtype", "")):
        raise DataError(
            "data.init_args.num_classes: with streaming, labels must be a ClassLabel column, or integers "
            "with num_classes given; set it, or data.init_args.streaming: false"
        )
    return Classes(map(str, range(num_classes)), argument=argument)


def require_labelled(numbers: Integers, split: str) -> None:
    """Check that every row has a label.

    Args:
        numbers: Class numbers of the rows, -1 where there is none.
        split: Name of the split.

    Raises:
        DataError: If a row has none; the message names the first one.
    """
    missing = np.flatnonzero(numbers == UNLABELLED)
    if len(missing) == len(numbers):
        raise DataError(
            f"split {split!r} is not labelled (every label is negative or missing), so nothing can be "
            "measured on it; name a labelled split (data.init_args.test_split) or use predict"
        )
    if len(missing):
        raise DataError(
            f"split {split!r}, row {missing[0]}: the label is negative or missing (in {len(missing)} of "
            f"{len(numbers)} rows); remove these rows or label them"
        )


def stratified_split(numbers: Integers, fraction: float, seed: int, names: Sequence[str]) -> tuple[Integers, Integers]:
    """Divide the rows so that each class has the same share on both sides.

    Args:
        numbers: Class numbers of the rows.
        fraction: Share of the second part, between 0 and 1.
        seed: Which of the possible divisions; the same seed gives the same division.
        names: Names of the classes, for errors.

    Returns:
        Row numbers of the first and of the second part, each ascending.

    Raises:
        DataError: If a class has one row only.
        ConfigError: If a part would hold fewer rows than there are classes.
    """
    counts = np.bincount(numbers, minlength=len(names))
    if (counts == 1).any():
        alone = shorten([names[int(number)] for number in np.flatnonzero(counts == 1)])
        raise DataError(
            f"no validation split can be taken from the training data: class {alone} has a single row; add "
            "rows, remove the class, or set data.init_args.val_split to an existing split"
        )
    present, second = int((counts > 0).sum()), int(np.ceil(fraction * len(numbers)))
    if min(second, len(numbers) - second) < present:
        raise ConfigError(
            f"data.init_args.val_fraction: {fraction} of {len(numbers)} rows leaves {len(numbers) - second} "
            f"for training and {second} for validation, but each part needs at least one row for each of the "
            f"{present} classes; change it, or set data.init_args.val_split"
        )
    parts = train_test_split(np.arange(len(numbers)), test_size=second, stratify=numbers, random_state=seed)
    return np.sort(parts[0]), np.sort(parts[1])
