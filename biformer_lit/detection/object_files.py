"""Predicted objects as files."""

import contextlib
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from biformer_lit.callbacks.folders import make_folder, picture_name, save_picture
from biformer_lit.callbacks.image_table import ImageTable, named_images
from biformer_lit.callbacks.input_images import unnormalised
from biformer_lit.callbacks.names import class_names
from biformer_lit.callbacks.shown import ObjectArrays, Shown
from biformer_lit.common.coco import coco_predictions, coco_truth
from biformer_lit.common.files import replacing
from biformer_lit.detection.object_drawing import as_arrays, object_picture
from biformer_lit.errors import ConfigError

_log = logging.getLogger(__name__)


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

    * ``detections.json``: the list of all objects found, as ``COCO.loadRes`` takes it: ``image_id``, ``category_id``,
      ``bbox``, left, top, width and height in pixels of the stored image, ``score``, ``segmentation`` where there are
      masks, and ``file_name`` where the data set tells it. Images and categories have the numbers that the data set
      stores for them, so that the file can be scored against the one the data set was made of; without any, the row
      number in the split and the class number from 0. For COCO's scores of masks by area, leave ``bbox`` out when
      loading, else pycocotools takes the boxes' areas.
    * ``annotations.json``: the truth of the same images, as ``COCO`` takes it, if they are labelled.
    * ``overlays/<row>.png``: the images with the objects found.
    * ``images.csv``: which row has which file and number, where the data set tells them.

    Both JSON files are written as images come, and get their names together when all is predicted, or when the run
    ends by an error or an interruption: then they hold the images so far. A process that is killed leaves neither.

    Args:
        folder: The folder, made here; one with something in it is refused.
        names: Names of all classes.
        shown: Which objects are drawn.
        category_ids: Number of each class in the data set; by default the class numbers.

    Raises:
        ConfigError: If the folder holds something, is a file or a link, or lies where there is none.
    """

    def __init__(self, folder: Path, names: list[str], shown: Shown, category_ids: Sequence[int] | None = None) -> None:
        make_folder(folder, "overlays")
        self.folder = folder
        self.names = names
        self.shown = shown
        self.category_ids = list(range(len(names))) if category_ids is None else list(category_ids)
        self.table = ImageTable(folder / "images.csv")
        self._known: dict[int | str, int] = {}  # by which number which row is called
        self._found = JsonRows(folder / "detections.json")
        self._truth: JsonRows | None = None  # until an image is labelled
        self._images: list[dict[str, Any]] = []  # which are labelled

    def write_batch(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        """Write what was predicted for a batch, and its truth where it has one."""
        photos = unnormalised(batch["image"], trainer)
        indices, fed, stored = (x.tolist() for x in (outputs["index"], batch["size"], batch["stored_size"]))
        truths = batch.get("objects") or [None] * len(indices)
        named = named_images(batch, len(indices))
        rows = zip(indices, outputs["objects"], photos, fed, stored, truths, named, strict=True)
        for index, found, photo, (height, width), size, truth, names in rows:
            self.write(index, found, photo[:, :height, :width], tuple(size), truth, names)

    def write(
        self,
        index: int,
        found: Mapping[str, Tensor],
        photo: Tensor,
        size: tuple[int, int],
        truth: Mapping[str, Tensor] | None = None,
        named: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an image.

        Args:
            index: Its row number.
            found: ``boxes`` (n, 4), ``labels``, ``scores`` (n,), falling, and maybe ``masks`` (n, H, W).
            photo: The image as fed (1 or 3, rows, columns), between 0 and 1.
            size: Height and width of the image as stored, whose pixels boxes and masks count.
            truth: ``boxes``, ``labels``, ``area``, ``crowd`` and maybe ``masks``; None if it is not labelled.
            named: What identifies it besides the row: ``file`` and ``image_id``.
        """
        objects, named = as_arrays(found), named or {}
        image_id = self._image_id(index, named)
        file = {"file_name": named["file"]} if named.get("file") else {}
        if truth is not None:  # first: pycocotools refuses objects found in an image that it does not know
            self._write_truth({"id": image_id, "width": size[1], "height": size[0], **file}, as_arrays(truth))
        for entry in coco_predictions(image_id, objects, self.category_ids):
            self._found.add({**entry, **file})
        drawn, _ = self.shown.of(objects)
        picture = object_picture(photo.permute(1, 2, 0).numpy(), size, drawn, self.names)
        save_picture(Image.fromarray(picture), self.folder / "overlays" / picture_name(index), named)
        self.table.add(index, picture_name(index), named)

    def _image_id(self, index: int, named: Mapping[str, Any]) -> int | str:
        """The data set's own number of an image, else its row."""
        own: int | str | None = named.get("image_id")
        image_id = index if own is None else own
        if self._known.setdefault(image_id, index) != index:
            _log.warning(
                "image_id %s stands for rows %d and %d: in detections.json their objects are those of one image",
                image_id,
                self._known[image_id],
                index,
            )
        return image_id

    def _write_truth(self, image: dict[str, Any], truth: ObjectArrays) -> None:
        if self._truth is None:
            pairs = zip(self.category_ids, self.names, strict=True)
            categories = json.dumps([{"id": number, "name": name} for number, name in pairs])
            head = f'{{"info": {{}},\n"categories": {categories},\n"annotations": ['
            self._truth = JsonRows(self.folder / "annotations.json", head)
        self._images.append(image)
        for entry in coco_truth(image["id"], truth, self.category_ids):
            self._truth.add(entry | {"id": self._truth.count + 1})  # from 1, for COCOeval takes 0 for "no match"

    def close(self) -> None:
        """Complete the JSON files."""
        if self._truth is not None:
            self._truth.close(f'],\n"images": {json.dumps(self._images)}}}')
        self._found.close()
        self.table.close()


def open_object_files(path: Path, task: Any, data: Any, shown: Shown) -> ObjectFiles:
    """Open what detections are written to; see :data:`biformer_lit.kinds.OpenFiles`."""
    return ObjectFiles(path, class_names(task), shown, _category_ids(task, data))


def _category_ids(task: Any, data: Any) -> list[int]:
    """The number to write for each class of the task: the data set's own, else the one it was trained with."""
    names = class_names(task)
    numbers = list(getattr(task, "category_ids", [])) or list(range(len(names)))
    try:
        own, called = list(data.category_ids), list(data.own_class_names)
    except (AttributeError, ConfigError):  # no data module of ours, or images that are not labelled
        return numbers
    if called == names:
        return own
    by_name, taken = dict(zip(called, own, strict=True)), {*own, *numbers}
    unused = (number for number in itertools.count() if number not in taken)
    # a class that the data set does not have keeps the number of its training, unless another class has it here
    return [
        by_name[name] if name in by_name else number if number not in own else next(unused)
        for name, number in zip(names, numbers, strict=True)
    ]
