"""Numbers of objects of each class in a split, from its columns alone."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from biformer_lit.data.labels import UNLABELLED, Classes, Integers
from biformer_lit.detection.object_reading import ObjectFields, field_values
from biformer_lit.detection.object_survey import count_by_row
from biformer_lit.errors import DataError


def count_objects(
    column: pa.ChunkedArray,
    rows: Integers,
    fields: ObjectFields,
    classes: Classes,
    where: Callable[[int], str],
) -> Integers:
    """Objects of each class in some rows, (classes,).

    Args:
        column: All objects of the split.
        rows: The rows to count.
        fields: What is stored where.
        classes: The classes.
        where: What the message about a row starts with.

    Raises:
        DataError: If objects have a category that is none of the classes; it names the first row and counts them.
    """
    chosen = column.take(pa.array(rows))
    if pa.types.is_struct(chosen.type):
        chosen = pa.chunked_array([chosen.combine_chunks()])
    stored = field_values(chosen, fields.category)
    counts = np.zeros(len(classes.names), np.int64)
    for found in pc.value_counts(stored).to_pylist():
        try:
            number = classes.number(found["values"], "")
        except DataError:
            owners = np.repeat(rows, count_by_row(chosen, fields.category))
            wrong = owners[np.asarray(pc.fill_null(pc.equal(stored, pa.scalar(found["values"], stored.type)), False))]
            try:
                classes.number(found["values"], where(int(wrong[0])))
            except DataError as error:
                problem = f"{error} ({len(wrong)} objects in {len(set(wrong.tolist()))} rows have it)"
                raise DataError(problem) from error
            raise
        if number != UNLABELLED:
            counts[number] += found["counts"]
    return counts
