"""Classes of a network and of its data, matched by name, not by number."""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from biformer_lit.checkpoints.saved_weights import Origin, SavedWeights, read_weights
from biformer_lit.data.preprocessing import present_form
from biformer_lit.errors import CheckpointError, ConfigError, DataError
from biformer_lit.text.class_names import UnknownClassesError, numbers_by_name, shorten

if TYPE_CHECKING:
    from biformer_lit.tasks.template import BiFormerTask

logger = logging.getLogger(__name__)


class NetworkClasses:
    """The classes of a task's network and its preprocessing, and how the data module is to follow them.

    A network that was trained before knows its classes by name: from its checkpoint, or from the data that this task
    was trained on. Data whose classes are these, or some of them, are numbered as the network has them; other data are
    refused. A network that begins takes its classes from the data.

    Args:
        task: The task whose network it is.
    """

    def __init__(self, task: "BiFormerTask") -> None:
        self._task = task
        self._start: Origin | None = None  # of the weights that a fit begins with
        self._opened: SavedWeights | None = None  # the task's file of weights, until it is loaded
        self._told: set[str] = set()
        self.origin: Origin | None = None
        self.names: tuple[str, ...] = ()
        self.there: list[int] | None = None
        """Numbers of the classes that the data has, None for all that the network has."""
        self.keep_fresh = False
        """Whether the classifier is not to be filled from a file whose classes are others."""

    def take(self, origin: Origin) -> None:
        """Know what a checkpoint says of the network whose weights are, or are about to be, the task's."""
        if origin.preprocessing is not None:
            self._task.preprocessing = present_form(origin.preprocessing)
            origin = replace(origin, preprocessing=self._task.preprocessing)
        self.origin, self.names = origin, origin.class_names
        self._task.class_names = list(origin.class_names)

    def agree(self, data: Any, stage: str | None) -> None:
        """See to it that network and data speak of the same classes; call it before loaders are made.

        Args:
            data: The data module, or None.
            stage: ``fit``, ``validate``, ``test`` or ``predict``; None outside a trainer.

        Raises:
            ConfigError: If the number of classes is unknown, or not that of the data.
            DataError: If the data has classes that are none of the network's.
            CheckpointError: If the file of weights cannot be read.
        """
        task = self._task
        if not task.is_built and self.origin is None and task.weights is not None:
            if stage == "fit":
                self._start = self._start or self._open(task.weights).origin
            elif stage is not None:
                self.take(self._open(task.weights).origin)
        if self.origin is not None and not task.is_built:
            self._take_number(self.origin)
        if stage == "predict" and hasattr(data, "release_folders"):
            data.release_folders(self.names, task.num_classes)
        if task.is_built or (self.origin is not None and task.num_classes is not None):
            self._follow(data)
        else:
            self._begin(data)

    def _open(self, path: str) -> SavedWeights:
        """Read the file of weights, and keep it for the network that is built next."""
        self._opened = self._opened or read_weights(path)
        return self._opened

    def give_start(self) -> SavedWeights | None:
        """Hand over the file of weights if it was read already; it is not kept any longer."""
        given, self._opened = self._opened, None
        return given

    def _take_number(self, origin: Origin) -> None:
        given = self._task.num_classes
        if origin.num_classes is None:
            return
        if given not in (None, origin.num_classes):
            raise ConfigError(
                f"num_classes={given}, but the network of {origin.source} has {origin.num_classes} classes; leave "
                "model.init_args.num_classes out"
            )
        self._task.know_num_classes(origin.num_classes)

    def _follow(self, data: Any) -> None:
        """Number the data's classes as the network has them."""
        task, own = self._task, own_names(data)
        task.class_names = list(self.names)
        self.there = None
        if own is None:
            return
        if not self.names:
            if task.num_classes != len(own):
                raise DataError(
                    f"the network tells {task.num_classes} classes apart, which nothing names, but the data has "
                    f"{len(own)}: {shorten(own)}; give data with the classes that it was trained on, in their order"
                )
            _number_as(data, None)
            task.class_names = own
            self._tell(f"nothing names the network's classes: they are taken for the data's in order, {shorten(own)}")
            return
        _number_as(data, self.names)
        if len(own) < len(self.names):
            self.there = sorted(data.class_numbers)
            self._tell(
                f"the data has {len(own)} of the network's {len(self.names)} classes, {shorten(own)}: figures are over "
                "these, and a prediction of another one counts as wrong"
            )

    def _begin(self, data: Any) -> None:
        """Take the classes from the data, in its order, but for a head that knows them in another one."""
        task, own = self._task, own_names(data)
        names = None if own is None else self._order_of_start(data, own)
        _number_as(data, names)
        self.there = None
        found = len(own) if own is not None else _number_without_names(data)
        if found is None and task.num_classes is None and _may_be_labelled(data):
            raise ConfigError(
                "num_classes is unknown, for the data is not labelled: give --ckpt_path, or set "
                "model.init_args.num_classes"
            )
        if found is None:
            return
        if task.num_classes not in (None, found):
            raise ConfigError(
                f"num_classes={task.num_classes}, but the data set has {found} classes; leave "
                "model.init_args.num_classes out"
            )
        task.know_num_classes(found)
        task.class_names = list(names or own or [])

    def _order_of_start(self, data: Any, own: list[str]) -> tuple[str, ...] | None:
        """The order of the classes in the weights that a fit begins with, if they are the data's; None for its own."""
        self.keep_fresh = False
        if self._start is None or not self._start.class_names or list(self._start.class_names) == own:
            return None
        names, source = self._start.class_names, self._start.source
        try:
            numbers_by_name(own, names)
            same = len(own) == len(names) and hasattr(data, "use_classes")
        except UnknownClassesError as error:
            self.keep_fresh = True
            if len(own) == len(names):
                self._tell(f"{source}: the classes of its head are others ({error}): the head is fresh")
            return None
        if not same:
            self.keep_fresh = True
            return None
        if self._task.hparams.get("class_weights"):
            raise ConfigError(
                f"class_weights are in the order of the classes, but {source} has them in another one than the data; "
                "order the classes of the data alike, or leave model.init_args.class_weights out"
            )
        return names

    def prepare(self, data: Any, stage: str | None) -> None:
        """See to it that the network is fed what it was trained on; call it before loaders are made.

        Args:
            data: The data module, or None.
            stage: As for :meth:`agree`.
        """
        if not hasattr(data, "use_preprocessing") or stage is None:
            return
        stored = self._task.preprocessing
        if stage == "fit":
            now = data.preprocessing()
            began = None if self.origin is None else self.origin.preprocessing
            if began is not None and now != began:
                self._tell(f"the run goes on with another preprocessing than it began with: {_difference(began, now)}")
            self._task.preprocessing = now
        elif stored is not None:
            source = "the network" if self.origin is None else self.origin.source
            differ = data.use_preprocessing(stored, source)
            if differ:
                shown = ", ".join(f"{name} {used} instead of {own}" for name, (used, own) in differ.items())
                self._tell(
                    f"images are prepared as given, not as for the training of {source}: {shown}; leave these settings "
                    "of data.init_args out to have its own"
                )
        elif self.origin is not None and self.origin.is_run:
            self._tell(
                f"{self.origin.source} does not say how images were prepared for it, as checkpoints of version 0.1 do "
                "not: image_size, mean, std and so on are those of data.init_args; they should be those of its run"
            )

    def refuse_fresh(self, fresh: tuple[str, ...], stage: str | None) -> None:
        """Refuse to measure or to use what was never trained.

        Args:
            fresh: Entries of the network that the file of weights did not fill.
            stage: As for :meth:`agree`.

        Raises:
            CheckpointError: If there are some, but in ``fit``.
        """
        if fresh and stage not in (None, "fit"):
            task = self._task
            named = f" ({shorten(task.class_names)})" if task.class_names else ""
            raise CheckpointError(
                f"{task.weights}: has no trained head for these {task.num_classes} classes{named}, and {stage} with a "
                "fresh one would say nothing; give weights of a network that was trained on these classes"
            )

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.warning(text)


def own_names(data: Any) -> list[str] | None:
    """Names of the classes that a data module has, in its own order; None if it has none, or no names."""
    try:
        names = getattr(data, "own_class_names", None)
        names = getattr(data, "class_names", None) if names is None else names
    except ConfigError:  # images without labels
        return None
    return None if names is None else list(names)


def _may_be_labelled(data: Any) -> bool:
    return hasattr(type(data), "num_classes")


def _number_without_names(data: Any) -> int | None:
    try:
        found = getattr(data, "num_classes", None)
    except ConfigError:
        return None
    return None if found is None else int(found)


def _number_as(data: Any, names: tuple[str, ...] | None) -> None:
    """Let a data module number its classes as ``names`` does; None for its own order."""
    if hasattr(data, "use_classes"):
        data.use_classes(names)
    elif names is not None and list(names) != own_names(data):
        raise DataError(
            f"data: {type(data).__name__} has no use_classes, so it must have the network's classes in their order: "
            f"{shorten(names)}"
        )


def _difference(before: dict[str, Any], now: dict[str, Any] | None) -> str:
    changed = {name: (now or {}).get(name) for name in before if (now or {}).get(name) != before[name]}
    return ", ".join(f"{name} {value} instead of {before[name]}" for name, value in changed.items())
