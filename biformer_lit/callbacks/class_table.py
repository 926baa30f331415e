"""Predicted classes as a table."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from biformer_lit.callbacks.folders import check_parent
from biformer_lit.errors import ConfigError
from biformer_lit.escaping import for_csv


class ClassTable:
    """A CSV file: row number, class name, its probability, every class' probability.

    Args:
        path: The file; it must not exist yet.
        names: Names of all classes.

    Raises:
        ConfigError: If the file exists or its folder does not.
    """

    def __init__(self, path: Path, names: list[str]) -> None:
        if path.exists():
            raise ConfigError(f"predictions.path={path} exists already; choose another file or remove it")
        check_parent(path)
        self.names = names
        self.file = path.open("w", newline="", encoding="utf-8")
        self.writer = csv.writer(self.file)
        self.writer.writerow(["index", "class", "probability", *map(for_csv, names)])

    def write_batch(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        """Write a row for each image of a batch."""
        probabilities = outputs["probabilities"].cpu()
        best, classes = probabilities.max(-1)
        for row in range(len(classes)):
            numbers = [f"{p:.6f}" for p in probabilities[row].tolist()]
            name = for_csv(self.names[int(classes[row])])
            self.writer.writerow([int(outputs["index"][row]), name, f"{float(best[row]):.6f}", *numbers])

    def close(self) -> None:
        """Close the file; what was written so far stays."""
        self.file.close()
