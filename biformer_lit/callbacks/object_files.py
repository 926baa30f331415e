"""Predicted objects as files."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from biformer_lit.callbacks.folders import make_folder, picture_name
from biformer_lit.callbacks.images import unnormalised
from biformer_lit.callbacks.objects import ObjectArrays, Shown, as_arrays, object_picture
from biformer_lit.coco import coco_predictions, coco_truth
from biformer_lit.files import replacing


class JsonRows:
    """A list in a JSON file, a line for each entry, which need not fit into memory.

    The file gets its name when it is closed, so that nobody finds half of it.

    Args:
        path: The file.
        head: What comes before the entries.
    """

    def __init__(self, path: Path, head: str = "[") -> None:
        self._unfinished = contextlib.ExitStack()
        self._file = self._unfinished.enter_context(replacing(path)).open("w", encoding="utf-8")
        self._file.write(head)
        self.count = 0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write an entry."""
        self._file.write((",\n" if self.count else "\n") + json.dumps(entry))
        self.count += 1

    def close(self, tail: str = "]") -> None:
        """Write what comes after the entries; the file is there now."""
        with self._unfinished, self._file:
            self._file.write(f"\n{tail}\n")


class ObjectFiles:
    """A folder with predicted objects, as pycocotools and its like read them, and pictures for people.

    * ``detections.json``: the list of all objects found, as ``COCO.loadRes`` takes it: ``image_id``, the row number in
      the split, ``category_id``, the class number from 0, ``bbox``, left, top, width and height in pixels of the
      stored image, ``score``, and ``segmentation`` where there are masks. For COCO's scores of masks by area, leave
      ``bbox`` out when loading, else pycocotools takes the boxes' areas.
    * ``annotations.json``: the truth of the same images, as ``COCO`` takes it, if they are labelled.
    * ``overlays/<row>.png``: the images with the objects found.

    Both JSON files are written as images come, and get their names together when all is predicted, or when the run
    ends by an error or an interruption: then they hold the images so far. A process that is killed leaves neither.

    Args:
        folder: The folder, made here; one with something in it is refused.
        names: Names of all classes.
        shown: Which objects are drawn.

    Raises:
        ConfigError: If the folder holds something, is a file, or lies where there is none.
    """

    def __init__(self, folder: Path, names: list[str], shown: Shown) -> None:
        make_folder(folder, "overlays")
        self.folder = folder
        self.names = names
        self.shown = shown
        self._found = JsonRows(folder / "detections.json")
        self._truth: JsonRows | None = None  # until an image is labelled
        self._images: list[dict[str, int]] = []  # which are labelled

    def write_batch(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        """Write what was predicted for a batch, and its truth where it has one."""
        photos = unnormalised(batch["image"], trainer)
        indices, fed, stored = (x.tolist() for x in (outputs["index"], batch["size"], batch["stored_size"]))
        truths = batch.get("objects") or [None] * len(indices)
        rows = zip(indices, outputs["objects"], photos, fed, stored, truths, strict=True)
        for index, found, photo, (height, width), size, truth in rows:
            self.write(index, found, photo[:, :height, :width], tuple(size), truth)

    def write(
        self,
        index: int,
        found: Mapping[str, Tensor],
        photo: Tensor,
        size: tuple[int, int],
        truth: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Write an image.

        Args:
            index: Its row number.
            found: ``boxes`` (n, 4), ``labels``, ``scores`` (n,), falling, and maybe ``masks`` (n, H, W).
            photo: The image as fed (1 or 3, rows, columns), between 0 and 1.
            size: Height and width of the image as stored, whose pixels boxes and masks count.
            truth: ``boxes``, ``labels``, ``area``, ``crowd`` and maybe ``masks``; None if it is not labelled.
        """
        objects = as_arrays(found)
        if truth is not None:  # first: pycocotools refuses objects found in an image that it does not know
            self._write_truth(index, size, as_arrays(truth))
        for entry in coco_predictions(index, objects):
            self._found.add(entry)
        drawn, _ = self.shown.of(objects)
        picture = object_picture(photo.permute(1, 2, 0).numpy(), size, drawn, self.names)
        Image.fromarray(picture).save(self.folder / "overlays" / picture_name(index))

    def _write_truth(self, index: int, size: tuple[int, int], truth: ObjectArrays) -> None:
        if self._truth is None:
            categories = json.dumps([{"id": i, "name": name} for i, name in enumerate(self.names)])
            head = f'{{"info": {{}},\n"categories": {categories},\n"annotations": ['
            self._truth = JsonRows(self.folder / "annotations.json", head)
        self._images.append({"id": index, "width": size[1], "height": size[0]})
        for entry in coco_truth(index, truth):
            self._truth.add(entry | {"id": self._truth.count + 1})  # from 1, for COCOeval takes 0 for "no match"

    def close(self) -> None:
        """Complete the JSON files."""
        if self._truth is not None:
            self._truth.close(f'],\n"images": {json.dumps(self._images)}}}')
        self._found.close()
