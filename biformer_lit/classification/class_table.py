"""Predicted classes as a table."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from biformer_lit.callbacks.folders import check_new
from biformer_lit.callbacks.image_table import named_images
from biformer_lit.callbacks.names import class_names
from biformer_lit.callbacks.shown import Shown
from biformer_lit.text.escaping import for_csv


class ClassTable:
    """A CSV file: row number, what else identifies the image, class name, its probability, every class' probability.

    Args:
        path: The file; it must not exist yet.
        names: Names of all classes.
        identifiers: Entries of the batches that identify images besides their rows, ``file`` and ``image_id``; each
            gets a column.

    Raises:
        ConfigError: If the file exists, is a link, or lies in a folder that does not exist.
    """

    def __init__(self, path: Path, names: list[str], identifiers: Sequence[str] = ()) -> None:
        check_new(path, "file")
        self.names = names
        self.identifiers = identifiers
        self.file = path.open("x", newline="", encoding="utf-8")
        self.writer = csv.writer(self.file)
        self.writer.writerow(["index", *identifiers, "class", "probability", *map(for_csv, names)])

    def write_batch(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        """Write a row for each image of a batch."""
        probabilities = outputs["probabilities"].cpu()
        best, classes = probabilities.max(-1)
        for row, named in enumerate(named_images(batch, len(classes))):
            numbers = [f"{p:.6f}" for p in probabilities[row].tolist()]
            who = [int(outputs["index"][row]), *(for_csv(named.get(name)) for name in self.identifiers)]
            name = for_csv(self.names[int(classes[row])])
            self.writer.writerow([*who, name, f"{float(best[row]):.6f}", *numbers])

    def close(self) -> None:
        """Close the file; what was written so far stays."""
        self.file.close()


def open_class_table(path: Path, task: Any, data: Any, shown: Shown) -> ClassTable:  # noqa: ARG001
    """Open what classes are written to; see :data:`biformer_lit.kinds.OpenFiles`."""
    identity = getattr(data, "identity", None)
    return ClassTable(path, class_names(task), () if identity is None else identity.names)
