"""Data module for semantic segmentation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import datasets
import numpy as np
import torch

from biformer_lit.data.checks import require
from biformer_lit.data.class_numbers import NumberedClasses
from biformer_lit.data.columns import find_mask_column
from biformer_lit.data.images.decoding import decode_turned, is_empty
from biformer_lit.data.images.headers import Header
from biformer_lit.data.images.rendering import PLAIN, Rendering
from biformer_lit.data.labels import Integers
from biformer_lit.data.loaders import Collate
from biformer_lit.data.named_sets import EMBEDDED
from biformer_lit.data.own_transforms import OwnTransforms
from biformer_lit.data.preprocessing import ALWAYS, Transform
from biformer_lit.data.samples import Part, Read, Source
from biformer_lit.data.survey import Inspect
from biformer_lit.dense.dense_data import DenseDataModule
from biformer_lit.dense.masks import (
    LabelRange,
    MaskOrientation,
    decode_turned_mask,
    lay_on_image,
    name_classes,
    stored_classes,
)
from biformer_lit.dense.pixel_transforms import DIVISOR, whole_image
from biformer_lit.errors import DataError
from biformer_lit.segmentation.mask_augmentation import (
    EvalPair,
    PadBatch,
    PairTransform,
    SegmentationAugmentation,
    TrainPair,
)
from biformer_lit.segmentation.mask_classes import require_classes
from biformer_lit.segmentation.mask_survey import require_header, survey_pixels

_NO_MASK = "{where}: the mask is missing; remove the row or label it"
_DEFAULT_AUGMENTATION = SegmentationAugmentation()


@dataclass(frozen=True)
class ReadSegmented:
    """Makes a sample of a stored row.

    A sample is ``image``, float32 (3, height, width), ``mask``, int64, ``size``, that of the image, and
    ``stored_size``, that of the mask, int64 (2,).

    Attributes:
        image_column: Column with the image.
        mask_column: Column with the label map; None if the data set has none.
        labels: Which stored numbers are which classes; None if the data set has no label maps.
        ignore_index: The number that means no class.
        transform: From an RGB image and its label map to tensors.
        labelled: Whether a row without a label map is an error; otherwise all of it is ignored.
        rendering: How stored values become a picture.
        mask_orientation: What masks are laid on where EXIF turns their image.
    """

    image_column: str
    mask_column: str | None
    labels: LabelRange | None
    ignore_index: int
    transform: PairTransform
    labelled: bool
    rendering: Rendering = PLAIN
    mask_orientation: MaskOrientation = "auto"

    def __call__(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        """Read a row; ``where`` begins the messages of errors."""
        picture, orientation = decode_turned(row[self.image_column], where, self.rendering)
        shape = picture.height, picture.width
        stored = None if self.mask_column is None else row.get(self.mask_column)
        if self.labels is None or is_empty(stored):
            if self.labelled:
                raise DataError(_NO_MASK.format(where=where))
            numbers = np.full(shape, self.ignore_index, np.int64)
        else:
            numbers, own = decode_turned_mask(stored, where)
            numbers = lay_on_image(numbers, own, shape, orientation, self.mask_orientation, where)
            numbers = self.labels.encode(numbers, where)
        image, mask = self.transform(picture, numbers)
        sizes = {"size": torch.tensor(image.shape[1:]), "stored_size": torch.tensor(mask.shape)}
        return {"image": image, "mask": mask, **sizes}


class SegmentationDataModule(NumberedClasses, DenseDataModule):
    """Images with a class for each pixel.

    Batches are ``{"image": float32 (N, 3, H, W), "mask": int64 (N, H', W'), "size": int64 (N, 2), "stored_size": int64
    (N, 2), "index": int64 (N,)}``. In training both sizes are ``image_size``. In evaluation H and W are those of the
    largest image of the batch as it is fed, H' and W' those of the largest as it is stored, rounded up to multiples of
    32: images are padded on the right and at the bottom with the mean colour (0 after normalisation), masks with
    ``ignore_index``; ``size`` and ``stored_size`` are height and width without that. After ``setup``,
    ``class_names`` and ``num_classes`` are known. The names come from ``id2label.json`` in a local folder (the
    classes as trained on, after ``reduce_zero_label``), else from a column that lists the classes in each image,
    else they are numbers.

    Args:
        mask_column: Column with the label maps, if it cannot be guessed: images of one channel whose pixels are
            class numbers.
        num_classes: Number of classes, without what is ignored. Checked against the names, and needed where nothing
            names the classes.
        reduce_zero_label: Take the stored 0 for "no class" and the stored 1 for class 0, as in ADE20K.
        ignore_index: Number of the pixels without a class, in the data set and in batches.
        class_values: The stored number of each class, where they are not 0, 1, 2, ...: [0, 255] for masks of black and
            white. By default the numbers in ``id2label.json``, if there is one.
        absent_classes: What is done about a class that no training mask holds, and about masks in which a single class
            and pixels without one are all there is: error, or allow if that is meant.
        mask_orientation: What masks without an EXIF orientation of their own are laid on where the image has one: the
            upright image, the image as stored, or auto, which goes by their sizes.
        image_size: Size of the crops to train on, in pixels: one number, or height and width.
        eval_size: In evaluation the shorter side of the image as it is fed; by default the size it is stored in. Scores
            and predictions are at the stored size in both cases.
        augmentation: What training does to the images.
        **kwargs: Arguments of ``DenseDataModule``.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    kind: ClassVar[str | None] = "segmentation"
    prepared_by: ClassVar[tuple[str, ...]] = ("image_size", "eval_size", *ALWAYS)
    for_training: ClassVar[frozenset[str]] = frozenset({"image_size"})  # of the crops
    unit: ClassVar[str] = "pixels"

    def __init__(
        self,
        mask_column: str | None = None,
        num_classes: int | None = None,
        reduce_zero_label: bool = False,
        ignore_index: int = 255,
        class_values: tuple[int, ...] | None = None,
        absent_classes: Literal["error", "allow"] = "error",
        mask_orientation: MaskOrientation = "auto",
        image_size: int | tuple[int, int] = 512,
        eval_size: int | None = None,
        augmentation: SegmentationAugmentation = _DEFAULT_AUGMENTATION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.expect_classes(num_classes)
        sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        problem = "must be 1 or more: one number, or height and width"
        require(len(sides) == 2 and min(sides) >= 1, "image_size", image_size, problem)
        require(eval_size is None or eval_size >= 1, "eval_size", eval_size, "must be 1 or more, or null")
        self.mask_column, self.reduce_zero_label = mask_column, reduce_zero_label
        self.image_size, self.eval_size, self.augmentation = image_size, eval_size, augmentation
        self.ignore_index, self.absent_classes, self.mask_orientation = ignore_index, absent_classes, mask_orientation
        problem = "must be different numbers of 0 or more, one for each class, without reduce_zero_label"
        good = class_values is None or (len({*class_values}) == len(class_values) >= 1 and min(class_values) >= 0)
        require(good and not (class_values and reduce_zero_label), "class_values", class_values, problem)
        require(absent_classes in {"error", "allow"}, "absent_classes", absent_classes, "must be error or allow")
        problem = "must be auto, upright or stored"
        require(mask_orientation in {"auto", "upright", "stored"}, "mask_orientation", mask_orientation, problem)
        self.class_values = None if class_values is None else tuple(class_values)
        self._values: tuple[int, ...] | None = None
        self._crop = sides[0], sides[1]
        self._mask_column: str | None = None

    @staticmethod
    def transform_of(known: Mapping[str, Any]) -> Transform:
        """Return what resizes and normalises a whole image; see ``HFDataModule``."""
        short = known["eval_size"]

        def size_of(height: int, width: int) -> tuple[int, int] | None:
            if short is None:
                return None
            return max(1, round(height * short / min(height, width))), max(1, round(width * short / min(height, width)))

        return whole_image(size_of, tuple(known["mean"]), tuple(known["std"]))

    def find_targets(self, features: datasets.Features, table: Any, split: str) -> list[str]:
        """Find the column with the label maps, and the names of the classes; see ``HFDataModule``."""
        try:
            column = find_mask_column(features, self.mask_column, self._image_column)
            classes = name_classes(
                self.dataset,
                features,
                self._num_classes,
                self.ignore_index,
                self.reduce_zero_label,
                self.class_values,
                fewer=self._may_lack_classes,
            )
        except DataError as error:
            self._no_classes = str(error)  # fatal for all but prediction, see check
            return []
        self._mask_column, self._own_names, self._values = column, classes.names, classes.values
        return [column]

    def check(self, table: Any, split: str, part: Part) -> None:
        """Refuse a split without label maps, except for prediction; see ``HFDataModule``."""
        if part == "predict":
            return
        self.require_targets(self._mask_column, table, split, "a split with masks")
        if self._mask_column is not None and self.dataset not in EMBEDDED and self.absent_classes == "error":
            stored = table.select_columns([self._mask_column])
            names, files = self.own_class_names, self._files
            labels = LabelRange(len(names), self.ignore_index, self.reduce_zero_label, values=self._values)

            def locate(value: Any, where: str) -> Any:
                return value if files is None else files.locate_images(value, where)

            require_classes(stored, self._mask_column, labels, names, split, part == "train", locate)

    def inspector(self, part: Part, source: Source) -> Inspect | None:
        """Looks at the header of the label map; see ``HFDataModule``."""
        column = self._mask_column
        if column is None:
            return None

        def inspect(row: dict[str, Any], where: str, header: Header) -> None:
            stored = row.get(column)
            if not is_empty(stored):
                require_header(stored, header, self.mask_orientation, where)
            elif part != "predict":
                raise DataError(_NO_MASK.format(where=where))

        return inspect

    def count_classes(self, part: Part, source: Source) -> tuple[Integers | None, int]:
        """Pixels of each class, as far as there is time; see ``HFDataModule``."""
        if self._mask_column is None or part == "predict":
            return None, 0
        own = self._own_numbers_of(part)
        labels = LabelRange(len(own), self.ignore_index, self.reduce_zero_label, own, self._values)
        found = survey_pixels(source, self._mask_column, labels, len(self.own_class_names), self.look_seconds)
        found.require_sound(self.on_bad_image == "skip")
        return found.pixels, found.looked

    def reader(self, image_column: str, part: Part) -> Read:
        """The function that makes a sample of a stored row; see ``HFDataModule``."""
        transform: PairTransform = EvalPair(self.eval_size, self.mean, self.std)
        if part == "train":
            own = OwnTransforms(self.transforms, self.ignore_index)
            transform = TrainPair(self.augmentation, self._crop, self.mean, self.std, self.ignore_index, own)
        labels = None
        if self._mask_column is not None:
            labels = self._label_range(part)
        labelled = part != "predict"
        return ReadSegmented(
            image_column,
            self._mask_column,
            labels,
            self.ignore_index,
            transform,
            labelled,
            self.rendering,
            self.mask_orientation,
        )

    def _label_range(self, part: Part) -> LabelRange:
        numbers = self._numbers_of(part)
        return LabelRange(len(numbers), self.ignore_index, self.reduce_zero_label, numbers, self._values)

    def _numbers_of(self, part: Part) -> tuple[int, ...]:
        """The number in batches of each class that the part's split stores, in the order in which it stores them."""
        numbers = self.class_numbers
        return tuple(numbers[number] for number in self._own_numbers_of(part))

    def _own_numbers_of(self, part: Part) -> tuple[int, ...]:
        """The same in the data set's own order of classes."""
        names = self.own_class_names
        features = self._features.get(self._sources[part].split) if part in self._sources else None
        if features is None:
            return tuple(range(len(names)))
        split = self._sources[part].split
        return tuple(stored_classes(self.dataset, features, names, self.reduce_zero_label, split))

    def check_numbers(self, numbers: list[int]) -> None:
        """Refuse a network one of whose classes has the number that means no class; see ``NumberedClasses``."""
        problem = f"is one of the {self.num_classes} classes of the trained network; store another number for no class"
        same = numbers == list(range(self.num_classes))
        require(same or not 0 <= self.ignore_index < self.num_classes, "ignore_index", self.ignore_index, problem)

    def collate(self, part: Part) -> Collate:
        """Batches of images of different sizes, in evaluation; see ``HFDataModule``."""
        return Collate(PadBatch(self.ignore_index, 1 if part == "train" else DIVISOR))
