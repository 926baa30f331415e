"""The numbers by which a data set of objects knows its categories."""

import pyarrow as pa

from biformer_lit.data.labels import Classes
from biformer_lit.detection.object_reading import ObjectFields, field_values

_FIELDS = ("category_id", "category_ids", "class_id", "label_id")


def stored_category_ids(column: pa.ChunkedArray, fields: ObjectFields, classes: Classes) -> list[int]:
    """The number by which the data set knows each class.

    Where objects have a name and a number, they are what stands beside each class' name if that is one number for each
    and another for each; else they are the stored categories themselves if those are numbers, else the class numbers.

    Args:
        column: All objects of the training split.
        fields: Where what is stored in them.
        classes: The classes.
    """
    own = [value for value in classes.values if isinstance(value, int)]
    stored = own if len(own) == len(classes.names) else list(range(len(classes.names)))
    objects = column.type if pa.types.is_struct(column.type) else column.type.value_type
    beside = next((name for name in _FIELDS if objects.get_field_index(name) >= 0), None)
    if beside in {None, fields.category}:
        return stored
    numbers, labels = field_values(column, str(beside)), field_values(column, fields.category)
    if not pa.types.is_integer(numbers.type) or len(numbers) != len(labels):
        return stored
    pairs = pa.table({"label": labels, "number": numbers}).group_by(["label", "number"]).aggregate([]).to_pylist()
    found = {
        classes.number(pair["label"], fields.column): pair["number"] for pair in pairs if pair["label"] is not None
    }
    one_each = len(found) == len(pairs) == len(classes.names) == len(set(found.values()))
    return [found[number] for number in range(len(found))] if one_each and None not in found.values() else stored
