"""The classes of a data module: what they are called, and which number each has in batches."""

from collections.abc import Sequence

from biformer_lit.errors import ConfigError, DataError
from biformer_lit.text.class_names import UnknownClassesError, numbers_by_name


class NumberedClasses:
    """The part of a data module that knows its classes.

    A data set has its classes in an order of its own. A network that was trained before has them in the order of its
    training data; ``use_classes`` makes batches number them so.
    """

    _own_names: tuple[str, ...] | None = None
    _network_names: tuple[str, ...] | None = None
    _no_classes: str | None = None  # why the data set has none

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
