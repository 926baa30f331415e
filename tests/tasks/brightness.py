"""A plug-in: a kind of task of its own, the brightness of images, and a data set to learn it from."""

import csv
from functools import partial

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchmetrics import MeanAbsoluteError
from torchvision.transforms.v2 import functional as TF

import biformer_lit
from biformer_lit.backbone import Backbone
from biformer_lit.data.images.decoding import decode_image, stored_png
from biformer_lit.tasks import Optimization


class BrightnessTask(biformer_lit.BiFormerTask):
    """Learns how bright images are, 0 to 1."""

    kind = "brightness"
    monitor = "val/mae"
    mode = "min"

    def __init__(
        self,
        backbone: Backbone = Backbone(),  # noqa: B008 (frozen)
        weights: str | None = None,
        optim: Optimization = Optimization(),  # noqa: B008 (frozen)
        power: float = 2.0,
        num_classes: int = 1,
    ) -> None:
        super().__init__(backbone=backbone, num_classes=num_classes, weights=weights, optim=optim)
        self.power = power
        self.save_settings()

    def build_net(self, num_classes):
        return self.backbone.build(num_classes)

    def build_metrics(self, num_classes):
        self.error = MeanAbsoluteError()

    def training_step(self, batch, batch_idx):
        found = self.net(batch["image"])[:, 0]
        loss = (found - batch["brightness"]).abs().pow(self.power).mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.error.update(self.net(batch["image"])[:, 0], batch["brightness"])
        self.log("val/mae", self.error)

    def predict_step(self, batch, batch_idx):
        return {"index": batch["index"], "brightness": self.net(batch["image"])[:, 0]}


class BrightnessData(biformer_lit.HFDataModule):
    """Images with a brightness each."""

    kind = "brightness"

    def __init__(self, image_size: int = 32, **kwargs) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size

    def find_targets(self, features, table, split):
        return ["brightness"]

    def reader(self, image_column, part):
        return partial(read, image_column, self.image_size)


def read(image_column, size, row, where):
    image = TF.to_dtype(TF.pil_to_tensor(decode_image(row[image_column], where)), torch.float32, scale=True)
    return {"image": F.interpolate(image[None], (size, size))[0], "brightness": np.float32(row["brightness"])}


class BrightnessFiles:
    """A line for each image."""

    def __init__(self, path, task, data, shown):
        self.file = path.open("x", newline="")
        self.writer = csv.writer(self.file)

    def write_batch(self, trainer, outputs, batch):
        self.writer.writerows(zip(outputs["index"].tolist(), outputs["brightness"].tolist(), strict=True))

    def close(self):
        self.file.close()


@biformer_lit.register_dataset("grey_squares", num_classes=1)
def grey_squares():
    levels = {"train": np.linspace(0, 255, 16), "validation": np.linspace(10, 240, 8)}
    return {split: datasets.Dataset.from_list([row(level) for level in some]) for split, some in levels.items()}


def row(level):
    return {"image": stored_png(Image.fromarray(np.full((8, 8, 3), level, np.uint8))), "brightness": level / 255}


biformer_lit.register_task(
    "brightness",
    BrightnessTask,
    BrightnessData,
    teaches="the brightness of images",
    target="brightness",
    predictions="brightness.csv",
    files=BrightnessFiles,
)
