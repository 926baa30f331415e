"""Recognise the columns of a data set, and the fields of objects in them."""

import dataclasses
from typing import Any

import datasets

from biformer_lit.errors import ConfigError, DataError

_IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "pixel_values", "jpg", "png")
_MASK_COLUMNS = (
    *("annotation", "mask", "label", "segmentation", "annotations", "masks", "labels", "segmentation_mask"),
    *("semantic_mask", "semantic_segmentation", "semantic", "label_map", "labelmap", "seg", "gt", "target", "y"),
)
_OBJECT_COLUMNS = (
    "objects",
    "annotations",
    "object",
    "annotation",
    "instances",
    "targets",
    "target",
    "labels",
    "label",
)
BOX_FIELDS = ("bbox", "box", "boxes", "bboxes")
"""Usual names of what holds the boxes of objects."""
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "y", "category", "cls")


def columns_of(table: datasets.Dataset | datasets.IterableDataset, split: str) -> datasets.Features:
    """The columns of a split and what they hold.

    Args:
        table: The split.
        split: Its name.

    Raises:
        DataError: If they cannot be known, which happens with streams only.
    """
    if table.features is None:
        raise DataError(f"split {split!r}: the columns of the stream are unknown; set data.init_args.streaming: false")
    return table.features


def keep_columns(table: Any, columns: list[str]) -> Any:
    """The split with only those of ``columns`` that it has, its images not decoded."""
    kept = table.select_columns([column for column in columns if column in table.column_names])
    for column, feature in kept.features.items():
        stored = _undecoded(feature)
        if stored == feature:
            continue
        if isinstance(feature, datasets.Image) or isinstance(kept, datasets.IterableDataset):
            kept = kept.cast_column(column, stored)
        else:  # cast_column would rewrite all rows to disk, although nothing stored changes
            kept.info.features = datasets.Features({**kept.features, column: stored})
    return kept


def _undecoded(feature: Any) -> Any:
    """The same feature with its images, however deep they lie, as they are stored."""
    if isinstance(feature, datasets.Image):
        return dataclasses.replace(feature, decode=False)
    if isinstance(feature, dict):
        return {name: _undecoded(item) for name, item in feature.items()}
    if isinstance(feature, list):
        return [_undecoded(item) for item in feature]
    inner = getattr(feature, "feature", None)
    return feature if inner is None else dataclasses.replace(feature, feature=_undecoded(inner))


def listed(feature: Any) -> Any:
    """Return the type of a list's items; None for anything else."""
    if isinstance(feature, list):  # how datasets before 4 writes a list
        return feature[0]
    return None if isinstance(feature, dict) else getattr(feature, "feature", None)


def object_fields(feature: Any) -> dict[str, Any]:
    """Return the fields of each object by name, of a list of structs or a struct of lists; empty for anything else."""
    inner = listed(feature)
    if isinstance(inner, dict):
        return dict(inner)
    if not isinstance(feature, dict):
        return {}
    lists = {name: listed(item) for name, item in feature.items()}
    return {name: item for name, item in lists.items() if item is not None}


def find_image_column(features: datasets.Features, given: str | None, argument: str = "image_column") -> str:
    """Name of the column that holds the images.

    Args:
        features: The columns of the data set.
        given: The name the user gave, if any.
        argument: The argument that an error names.

    Returns:
        ``given``, the only ``Image`` column, or the only column with a usual name that can hold images.

    Raises:
        ConfigError: If ``given`` is not a column.
        DataError: If the column does not hold images, or none or several come into question.
    """
    candidates = [name for name, feature in features.items() if _holds_images(feature)]
    if given is not None:
        _require_column(features, given, argument)
        if given not in candidates:
            raise DataError(
                f"data.init_args.{argument}: column {given!r} holds {_kind(features[given])}, not images; "
                f"{_columns(features)}"
            )
        return given
    images = [name for name in candidates if isinstance(features[name], datasets.Image)]
    return _only(images, _only_named(images or candidates, _IMAGE_COLUMNS), features, argument, "images")


def find_label_column(features: datasets.Features, given: str | None, argument: str = "label_column") -> str:
    """Name of the column that holds the class labels.

    Args:
        features: The columns of the data set.
        given: The name the user gave, if any.
        argument: The argument that an error names.

    Returns:
        ``given``, the only ``ClassLabel`` column, or the first column with a usual name.

    Raises:
        ConfigError: If ``given`` is not a column.
        DataError: If none or several columns come into question.
    """
    if given is not None:
        _require_column(features, given, argument)
        return given
    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    return _only(
        classes,
        _only_named(classes or list(features), _LABEL_COLUMNS),
        features,
        argument,
        "labels",
        _boxes_hint(features),
    )


def find_mask_column(
    features: datasets.Features, given: str | None, image_column: str, argument: str = "mask_column"
) -> str:
    """Name of the column that holds the label maps of the images.

    Args:
        features: The columns of the data set.
        given: The name the user gave, if any.
        image_column: The column that holds the images.
        argument: The argument that an error names.

    Returns:
        ``given``, the only other column that holds images, or the first of them with a usual name.

    Raises:
        ConfigError: If ``given`` is not a column, or is the column with the images.
        DataError: If the column does not hold images, or none or several come into question.
    """
    if given is not None:
        _require_column(features, given, argument)
        if given == image_column:
            raise ConfigError(f"data.init_args.{argument}: {given!r} holds the images themselves; {_columns(features)}")
        return find_image_column(features, given, argument)
    hint = _boxes_hint(features)
    maps = [name for name, feature in features.items() if name != image_column and _holds_images(feature)]
    return _only(maps, _only_named(maps, _MASK_COLUMNS), features, argument, "masks (as images)", hint)


def find_objects_column(features: datasets.Features, given: str | None, box_field: str | None) -> str:
    """Name of the column that holds the objects in each image.

    Args:
        features: The columns of the data set.
        given: The name the user gave, if any.
        box_field: The name the user gave for what holds their boxes, if any.

    Returns:
        ``given``, the only column of objects with boxes, or the first of them with a usual name.

    Raises:
        ConfigError: If ``given`` is not a column.
        DataError: If the column does not hold objects, or none or several come into question.
    """
    if given is not None:
        _require_column(features, given, "objects_column")
        if not object_fields(features[given]):
            raise DataError(
                f"data.init_args.objects_column: column {given!r} holds {_kind(features[given])}, not objects (a list "
                f"of structs, or a struct of lists); {_columns(features)}"
            )
        return given
    found = _with_boxes(features, box_field) or _with_boxes(features, None)
    hint = "" if found else "; for classes of pixels or of whole images, use another data module"
    return _only(found, _only_named(found, _OBJECT_COLUMNS), features, "objects_column", "objects with boxes", hint)


def find_field(
    fields: dict[str, Any], given: str | None, usual: tuple[str, ...], argument: str, column: str
) -> str | None:
    """Name of the field of objects that holds what is wanted.

    Args:
        fields: What is stored for each object, by name.
        given: The name the user gave, if any.
        usual: Usual names, the most telling first.
        argument: The argument that an error names.
        column: The column that holds the objects.

    Returns:
        ``given``, else the first usual name among the fields, else None.

    Raises:
        ConfigError: If ``given`` is not a field.
    """
    if given is not None and given not in fields:
        there = ", ".join(fields)
        raise ConfigError(
            f"data.init_args.{argument}: column {column!r} has no field {given!r}; its fields are {there}"
        )
    return given or _only_named(list(fields), usual)


def _boxes_hint(features: datasets.Features) -> str:
    found = _with_boxes(features, None)
    return f"; column {found[0]!r} holds boxes, which are for DetectionDataModule" if found else ""


def _with_boxes(features: datasets.Features, box_field: str | None) -> list[str]:
    names = (box_field,) if box_field else BOX_FIELDS
    return [column for column, feature in features.items() if _only_named(list(object_fields(feature)), names)]


def _only(
    sure: list[str], named: str | None, features: datasets.Features, argument: str, what: str, hint: str = ""
) -> str:
    if len(sure) == 1:
        return sure[0]
    if named is not None:
        return named
    raise DataError(
        f"data.init_args.{argument}: cannot tell which column holds the {what}; set it; {_columns(features)}{hint}"
    )


def _only_named(columns: list[str], usual: tuple[str, ...]) -> str | None:
    return next((name for name in usual if name in columns), None)


def _holds_images(feature: Any) -> bool:
    if isinstance(feature, datasets.Image):
        return True
    if isinstance(feature, dict):  # how an Image column reads after a writer that dropped the meta-data
        return set(feature) == {"bytes", "path"}
    return isinstance(feature, datasets.Value) and feature.dtype in {"binary", "large_binary"}


def _require_column(features: datasets.Features, given: str, argument: str) -> None:
    if given not in features:
        raise ConfigError(f"data.init_args.{argument}: no column {given!r}; {_columns(features)}")


def _columns(features: datasets.Features) -> str:
    return "the columns are " + ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items())


def _kind(feature: Any) -> str:
    return feature.dtype if isinstance(feature, datasets.Value) else type(feature).__name__
