"""Trains on the same global batches in any number of processes and keeps what came of it; also a script.

    python global_batch.py PROCESSES STRATEGY FOLDER CASE...

Each case leaves ``FOLDER/CASE-PROCESSES-STRATEGY.pt``.
"""

import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from shapes import SMALL
from timm.layers import DropPath

from biformer_lit import ClassificationTask, SegmentationTask
from biformer_lit.backbone import Backbone
from biformer_lit.data import ClassificationDataModule, SegmentationAugmentation, SegmentationDataModule
from biformer_lit.data.embedded.scenes import CLASS_NAMES, Scenes
from biformer_lit.plugins import SyncBatchNorm
from biformer_lit.tasks import Mixing, Optimization

GLOBAL_BATCH = 24
STEPS = 4
# SGD: AdamW makes a whole step of the rounding of a gradient that is zero
SGD = Optimization(name="sgd", lr=0.05, lr_batch=0, warmup_steps=1)
PLAIN = Mixing(mixup=0, cutmix=0)
SCENES = Scenes(image_size=64, digit_size=(20, 32), train=120, validation=7, test=4)
# nothing to ignore: each process takes the mean over its own pixels that count
UNPADDED = SegmentationAugmentation(scale=(0.5, 2.0))
CASES = {
    "classification": {},
    "accumulated": {"accumulate_grad_batches": 2},
    "clipped": {"gradient_clip_val": 0.1},
    "compiled": {"compile": {"fullgraph": True, "backend": "aot_eager"}},
    "bfloat16": {"precision": "bf16-mixed"},
    "segmentation": {"task": "segmentation"},
    "random": {"random": True},
    "separate": {"synchronised": False},
}


class Keeper(Callback):
    """Keeps the gradients of the first step, after the processes have exchanged them, and what was random."""

    def __init__(self):
        self.gradients = {}
        self.dropped = []
        self.mixed = []

    def on_fit_start(self, trainer, pl_module):
        for module in pl_module.net.modules():
            if isinstance(module, DropPath) and module.drop_prob:
                module.register_forward_hook(self._note_dropped)
        if getattr(pl_module, "mix", None) is not None:
            draw = pl_module.mix._params_per_batch

            def noted():
                lam, use_cutmix = draw()
                self.mixed.append(float(lam))
                return lam, use_cutmix

            pl_module.mix._params_per_batch = noted

    def _note_dropped(self, module, inputs, output):
        if module.training:
            self.dropped.append((output.flatten(1).abs().sum(1) == 0).tolist())

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if not self.gradients:
            self.gradients = {name: p.grad.clone() for name, p in pl_module.net.named_parameters()}


def build(case, processes):
    settings = CASES[case]
    batch = GLOBAL_BATCH // processes // settings.get("accumulate_grad_batches", 1)
    options = {"batch_size": batch, "eval_batch_size": 13, "num_workers": 0}
    if settings.get("task") == "segmentation":
        data = SegmentationDataModule(
            dataset="digit_scenes", scenes=SCENES, image_size=32, augmentation=UNPADDED, **options
        )
        return SegmentationTask(SMALL, head_channels=16, head_dropout=0, optim=SGD), data
    data = ClassificationDataModule(image_size=16, crop_pct=1.0, val_fraction=0.05, **options)
    backbone, mixing = SMALL, PLAIN
    if settings.get("random"):
        backbone, mixing = Backbone(**{**vars(SMALL), "drop_path_rate": 0.5}), Mixing(mixup=0.8, cutmix=1.0)
    return ClassificationTask(backbone, optim=SGD, mixing=mixing, compile=settings.get("compile", False)), data


def train(case, processes, strategy):
    """What one run comes to: gradients of the first step, weights, figures of an uneven validation set."""
    settings = CASES[case]
    task, data = build(case, processes)
    keeper = Keeper()
    several = {"strategy": strategy, "plugins": [SyncBatchNorm()]} if processes > 1 else {}
    if not settings.get("synchronised", True):
        several.pop("plugins", None)
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        max_epochs=1,
        limit_train_batches=STEPS * settings.get("accumulate_grad_batches", 1),
        accumulate_grad_batches=settings.get("accumulate_grad_batches", 1),
        precision=settings.get("precision"),
        gradient_clip_val=settings.get("gradient_clip_val"),
        callbacks=[keeper],
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **several,
    )
    if strategy == "ddp_spawn":  # weights come back into a network that is there
        names = CLASS_NAMES if settings.get("task") == "segmentation" else [str(digit) for digit in range(10)]
        task.num_classes, task.class_names = len(names), list(names)
        task.configure_model()
    trainer.fit(task, datamodule=data)
    return trainer, {
        "weights": {name: value.clone() for name, value in task.net.state_dict().items()},
        "gradients": keeper.gradients,
        "figures": {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")},
        "rank": {"dropped": keeper.dropped, "mixed": keeper.mixed},
        "steps": trainer.global_step,
    }


def main():
    processes, strategy, folder, *cases = sys.argv[1:]
    warnings.filterwarnings("ignore", ".*does not have many workers")
    torch.set_num_threads(1)
    for case in cases:
        trainer, result = train(case, int(processes), strategy)
        ranks = [None] * int(processes)
        if strategy == "ddp":
            torch.distributed.all_gather_object(ranks, result["rank"])
        if trainer.is_global_zero:
            torch.save(result | {"ranks": ranks}, Path(folder) / f"{case}-{processes}-{strategy}.pt")


if __name__ == "__main__":
    main()
