"""Made-up scenes for segmentation: coloured rectangles on grey, of sizes that differ in evaluation."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from biformer_lit import Backbone
from biformer_lit.data import HFDataModule

NAMES = ["ground", "red", "green", "blue", "never"]
IGNORED = 255
COLOURS = torch.tensor([[0.5, 0.5, 0.5], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
SMALL = Backbone(
    depths=[1, 1, 1, 1],
    dims=[16, 16, 32, 32],
    head_dim=16,
    stem_stride=2,
    regions=2,
    topk=[1, 2, 4, "all"],
    full_heads=2,
)  # fmt: skip


def scene(index, height, width):
    """An image, its mask, both from the index alone."""
    noise = np.random.default_rng(index)
    mask = torch.zeros(height, width, dtype=torch.int64)
    for kind in (1, 2, 3):
        top, left = int(noise.integers(0, height - 8)), int(noise.integers(0, width - 8))
        mask[top : top + int(noise.integers(8, 24)), left : left + int(noise.integers(8, 24))] = kind
    image = COLOURS[mask].permute(2, 0, 1) + torch.from_numpy(noise.normal(0, 0.1, (3, height, width)))
    mask[:2] = IGNORED
    return image.float(), mask


class Scenes(Dataset):
    def __init__(self, count, first, sizes):
        self.count, self.first, self.sizes = count, first, sizes

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        height, width = self.sizes[i % len(self.sizes)]
        image, mask = scene(self.first + i, height, width)
        return {"image": image, "mask": mask, "size": torch.tensor([height, width]), "index": torch.tensor(i)}


def pad_batch(samples):
    """Samples of different sizes as one batch, padded to a multiple of 32."""
    height, width = (int(-(-max(s["size"][side] for s in samples) // 32) * 32) for side in (0, 1))

    def padded(x, value):
        return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value)

    return {
        "image": torch.stack([padded(s["image"], 0.0) for s in samples]),
        "mask": torch.stack([padded(s["mask"], IGNORED) for s in samples]),
        "size": torch.stack([s["size"] for s in samples]),
        "index": torch.stack([s["index"] for s in samples]),
    }


class ShapesDataModule(HFDataModule):
    """What the task needs of a data module, and no more.

    Args:
        batch_size: Training images per step.
        eval_batch_size: Images per step in evaluation.
        image_size: Pixels per side of the training images.
    """

    def __init__(self, batch_size: int = 4, eval_batch_size: int = 3, image_size: int = 32) -> None:
        super().__init__(batch_size=batch_size, eval_batch_size=eval_batch_size, num_workers=0)
        self.image_size = image_size
        self.num_classes, self.class_names, self.ignore_index = len(NAMES), NAMES, IGNORED
        self.mean, self.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def find_targets(self, features, table, split):
        return []

    def reader(self, image_column, part):
        raise NotImplementedError

    def prepare_data(self):
        pass

    def setup(self, stage=None):
        pass

    def train_dataloader(self):
        data = Scenes(64, 1000, [(self.image_size, self.image_size)])
        return DataLoader(
            data, batch_size=self.batch_size, sampler=self._part(data), collate_fn=pad_batch, drop_last=True
        )

    def val_dataloader(self):
        data = Scenes(8, 0, [(32, 32), (40, 52), (64, 33), (40, 52)])
        return self._loader(data, self.eval_batch_size)

    test_dataloader = predict_dataloader = val_dataloader

    def _loader(self, data, batch_size, **options):
        return DataLoader(data, batch_size=batch_size, sampler=self._part(data), collate_fn=pad_batch, **options)

    def _part(self, data):
        trainer = self.trainer
        if trainer is None or trainer.world_size == 1:
            return None
        return DistributedSampler(data, trainer.world_size, trainer.global_rank, shuffle=False)


def reference_miou(pairs, classes):
    """Mean IoU over whole sets in NumPy: intersections and unions summed over all images before they are divided."""
    both, any_ = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for prediction, truth in pairs:
        valid = truth != IGNORED
        for kind in range(classes):
            p, t = (prediction == kind) & valid, (truth == kind) & valid
            both[kind] += (p & t).sum()
            any_[kind] += (p | t).sum()
    occurs = any_ > 0
    return float(np.mean(both[occurs] / any_[occurs]))
