"""The classes of a data module: what they are called, and which number each has in batches."""

from collections.abc import Sequence
from typing import Any

from biformer_lit.data.checks import require
from biformer_lit.errors import ConfigError, DataError
from biformer_lit.text.class_names import UnknownClassesError, numbers_by_name, shorten


class NumberedClasses:
    """The part of a data module that knows its classes.

    A data set has its classes in an order of its own. A network that was trained before has them in the order of its
    training data; ``use_classes`` makes batches number them so.
    """

    _own_names: tuple[str, ...] | None = None
    _network_names: tuple[str, ...] | None = None
    _no_classes: str | None = None  # why the data set has none
    _num_classes: int | None = None  # how many there should be
    _may_lack_classes: bool = False  # as data may that a trained network is evaluated on

    def expect_classes(self, number: int | None) -> None:
        """Note how many classes the user expects.

        Raises:
            ConfigError: If that is no number of classes.
        """
        require(number is None or number >= 1, "num_classes", number, "must be 1 or more")
        self._num_classes = number

    def allow_fewer_classes(self, allowed: bool) -> None:
        """Say whether the data may have fewer classes than ``num_classes``; call it before they are looked for.

        Raises:
            ConfigError: If it may not, but classes were found already, and these are fewer.
        """
        self._may_lack_classes = allowed
        expected, own = self._num_classes, self._own_names
        if not allowed and expected is not None and own is not None and len(own) < expected:
            raise ConfigError(
                f"data.init_args.num_classes: {expected} given, but the data set has {len(own)} classes "
                f"({shorten(own)}); leave it out or correct it"
            )

    def require_targets(self, column: str | None, table: Any, split: str, wanted: str) -> None:
        """Refuse a split without what is to be learnt or measured.

        Args:
            column: Column with it; None if the data set has none.
            table: The split.
            split: Its name.
            wanted: What to name instead, such as ``a labelled split``.

        Raises:
            DataError: If it is not there.
        """
        if column is None:
            raise DataError(self._no_classes or "")
        if column not in table.column_names:
            raise DataError(f"split {split!r} has no column {column!r}; name {wanted}, or use predict")

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their numbers in batches; known after ``setup``."""
        own = self.own_class_names
        return own if self._network_names is None else list(self._network_names)

    @property
    def num_classes(self) -> int:
        """Number of classes; known after ``setup``."""
        return len(self.class_names)

    @property
    def own_class_names(self) -> list[str]:
        """Names of the classes that the data set has, in its own order; known after ``setup``."""
        if self._own_names is None:
            raise ConfigError(self._no_classes or "data: the classes are not known yet; call setup() first")
        return list(self._own_names)

    @property
    def class_numbers(self) -> list[int]:
        """The number in batches of each of ``own_class_names``.

        Raises:
            DataError: If one of them is unknown to the network of ``use_classes``.
        """
        own = self.own_class_names
        if self._network_names is None:
            return list(range(len(own)))
        try:
            return numbers_by_name(own, self._network_names)
        except UnknownClassesError as error:
            raise DataError(
                f"the classes of the data are not those of the trained network: {error}; name them alike, or give a "
                "network that was trained on them (to predict all the same, set data.init_args.unlabelled: true)"
            ) from error

    def use_classes(self, names: Sequence[str] | None) -> None:
        """Number the classes in batches as a trained network does, found by name; call it before loaders are made.

        Args:
            names: Names of all classes of the network, in its order; None for the data set's own order.

        Raises:
            DataError: If the data set has classes that are not among them; then nothing changes.
        """
        before, self._network_names = self._network_names, None if names is None else tuple(names)
        try:
            if self._own_names is not None:
                self.check_numbers(self.class_numbers)
        except (ConfigError, DataError):
            self._network_names = before
            raise

    def check_numbers(self, numbers: list[int]) -> None:
        """Refuse numbers that batches cannot hold; ``numbers`` are those of ``own_class_names``."""


def numbers_in_split(stored: Sequence[str], names: Sequence[str], split: str) -> list[int]:
    """The number in a data set of each class that one of its splits stores.

    Args:
        stored: Names of the classes of the split, in its own order.
        names: Names of the classes of the data set, as its training split has them.
        split: Name of the split.

    Raises:
        DataError: If the split has classes that are none of the data set's.
    """
    try:
        return numbers_by_name(stored, names)
    except UnknownClassesError as error:
        raise DataError(
            f"split {split!r}: its classes are not those of the training data: {error}; name them alike"
        ) from error
