"""Pictures and statistics of the routing during training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from biformer_lit.callbacks.input_images import unnormalised
from biformer_lit.callbacks.tensorboard_writers import tensorboard_writers
from biformer_lit.callbacks.turns import DrawsInTurns
from biformer_lit.common.seeding import base_seed, local_seed
from biformer_lit.routing import RoutedBlock, draw_sheet, record_blocks, routing_backbone, routing_statistics
from biformer_lit.routing.blocks import check_point


class RoutingMaps(DrawsInTurns):
    """Draws the routing of a few validation images in TensorBoard, and logs its statistics for each block.

    ``routing/maps`` is a contact sheet for each image; ``routing/<block>/<statistic>`` are the statistics of
    :func:`biformer_lit.routing.routing_statistics`, such as ``routing/stage1.block1/never_chosen``. They are taken from
    the weights that are being validated, the averaged ones with the EMA callback. The run's random numbers are
    left as they were. Networks without bi-level routing, and strategies that shard the weights, are skipped.

    Args:
        every_n_epochs: How often; the first validation is always drawn.
        images: How many of the first validation batch's images.
        point: The query: x and y as fractions of width and height, from the upper left.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(self, every_n_epochs: int = 5, images: int = 4, point: tuple[float, float] = (0.5, 0.5)) -> None:
        super().__init__(every_n_epochs, images, "--monitoring false leaves it out")
        check_point(point)
        self.point = (point[0], point[1])
        self.seen: Tensor | None = None  # the images of the last drawing
        self.choices: dict[str, Tensor] = {}  # and what was routed for them

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch, if it is its turn; the weights to be validated are in place now, and not later."""
        if batch_idx or dataloader_idx or not self._is_due(trainer, pl_module):
            return
        net: nn.Module = pl_module.net  # type: ignore[assignment]
        images = batch["image"][: self.images].detach()
        if not len(images):
            return
        with _undisturbed(trainer, pl_module.device):
            blocks, _ = record_blocks(net, images)
        self.drawn = trainer.current_epoch
        self._log_statistics(trainer, blocks, images.float().cpu())
        photos = [image.permute(1, 2, 0).numpy() for image in unnormalised(images, trainer)]
        sheets = [draw_sheet(photo, blocks, self.point, i) for i, photo in enumerate(photos)]
        for writer in tensorboard_writers(trainer):
            writer.add_figure("routing/maps", sheets, trainer.global_step, close=True)

    def _is_due(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        if not self.has_turn(trainer) or routing_backbone(pl_module) is None:
            return False
        # with another strategy this process alone has a part of the weights only
        return trainer.world_size == 1 or isinstance(trainer.strategy, DDPStrategy)

    def _log_statistics(self, trainer: Trainer, blocks: list[RoutedBlock], images: Tensor) -> None:
        same = self.seen is not None and torch.equal(self.seen, images)
        before, self.choices, self.seen = self.choices if same else {}, {}, images
        values: dict[str, float] = {}
        for block in blocks:
            index = block.record.index.cpu()
            self.choices[block.name] = index
            found = routing_statistics(index, block.record.grid, before.get(block.name))
            values |= {f"routing/{block.name}/{name}": value for name, value in found.items()}
        for logger in trainer.loggers:  # not pl_module.log, which would fill the table of results
            logger.log_metrics(values, step=trainer.global_step)


@contextmanager
def _undisturbed(trainer: Trainer, device: torch.device) -> Iterator[None]:
    """A forward pass as in validation that draws random numbers (``routing: random``) of its own."""
    devices = [device] if device.type == "cuda" else []
    with (
        local_seed(base_seed(), "routing maps", trainer.current_epoch),
        torch.random.fork_rng(devices),
        trainer.precision_plugin.forward_context(),
    ):
        yield
