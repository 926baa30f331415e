"""Data module for image classification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import datasets

from biformer_lit.classification.image_augmentation import (
    Augmentation,
    eval_transform,
    train_transform,
)
from biformer_lit.data.checks import require
from biformer_lit.data.class_numbers import NumberedClasses
from biformer_lit.data.columns import find_label_column
from biformer_lit.data.data_module import HFDataModule
from biformer_lit.data.images.decoding import decode_image
from biformer_lit.data.images.rendering import PLAIN, Rendering
from biformer_lit.data.labels import (
    UNLABELLED,
    Classes,
    Integers,
    find_classes,
    require_labelled,
    stored_labels,
    stratified_split,
    streamed_classes,
)
from biformer_lit.data.normalisation import IMAGENET_MEAN, IMAGENET_STD, Triple, require_normalisation
from biformer_lit.data.own_transforms import OwnTransforms
from biformer_lit.data.preprocessing import ALWAYS, Transform
from biformer_lit.data.samples import Part, Read, Source
from biformer_lit.data.telling import count_numbers
from biformer_lit.errors import DataError
from biformer_lit.text.class_names import shorten

_DEFAULT_AUGMENTATION = Augmentation()


@dataclass(frozen=True)
class ReadClassified:
    """Makes a sample of a stored row: ``image``, float32 (3, height, width), and ``label``, a class number.

    Attributes:
        image_column: Column with the image.
        label_column: Column with the label; None if the data set has no labels.
        classes: The classes; None if the data set has no labels.
        transform: From an RGB image to a tensor.
        labelled: Whether a row without a label is an error; otherwise its label is -1.
        rendering: How stored values become a picture.
    """

    image_column: str
    label_column: str | None
    classes: Classes | None
    transform: Transform
    labelled: bool
    rendering: Rendering = PLAIN

    def __call__(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        """Read a row; ``where`` begins the messages of errors."""
        image = self.transform(decode_image(row[self.image_column], where, self.rendering))
        if self.classes is None or self.label_column is None:
            return {"image": image, "label": UNLABELLED}
        label = self.classes.number(row.get(self.label_column), where)
        if self.labelled and label == UNLABELLED:
            raise DataError(f"{where}: the label is negative or missing; remove the row or label it")
        return {"image": image, "label": label}


class ClassificationDataModule(NumberedClasses, HFDataModule):
    """Images with one class each.

    Batches are ``{"image": float32 (N, 3, image_size, image_size), "label": int64 (N,), "index": int64
    (N,)}``. After ``setup``, ``class_names`` and ``num_classes`` are known.

    Args:
        label_column: Column with the labels, if it cannot be guessed: ``ClassLabel``, integers or strings.
        num_classes: Number of classes. Checked against the data. Integer labels without names are taken as
            0..num_classes-1 if it is given, the last of which must occur in training, and as their sorted different
            values otherwise; a stream needs it then.
        class_folder: Which folder names the class where the images of a local folder lie in folders within folders:
            the ``first`` below the split's folder, or the ``last``, that of the image.
        image_size: Height and width of the images in pixels.
        crop_pct: In evaluation the shorter side is resized to image_size / crop_pct before the centre is
            cut out.
        mean: Mean of the channels that is subtracted, for pixel values 0..1.
        std: Standard deviation of the channels that is divided by.
        augmentation: What training does to the images.
        **kwargs: Arguments of ``HFDataModule``.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    kind: ClassVar[str | None] = "classification"
    prepared_by: ClassVar[tuple[str, ...]] = ("image_size", "crop_pct", "augmentation.interpolation", *ALWAYS)

    def __init__(
        self,
        label_column: str | None = None,
        num_classes: int | None = None,
        class_folder: Literal["first", "last"] | None = None,
        image_size: int = 224,
        crop_pct: float = 0.875,
        mean: Triple = IMAGENET_MEAN,
        std: Triple = IMAGENET_STD,
        augmentation: Augmentation = _DEFAULT_AUGMENTATION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.expect_classes(num_classes)
        require(image_size >= 1, "image_size", image_size, "must be 1 or more")
        require(0 < crop_pct <= 1, "crop_pct", crop_pct, "must be more than 0 and at most 1")
        require_normalisation(mean, std)
        require(class_folder in {None, "first", "last"}, "class_folder", class_folder, "must be first or last")
        repeats = augmentation.repeats
        require(
            not self.streaming or repeats == 1,
            "augmentation.repeats",
            repeats,
            "needs random access; set it to 1 or streaming to false",
        )
        self.class_folder = class_folder
        self.label_column, self.image_size, self.crop_pct = label_column, image_size, crop_pct
        self.mean, self.std, self.augmentation = mean, std, augmentation
        self.repeats = repeats
        self._classes: Classes | None = None
        self._label_column: str | None = None
        self._numbers: dict[str, Integers] = {}

    @staticmethod
    def transform_of(known: Mapping[str, Any]) -> Transform:
        """Return what cuts the square out of an image that a classifier is fed; see ``HFDataModule``."""
        mean, std = tuple(known["mean"]), tuple(known["std"])
        return eval_transform(known["image_size"], known["crop_pct"], mean, std, known["interpolation"])

    def find_targets(self, features: datasets.Features, table: Any, split: str) -> list[str]:
        """Find the label column and the classes; see ``HFDataModule``."""
        try:
            column = find_label_column(features, self.label_column)
            feature = features[column]
            if self.streaming:
                self._classes = streamed_classes(feature, self._num_classes, fewer=self._may_lack_classes)
            else:
                labels = [] if isinstance(feature, datasets.ClassLabel) else stored_labels(table, column, split)
                self._classes = find_classes(
                    feature,
                    labels,
                    self._num_classes,
                    complete=split == self.train_split,
                    fewer=self._may_lack_classes,
                )
        except DataError as error:
            told = self.folder.unlabelled if self.folder is not None else None
            self._no_classes = told or str(error)  # fatal for all but prediction, see check
            return []
        self._label_column, self._own_names = column, self._classes.names
        return [column]

    def release_folders(self, names: Sequence[str], num_classes: int | None) -> None:
        """Take the folders of images for no classes if they are called nothing that a trained network knows.

        For prediction, which needs no labels: images may lie in folders for any other reason.

        Args:
            names: Names of the classes of the network; empty if nothing names them.
            num_classes: Number of its classes, if known.
        """
        own = self._own_names
        if own is None or self.folder is None or not self.folder.class_folders:
            return
        if set(own) & set(names) if names else num_classes in {None, len(own)}:
            return
        self._no_classes = f"the folders ({shorten(own)}) are called like none of the network's classes"
        self._label_column = self._own_names = self._classes = None

    def check(self, table: Any, split: str, part: Part) -> None:
        """Refuse rows without a valid label, except for prediction; see ``HFDataModule``."""
        if part == "predict":
            return
        self.require_targets(self._label_column, table, split, "a labelled split")
        if self._label_column is not None and not self.streaming and split not in self._numbers:
            labels = stored_labels(table, self._label_column, split)
            numbers = self._classes_of(split).encode(labels, split)  # the data's own, so that no network moves a split
            require_labelled(numbers, split)
            self._numbers[split] = numbers

    def count_classes(self, part: Part, source: Source) -> tuple[Integers | None, int]:
        """Images of each class; see ``HFDataModule``."""
        numbers = self._numbers.get(source.split)
        if numbers is None:
            return None, 0
        return count_numbers(numbers[source.rows], len(self.own_class_names)), len(source.rows)

    def divide(self, split: str) -> tuple[Integers, Integers]:
        """Stratified division of the training rows; see ``HFDataModule``."""
        numbers = self._numbers[split]
        return stratified_split(numbers, self.val_fraction, self.split_seed, self.own_class_names)

    def _classes_of(self, split: str) -> Classes:
        """The classes as a split stores them, numbered in the data set's own order."""
        classes: Any = self._classes
        return classes.of_split((self._features[split] or {}).get(self._label_column), split)  # type: ignore[no-any-return]

    def reader(self, image_column: str, part: Part) -> Read:
        """The function that makes a sample of a stored row; see ``HFDataModule``."""
        if part == "train":
            transform = train_transform(
                self.augmentation, self.image_size, self.mean, self.std, OwnTransforms(self.transforms)
            )
        else:
            interpolation = self.augmentation.interpolation
            transform = eval_transform(self.image_size, self.crop_pct, self.mean, self.std, interpolation)
        classes = None
        if self._classes is not None and part in self._sources:
            classes = self._classes_of(self._sources[part].split).numbered_as(self.class_names)
        return ReadClassified(image_column, self._label_column, classes, transform, part != "predict", self.rendering)
