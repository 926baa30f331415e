"""Predicted objects: found image by image whatever else is in the batch, and scored as COCO does."""

import math
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, distributed, nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from biformer_lit.common.coco import Entry, coco_predictions, coco_scores, coco_truth
from biformer_lit.heads import Detector
from biformer_lit.tasks.memory_shortage import within_memory

_REMEDY = "set a smaller data.init_args.image_size, max_size or eval_batch_size, or cut the images into tiles"
Objects: TypeAlias = dict[str, Tensor]


def find_objects(net: Detector, images: Tensor, sizes: Tensor, stored_sizes: Tensor) -> list[Objects]:
    """Objects in images that were padded to one size, in pixels of the stored images.

    Only images that need the same padding share a pass: otherwise a prediction would depend on what else is in its
    batch, and so on the batch size and the number of processes.

    Args:
        net: The network, in evaluation mode.
        images: Images (N, C, H, W), padded to the right and at the bottom.
        sizes: Their height and width without padding (N, 2), int64.
        stored_sizes: Height and width of the stored images (N, 2), int64.

    Returns:
        For each image ``boxes`` (n, 4), left, top, right and bottom, ``labels`` (n,), ``scores`` (n,), best first, and
        with masks ``masks`` (n, height, width), bool.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, size in enumerate(sizes.tolist()):
        groups.setdefault(tuple(-(-side // net.stride) * net.stride for side in size), []).append(i)
    found: dict[int, Objects] = {}
    for (height, width), members in groups.items():
        together = images[members, :, :height, :width]  # fewer pixels than the padded size are padded by the network
        with within_memory((len(members), height, width), _REMEDY):
            objects: Any = net(together, [tuple(sizes[i].tolist()) for i in members])
            for i, one in zip(members, objects, strict=True):
                found[i] = _as_stored(one, sizes[i].tolist(), stored_sizes[i].tolist())
    return [found[i] for i in range(len(images))]


def _as_stored(objects: Objects, size: list[int], stored: list[int]) -> Objects:
    """Objects in pixels of the stored image, where they were found in one of another size."""
    factors = [stored[1] / size[1], stored[0] / size[0]] * 2
    boxes = objects["boxes"].float() * torch.tensor(factors, device=objects["boxes"].device)
    result = {"boxes": boxes, "labels": objects["labels"], "scores": objects["scores"].float()}
    if "masks" in objects:
        pasted = paste_masks_in_image(objects["masks"].float(), boxes, (stored[0], stored[1]))
        result["masks"] = pasted.reshape(-1, *stored) >= 0.5
    return result


class ObjectScores(nn.Module):
    """COCO's figures over a whole set, of boxes and, if wanted, of masks.

    Args:
        masks: Whether masks are scored beside boxes.
    """

    def __init__(self, masks: bool) -> None:
        super().__init__()
        self.masks = masks
        self._rows: list[tuple[Entry, list[Entry], list[Entry]]] = []

    def update(self, batch: dict[str, Any], found: list[Objects]) -> None:
        """Add images.

        Args:
            batch: ``index`` (N,), different for all images of the set, ``stored_size`` (N, 2), and ``objects``, for
                each image ``boxes``, ``labels``, ``area``, ``crowd`` (n,) and, if scored, ``masks``.
            found: What :func:`find_objects` returns.
        """
        kept = {"boxes", "labels", "scores", "area", "crowd", *(["masks"] if self.masks else [])}
        rows = zip(batch["index"].tolist(), batch["stored_size"].tolist(), batch["objects"], found, strict=True)
        for index, (height, width), truth, objects in rows:
            true, predicted = ({k: x.cpu().numpy() for k, x in one.items() if k in kept} for one in (truth, objects))
            image = {"id": index, "height": height, "width": width}
            self._rows.append((image, coco_truth(index, true), coco_predictions(index, predicted)))

    def compute(self, class_names: list[str]) -> dict[str, Tensor]:
        """All figures by name, float64 between 0 and 1, over all processes; then reset.

        ``map``, ``map_50``, ... of boxes, ``mask_map``, ... of masks; ``ap/NAME`` and ``mask_ap/NAME`` of each class
        that the truth has. What has nothing to be measured on is left out, but ``map`` and ``mask_map`` are NaN.
        """
        rows, self._rows = self._rows, []
        if distributed.is_available() and distributed.is_initialized():
            parts: list[Any] = [None] * distributed.get_world_size()
            distributed.all_gather_object(parts, rows)
            rows = [row for part in parts for row in part]
        rows.sort(key=lambda row: int(row[0]["id"]))  # whichever process found them
        images = [image for image, _, _ in rows]
        truth = [entry for _, entries, _ in rows for entry in entries]
        found = [entry for _, _, entries in rows for entry in entries]
        values: dict[str, float] = {}
        kinds: tuple[tuple[Literal["bbox", "segm"], str], ...] = (("bbox", ""), ("segm", "mask_"))
        for kind, name in kinds[: 1 + self.masks]:
            scores = coco_scores(truth, found, images, len(class_names), kind)
            values |= {f"{name}{figure}": value for figure, value in {"map": math.nan, **scores.figures}.items()}
            values |= {f"{name}ap/{class_names[i]}": value for i, value in scores.by_class.items()}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
