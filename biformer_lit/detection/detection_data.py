"""Data module for object detection and instance segmentation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import torch

from biformer_lit.data.checks import require
from biformer_lit.data.class_numbers import NumberedClasses
from biformer_lit.data.columns import find_objects_column, object_fields
from biformer_lit.data.images.decoding import decode_turned
from biformer_lit.data.images.headers import Header
from biformer_lit.data.images.rendering import PLAIN, Rendering
from biformer_lit.data.labels import (
    UNLABELLED,
    Classes,
    Integers,
    find_classes,
    plain_labels,
    stored_column,
    streamed_classes,
)
from biformer_lit.data.loaders import Collate
from biformer_lit.data.own_transforms import OwnTransforms
from biformer_lit.data.preprocessing import ALWAYS, Transform
from biformer_lit.data.samples import Part, Read, Source
from biformer_lit.data.survey import Inspect
from biformer_lit.dense.dense_data import DenseDataModule
from biformer_lit.dense.masks import ID2LABEL, read_id2label
from biformer_lit.dense.pixel_transforms import DIVISOR, whole_image
from biformer_lit.detection.box_augmentation import (
    BoxTransform,
    DetectionAugmentation,
    EvalBoxes,
    ImageSize,
    PadImages,
    TrainBoxes,
)
from biformer_lit.detection.box_frame import BoxFrame, BoxOrientation, size_columns
from biformer_lit.detection.boxes import LARGEST_FRACTION, BoxFormat, Repairs
from biformer_lit.detection.category_ids import stored_category_ids
from biformer_lit.detection.object_counts import count_objects
from biformer_lit.detection.object_fit import Placed, place_some, require_fitting
from biformer_lit.detection.object_reading import NO_OBJECTS, ObjectFields, ReadObjects, field_values, find_fields
from biformer_lit.detection.object_survey import require_readable, require_scored
from biformer_lit.errors import DataError

_DEFAULT_AUGMENTATION = DetectionAugmentation()


@dataclass(frozen=True)
class ReadDetected:
    """Makes a sample of a stored row; see ``DetectionDataModule`` for what is in it.

    Attributes:
        image_column: Column with the image.
        objects: Reads the objects; None if the data set has none.
        transform: From an RGB image and its objects to what is fed.
        labelled: Whether a row whose objects are not known is an error; otherwise they are None.
        rendering: How stored values become a picture.
    """

    image_column: str
    objects: ReadObjects | None
    transform: BoxTransform
    labelled: bool
    rendering: Rendering = PLAIN

    def __call__(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        """Read a row; ``where`` begins the messages of errors."""
        picture, orientation = decode_turned(row[self.image_column], where, self.rendering)
        stored_size = picture.height, picture.width
        objects, repairs = None, Repairs()
        if self.objects is not None:
            objects, repairs = self.objects(row, stored_size, where, orientation)
        if objects is None and self.labelled:
            raise DataError(f"{where}: {NO_OBJECTS}")
        image, moved = self.transform(picture, objects or {})
        sample = {
            "image": image,
            "size": torch.tensor(image.shape[1:]),
            "stored_size": torch.tensor(stored_size),
            "objects": None if objects is None else moved,
        }
        return {**sample, "repairs": repairs} if any(repairs) else sample


class DetectionDataModule(NumberedClasses, DenseDataModule):
    """Images with objects in boxes, and with a mask for each if they are wanted.

    Batches are ``{"image": float32 (N, 3, H, W), "size": int64 (N, 2), "stored_size": int64 (N, 2), "index": int64
    (N,), "objects": list of N}``. Images are padded on the right and at the bottom with the mean colour (0 after
    normalisation) to the largest of the batch, rounded up to multiples of 32. ``size`` is height and width of what is
    fed without that, ``stored_size`` those of the stored image, turned as its EXIF orientation says.

    Each of ``objects`` has ``boxes``, float32 (n, 4), left, top, right and bottom, ``labels``, int64 (n,), and, if
    they are read, ``masks``, uint8 (n, h, w). In training they are in pixels of the image as it is fed (without the
    padding), and objects that stand for many (``iscrowd``) are left out. In evaluation they are in pixels of the
    stored image, and ``area``, float32 (n,), and ``crowd``, bool (n,), come with them; the area is what is stored,
    else that of the mask if masks are read, else that of the box. Images without objects have n = 0. In prediction
    an image of which it is not known what is on it has None. After ``setup``, ``class_names`` and ``num_classes`` are
    known. The names come from a ``ClassLabel``, else from ``id2label.json`` in a local folder, else they are the
    different categories in the training split, sorted.

    What is done about bad boxes is the same everywhere, in this order. Numbers that are not finite are an error.
    Boxes are clipped to their image. Polygons that are not three points or more are left out of their mask. Objects
    whose box is then under one pixel of the stored image wide or high, or whose mask is empty, are left out. Of objects
    of the same class with the same box, and the same mask if masks are read, only the first is kept. How many there
    are, and how many crowds, is logged at the end of a pass, each row once, and counted in ``repairs``; clipping by no
    more than a pixel, as some annotation tools need it, is not. A shuffled stream does not know its rows, so that only
    its first pass counts for certain.

    Unless the set is a stream, all rows are looked at by ``setup``, without their images: an error that would end an
    epoch comes before the first one, and boxes or masks that leave their images, but would lie in them in another
    format, are told; more than half of them refuse the split.

    Images are turned as their EXIF orientation says. Objects are turned along where they are in pixels of the stored
    image: where the columns ``height`` and ``width`` of the row, or the size of a mask, are those of the stored image,
    or boxes leave the turned image and not the stored one. A row that shows nothing (a square or upside-down image)
    goes by what the other rows of the split show, if they agree, and else its objects count as upright.

    Args:
        objects_column: Column with the objects, if it cannot be guessed: a struct of lists or a list of structs.
        box_field: Field of the objects with their boxes, four numbers each, if it cannot be guessed.
        category_field: Field with their categories, ``ClassLabel``, integers or strings, if it cannot be guessed.
        mask_field: Field with their masks, if it cannot be guessed: polygons or run lengths as in COCO, or a picture
            for each object.
        box_format: What the four numbers are: x, y, width, height; or left, top, right, bottom; or x and y of the
            centre, width, height.
        normalised: Whether boxes (and polygons) are fractions of the image size, and not pixels.
        box_orientation: What the objects of an image that EXIF turns are in pixels of: upright, stored, or auto for
            what the data shows.
        num_classes: Number of classes. Checked against the data. Integer categories without names are taken as
            0..num_classes-1 if it is given; a stream needs it then.
        masks: Whether masks are read; by default if the task needs them.
        image_size: The shorter side of the images as they are fed, in pixels.
        max_size: Most pixels of the longer side; an image that would be longer is fed smaller.
        augmentation: What training does to the images.
        **kwargs: Arguments of ``DenseDataModule``.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    kind: ClassVar[str | None] = "detection"
    prepared_by: ClassVar[tuple[str, ...]] = ("image_size", "max_size", *ALWAYS)
    unit: ClassVar[str] = "objects"

    def __init__(
        self,
        objects_column: str | None = None,
        box_field: str | None = None,
        category_field: str | None = None,
        mask_field: str | None = None,
        box_format: BoxFormat = "xywh",
        normalised: bool = False,
        box_orientation: BoxOrientation = "auto",
        num_classes: int | None = None,
        masks: bool | None = None,
        image_size: int = 800,
        max_size: int = 1333,
        augmentation: DetectionAugmentation = _DEFAULT_AUGMENTATION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require(box_format in {"xywh", "xyxy", "cxcywh"}, "box_format", box_format, "must be xywh, xyxy or cxcywh")
        problem = "must be auto, upright or stored"
        require(box_orientation in get_args(BoxOrientation), "box_orientation", box_orientation, problem)
        self.expect_classes(num_classes)
        require(image_size >= 1, "image_size", image_size, "must be 1 or more")
        self.objects_column, self.box_field, self.category_field = objects_column, box_field, category_field
        self.mask_field, self.box_format, self.normalised = mask_field, box_format, normalised
        self.masks, self.image_size, self.max_size, self.augmentation = masks, image_size, max_size, augmentation
        self.adopt_preprocessing()
        self.box_orientation: BoxOrientation = box_orientation
        self._classes: Classes | None = None
        self._fields: ObjectFields | None = None
        self._size_columns: tuple[str, str] | None = None
        self._placed: dict[str, list[Placed]] = {}
        self._category_ids: list[int] | None = None
        self._masks_needed = False

    @staticmethod
    def transform_of(known: Mapping[str, Any]) -> Transform:
        """Return what resizes and normalises a whole image; see ``HFDataModule``."""
        size = ImageSize(known["image_size"], known["max_size"])
        mean, std = tuple(known["mean"]), tuple(known["std"])
        return whole_image(lambda height, width: size.fit((height, width), size.short), mean, std)

    def adopt_preprocessing(self) -> None:
        """Refuse a longer side that is shorter than the shorter one; see ``HFDataModule``."""
        super().adopt_preprocessing()
        longest = max((self.image_size, *self.augmentation.short_sides))
        problem = f"must not be below the shorter side, {longest} (image_size or augmentation.short_sides)"
        require(self.max_size >= longest, "max_size", self.max_size, problem)

    @property
    def category_ids(self) -> list[int]:
        """The number of each of ``own_class_names`` in the data set; known after ``setup``."""
        return list(range(len(self.own_class_names))) if self._category_ids is None else list(self._category_ids)

    @property
    def repairs(self) -> dict[str, Repairs]:
        """Repairs of bad boxes by split, as far as the rows were read and their pass has ended."""
        return {split: Repairs.total(skipped.repairs.values()) for split, skipped in self.skipped.items()}

    def find_targets(self, features: datasets.Features, table: Any, split: str) -> list[str]:
        """Find the column with the objects and its fields, and the classes; see ``HFDataModule``."""
        try:
            column = find_objects_column(features, self.objects_column, self.box_field)
            fields = find_fields(features, column, self.box_field, self.category_field, self.mask_field)
            self._classes = self._find_classes(object_fields(features[column])[fields.category], fields, table, split)
        except DataError as error:
            self._no_classes = str(error)  # fatal for all but prediction, see check
            return []
        self._fields, self._size_columns = fields, size_columns(features)
        self._own_names = self._classes.names
        objects = pa.chunked_array([], table.features.arrow_schema.field(column).type)
        if not self.streaming:
            objects = stored_column(table, column)
        self._category_ids = stored_category_ids(objects, fields, self._classes)
        return [column, *(self._size_columns or ())]

    def _find_classes(self, feature: Any, fields: ObjectFields, table: Any, split: str) -> Classes:
        expected, argument = self._num_classes, "category_field"
        named = isinstance(feature, datasets.ClassLabel)
        known = None if named else read_id2label(self.dataset, UNLABELLED)
        if known is not None:
            names = list(known.values())
            problem = f"given, but {ID2LABEL} names {len(names)} classes; leave it out or correct it"
            fewer = self._may_lack_classes and expected is not None and len(names) < expected
            require(expected in {None, len(names)} or fewer, "num_classes", expected, problem)
            return Classes(names, names if "string" in feature.dtype else list(known), argument)
        if self.streaming:
            return streamed_classes(feature, expected, argument, fewer=self._may_lack_classes)
        if named:
            return find_classes(feature, [], expected, argument, fewer=self._may_lack_classes)
        values = field_values(stored_column(table, fields.column), fields.category)
        if len(values) == 0:
            raise DataError(_no_object(split))
        labels = plain_labels(values, f"{fields.column}.{fields.category}", split, argument)
        return find_classes(
            feature,
            labels,
            expected,
            argument,
            complete=split == self.train_split,
            fewer=self._may_lack_classes,
        )

    def check(self, table: Any, split: str, part: Part) -> None:
        """Refuse a split without objects, except for prediction; see ``HFDataModule``."""
        if part == "predict":
            return
        fields = self._fields
        self.require_targets(None if fields is None else fields.column, table, split, "a split with objects")
        assert fields is not None  # noqa: S101 (there are objects)
        if self._wants_masks() and fields.mask is None:
            raise DataError(
                f"data.init_args.masks: masks are wanted, but the objects in column {fields.column!r} have none under "
                "a usual name; set data.init_args.mask_field, or use a task that needs no masks"
            )
        if self.streaming:
            return
        column = stored_column(table, fields.column)
        require_scored(column, fields, f"split {split!r} has", "label it, or name another split")
        require_readable(table, self._image_column, split, self._read_objects(BoxFrame(self.box_orientation)))
        boxes = field_values(column, fields.box)
        # as float64, for Arrow knows no largest half; huge integers may lose digits
        largest = pc.max(pc.list_flatten(boxes).cast(pa.float64(), safe=False)).as_py()
        if not self.normalised and largest is not None and largest <= LARGEST_FRACTION:
            raise DataError(
                f"data.init_args.normalised: false, but no box in split {split!r} holds a number above {largest:g}, as "
                "if they were fractions of the image size; set it to true, or correct the boxes"
            )

        read = self._read_objects(self._frame(table, split))
        require_fitting(self._placed[split], split, read)

    def divide(self, split: str) -> tuple[Integers, Integers]:
        """Rows to train and to validate on; see ``HFDataModule``. Both need an object."""
        parts = super().divide(split)
        fields = self._fields
        if fields is not None:
            column = stored_column(self._tables[split], fields.column)
            for rows, use in zip(parts, ("train", "validate"), strict=True):
                what = f"split {split!r}: the {len(rows)} rows to {use} on, without a split of their own, have"
                remedy = "name another data.init_args.val_split, val_fraction or split_seed"
                require_scored(column.take(pa.array(rows)), fields, what, remedy)
        return parts

    def inspector(self, part: Part, source: Source) -> Inspect | None:
        """Reads boxes and categories as the run will, without masks; see ``HFDataModule``."""
        if self._fields is None or self._classes is None:
            return None
        classes = self._own_classes_of(source.split, self._fields)
        read = replace(self._read_objects(self._frame(source.table, source.split)), masks=False, classes=classes)

        def inspect(row: dict[str, Any], where: str, header: Header) -> Repairs:
            return read(row, header.size, where, header.orientation)[1]

        return inspect

    def count_classes(self, part: Part, source: Source) -> tuple[Integers | None, int]:
        """Objects of each class; see ``HFDataModule``."""
        fields = self._fields
        if fields is None or self._classes is None or fields.column not in source.table.column_names:
            return None, 0
        classes = self._own_classes_of(source.split, fields)
        column = stored_column(source.table, fields.column)
        counts = count_objects(
            column, source.rows, fields, classes, lambda row: source.names_of(row, source.table[row])[1]
        )
        return counts, len(source.rows)

    def _frame(self, table: Any, split: str) -> BoxFrame:
        """Return the frame of the objects of rotated images in this split."""
        frame = BoxFrame(self.box_orientation, self._size_columns)
        if self.streaming:
            return frame
        if split not in self._placed:
            self._placed[split] = place_some(table, self._image_column, self._read_objects(frame))
        shown = {placed.shown for placed in self._placed[split]} - {None}
        return replace(frame, presumed="stored") if shown == {"stored"} else frame

    def _read_objects(self, frame: BoxFrame) -> ReadObjects:
        assert self._fields is not None  # noqa: S101 (there are objects)
        assert self._classes is not None  # noqa: S101
        return ReadObjects(self._fields, self._classes, self.box_format, self.normalised, self._wants_masks(), frame)

    def _classes_of(self, split: str, fields: ObjectFields) -> Classes:
        """The classes as a split stores them, numbered as in batches."""
        return self._own_classes_of(split, fields).numbered_as(self.class_names)

    def _own_classes_of(self, split: str, fields: ObjectFields) -> Classes:
        """The classes as a split stores them, numbered in the data set's own order."""
        classes: Any = self._classes
        stored = object_fields((self._features[split] or {}).get(fields.column)).get(fields.category)
        return classes.of_split(stored, split)  # type: ignore[no-any-return]

    def _wants_masks(self) -> bool:
        return self._masks_needed if self.masks is None else self.masks

    def need_masks(self, needed: bool) -> None:
        """Read masks, or none, unless ``masks`` says it; a task calls it before setup."""
        self._masks_needed = needed

    def reader(self, image_column: str, part: Part) -> Read:
        """The function that makes a sample of a stored row; see ``HFDataModule``."""
        size = ImageSize(self.image_size, self.max_size)
        transform: BoxTransform = EvalBoxes(size, self.mean, self.std)
        if part == "train":
            transform = TrainBoxes(self.augmentation, size, self.mean, self.std, OwnTransforms(self.transforms))
        objects = None
        if self._fields is not None and self._classes is not None:
            source = self._source(part)
            objects = self._read_objects(self._frame(source.table, source.split))
            objects = replace(objects, classes=self._classes_of(source.split, self._fields))
        return ReadDetected(image_column, objects, transform, part != "predict", self.rendering)

    def collate(self, part: Part) -> Collate:
        """Batches of images of different sizes; see ``HFDataModule``."""
        return Collate(PadImages(DIVISOR))


def _no_object(split: str) -> str:
    return f"split {split!r} has no object at all; label it, or name another split"
