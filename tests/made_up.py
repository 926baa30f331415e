"""Made-up detection: images that are fed smaller than they are stored, their objects, a task that half finds them."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from biformer_lit.data import HFDataModule
from biformer_lit.heads import DenseNetwork
from biformer_lit.heads.features import build_features
from biformer_lit.tasks import BiFormerTask

NAMES = ["black", "orange", "sky", "a $ and a $"]
STORED = [(96, 96), (80, 120), (140, 64)]
FED = [(48, 48), (80, 120), (70, 33)]


def objects(index, masks=True, count=None):
    """The true objects of an image; every fifth of an image is a crowd. Image 3 has none."""
    noise = torch.Generator().manual_seed(index)
    height, width = STORED[index % 3]
    count = (0 if index == 3 else 2 + index) if count is None else count
    corner = torch.rand(count, 2, generator=noise) * torch.tensor([width, height]) * 0.6
    extent = 6 + torch.rand(count, 2, generator=noise) * torch.tensor([width, height]) * 0.3
    boxes = torch.cat([corner, corner + extent], 1)
    found = {
        "boxes": boxes,
        "labels": torch.randint(0, 4, (count,), generator=noise),
        "area": extent.prod(1),
        "crowd": torch.arange(count) % 5 == 4,
    }
    if masks:
        found["masks"] = filled(boxes, height, width).to(torch.uint8)
        found["area"] = found["masks"].sum((1, 2)).float()
    return found


def filled(boxes, height, width):
    """Ellipses in boxes."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    across = [((side - middle[:, i, None, None]) / half[:, i, None, None]) ** 2 for i, side in enumerate((x, y))]
    return sum(across) <= 1


def predictions(truth, index, size, masks=True):
    """What is made of them: shifted, one confused, one made up, with scores; nothing for image 4."""
    noise = torch.Generator().manual_seed(100 + index)
    boxes = truth["boxes"] + torch.randn(truth["boxes"].shape, generator=noise) * 1.5
    boxes = torch.cat([boxes, torch.tensor([[1.0, 2.0, 21.0, 32.0]])])
    labels = torch.cat([truth["labels"], torch.tensor([2])])
    labels[0] = (labels[0] + index % 2) % 4
    order = torch.randperm(len(boxes), generator=noise)[: 0 if index == 4 else None]
    found = {"boxes": boxes[order], "labels": labels[order]}
    found["scores"] = torch.rand(len(order), generator=noise).sort(descending=True).values
    return found | ({"masks": filled(boxes[order], *size)} if masks else {})


class Images:
    """Grey images with objects, those of them that are labelled."""

    def __init__(self, count, labelled=None, masks=True):
        self.count, self.masks = count, masks
        self.labelled = range(count) if labelled is None else labelled

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        image = torch.randn(3, *FED[i % 3], generator=torch.Generator().manual_seed(i)) * 0.2
        return image, FED[i % 3], STORED[i % 3], i, objects(i, self.masks) if i in self.labelled else None


def pad_batch(samples):
    """A batch in the layout of detection."""
    images, fed, stored, indices, truth = zip(*samples, strict=True)
    height, width = (max(size[side] for size in fed) for side in (0, 1))
    return {
        "image": torch.stack([F.pad(x, (0, width - x.shape[2], 0, height - x.shape[1])) for x in images]),
        "size": torch.tensor(fed),
        "stored_size": torch.tensor(stored),
        "index": torch.tensor(indices),
        "objects": list(truth),
    }


class MadeUpData(HFDataModule):
    """What callbacks need of a data module."""

    def __init__(self, count: int = 6, labelled: list[int] | None = None, masks: bool = True) -> None:
        super().__init__(batch_size=3, eval_batch_size=3, num_workers=0)
        self.images = Images(count, labelled, masks)
        self.num_classes, self.class_names = len(NAMES), NAMES
        self.mean, self.std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def find_targets(self, features, table, split):
        return []

    def reader(self, image_column, part):
        raise NotImplementedError

    def prepare_data(self):
        pass

    def setup(self, stage=None):
        pass

    def train_dataloader(self):
        return DataLoader(self.images, batch_size=3, collate_fn=pad_batch)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


class Net(DenseNetwork):
    """As a network of detection, it needs the sizes beside the images."""

    def __init__(self, backbone):
        net, channels, strides = build_features(backbone, None)
        super().__init__(net, channels, strides[-1])
        self.last = nn.Linear(channels[-1], 1)

    def forward(self, images, sizes):
        return self.last(self.maps(images)[-1].mean((2, 3)))


class MadeUpTask(BiFormerTask):
    """A task that predicts objects without looking."""

    monitor = "val/map"
    mode = "max"
    kind = "detection"
    masks = True

    def build_net(self, num_classes):
        return Net(self.backbone)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

    def training_step(self, batch, batch_idx):
        return self.net(batch["image"], batch["size"]).square().mean()

    def validation_step(self, batch, batch_idx):
        return self.predict_step(batch, batch_idx)

    def predict_step(self, batch, batch_idx):
        self.net(batch["image"], batch["size"])
        rows = zip(batch["index"].tolist(), batch["stored_size"].tolist(), batch["objects"], strict=True)
        found = [predictions(truth or objects(i), i, size, self.masks) for i, size, truth in rows]
        return {"index": batch["index"], "objects": found}
