"""The task that all tasks are made from: network, weights, optimiser, seeds, compilation."""

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Self

from biformer_lit.backbone import Backbone, LoadReport, load_weights
from biformer_lit.backbone.registered_parts import registered_parts
from biformer_lit.checkpoints.fitting import check_fits
from biformer_lit.checkpoints.saved_weights import Copy, Origin, SavedWeights, origin_of, read_weights
from biformer_lit.common.seeding import base_seed, derive_seed, local_seed, seed_all
from biformer_lit.errors import CheckpointError, ConfigError, DataError
from biformer_lit.extending import needed_plugins
from biformer_lit.kinds import KINDS, Kind, follow_old_name, kind_named
from biformer_lit.registry import Registry
from biformer_lit.seams.torch_seams import write_count
from biformer_lit.tasks.batches import as_named, check_target, is_empty
from biformer_lit.tasks.compile_options import Compilation, compile_options
from biformer_lit.tasks.finite import FiniteSteps
from biformer_lit.tasks.network_classes import NetworkClasses
from biformer_lit.tasks.optim import Optimization
from biformer_lit.tasks.restore import restore
from biformer_lit.tasks.trained_module import TrainedModule

logger = logging.getLogger(__name__)
Group = TypeVar("Group")
_NOT_OF_THE_NET = ("num_classes", "weights", "weights_copy", "optim", "compile", "grad_checkpointing", "_class_path")


def as_group(kind: type[Group], value: Group | dict[str, Any]) -> Group:
    """A group of settings from itself, or from the plain dict that a checkpoint holds of it."""
    return kind(**value) if isinstance(value, dict) else value


def identifiers(batch: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies the images of a batch: rows (N,), lists of files and of the data set's own numbers."""
    return {name: batch[name] for name in ("index", "file", "image_id") if name in batch}


class BiFormerTask(TrainedModule, ABC):
    """Template of a task; a subclass builds its network and writes its steps.

    The network is built in ``configure_model``, after the data module knows its classes, and always from the
    seed alone, so that neither the data nor the order of construction changes the initial weights.

    Args:
        backbone: The variant and what is to differ from it.
        num_classes: Number of classes; None takes the data set's.
        weights: File of weights to start from or to evaluate: a released checkpoint of either layout, one of
            ours, or safetensors. A head for another number of classes stays fresh, and a warning says so.
            Unlike ``--ckpt_path``, which resumes a run and brings that run's settings along, this changes
            the weights and nothing else.
        weights_copy: Which weights where the file holds both: raw or average. None takes those that the file's
            figures belong to: raw in released checkpoints, average in ours.
        optim: The optimiser and its schedule.
        compile: Compile the network, in place (checkpoint keys stay as they are). True compiles the whole
            graph for the sizes it meets, and fails where it cannot; ``dynamic`` makes graphs for many image sizes
            from the first on; a dict goes to ``torch.compile``.
        grad_checkpointing: Recompute each block in the backward pass instead of keeping its activations.

    Raises:
        ConfigError: On a setting that cannot work.
    """

    monitor: ClassVar[str]
    mode: ClassVar[Literal["min", "max"]]
    kind: ClassVar[str] = "classification"  # name of its row in biformer_lit.kinds
    net: nn.Module

    def __init__(
        self,
        backbone: Backbone = Backbone(),  # noqa: B008 (frozen)
        num_classes: int | None = None,
        weights: str | None = None,
        weights_copy: Copy | None = None,
        optim: Optimization = Optimization(),  # noqa: B008 (frozen)
        compile: Compilation = False,  # noqa: A002 (the name users know from torch)
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if num_classes is not None:
            self.require_classes(num_classes)
        self.backbone = as_group(Backbone, backbone)
        self.num_classes = num_classes
        self.weights = weights
        self.weights_copy = weights_copy
        self.optim = as_group(Optimization, optim)
        self.compile_options = compile_options(compile)
        self.grad_checkpointing = grad_checkpointing
        self.finite_steps = FiniteSteps(self.optim.on_bad_loss)
        self.class_names: list[str] = []
        self.preprocessing: dict[str, Any] | None = None
        self.network_classes = NetworkClasses(self)

    @abstractmethod
    def build_net(self, num_classes: int) -> nn.Module:
        """The network for this number of classes."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        follow_old_name(cls, "predicts")

    @property
    def row(self) -> Kind:
        """Row of tasks of this kind."""
        return kind_named(self.kind, type(self).__name__)

    def net_settings(self) -> dict[str, Any]:
        """Settings of which the network is made, besides the number of classes, as plain data: all but the training's.

        Networks of the same settings have the same costs.
        """
        return {name: value for name, value in self.hparams.items() if name not in _NOT_OF_THE_NET}

    def build_metrics(self, num_classes: int) -> None:
        """Make the metrics; called once, after the network is built."""

    def load_start(self, saved: SavedWeights) -> LoadReport | None:
        """Start from the weights in a file.

        Args:
            saved: The file, which was read.

        Returns:
            What was filled and what was not, if that is known.

        Raises:
            CheckpointError: If they do not fit.
        """
        return load_weights(self.net, saved, copy=self.weights_copy, fresh_classifier=self.network_classes.keep_fresh)

    def require_classes(self, number: int) -> None:
        """Refuse a number of classes that a network cannot tell apart."""
        if number < 1:
            raise ConfigError(f"num_classes={number} must be at least 1, or null to take the data set's")

    def save_settings(self) -> None:
        """Keep the constructor's arguments as plain data, so that checkpoints hold no code; call it last."""
        self.save_hyperparameters(frame=inspect.currentframe().f_back)  # type: ignore[union-attr]
        for key, value in self.hparams.items():
            if is_dataclass(value) and not isinstance(value, type):
                self.hparams[key] = asdict(value)
        self.hparams.setdefault("_class_path", f"{type(self).__module__}.{type(self).__qualname__}")

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's is no plain classmethod
        cls,
        checkpoint_path: str | Path,
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,  # noqa: ARG003
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """The task that a checkpoint holds, with its network built.

        Of the checkpoint's settings those are used that it decides (:mod:`biformer_lit.tasks.saved_settings`): the
        file of weights that its run began with need not be there any more, and nothing is compiled.

        Args:
            checkpoint_path: A ``.ckpt`` file.
            map_location: Device to put the task on; what else ``torch.load`` takes here leaves it on the CPU.
            hparams_file: Not taken: the checkpoint has its settings.
            strict: As in Lightning, but weights that do not fit are refused either way.
            weights_only: Not taken: code in a file is never run.
            **kwargs: Arguments of the task that count instead of the checkpoint's.

        Raises:
            CheckpointError: If the file cannot be read, is from no training run, or holds other weights than its
                settings ask for.
            ConfigError: On an argument that is not taken.
        """
        if hparams_file is not None or weights_only is False:
            raise ConfigError(
                "load_from_checkpoint takes no hparams_file, for the checkpoint has its settings, and no "
                "weights_only=False, which would run code in it; leave them out"
            )
        if inspect.isabstract(cls):
            raise ConfigError(f"{cls.__name__} is no task by itself; call load_task, or this of the task that it is")
        task = restore(cls, read_weights(checkpoint_path), **kwargs)
        return task.to(map_location) if isinstance(map_location, str | int | torch.device) else task

    # -- building ----------------------------------------------------------------------------------------

    def know_num_classes(self, number: int) -> None:
        """Note the number of classes, also for checkpoints, which can then be loaded without the data."""
        self.num_classes = number
        self.hparams["num_classes"] = number

    def setup(self, stage: str) -> None:
        """Agree with the data module on classes and preprocessing.

        Raises:
            ConfigError: If its number of classes is another.
            DataError: If it has classes that the network does not know.
        """
        self._agree()

    def configure_callbacks(self) -> list[Callback]:
        """Meet the data module, before it prepares or opens anything; see :class:`TrainedModule`."""
        self.check_data_module()
        return super().configure_callbacks()

    def check_data_module(self) -> None:
        """Refuse the data module of another task, and tell one of ours what this task needs; called before its setup.

        Raises:
            ConfigError: If its batches are for another kind of task.
        """
        data = getattr(self.trainer, "datamodule", None)
        given = getattr(data, "kind", None)
        if given in (None, self.kind):
            return
        has, wants = kind_named(given, type(data).__name__), self.row
        raise ConfigError(
            f"data: {type(data).__name__} has {has.teaches}, but {type(self).__name__} learns {wants.teaches}; set "
            f"data to {wants.data.__name__} or model to {has.task.__name__}"
        )

    def configure_model(self) -> None:
        """Build the network once, when the number of classes is known.

        Raises:
            ConfigError: If the number of classes is unknown or contradicts the data set.
            CheckpointError: If ``weights`` does not fit.
        """
        if self.is_built:
            return
        self._agree()
        if self.num_classes is None:
            raise ConfigError("num_classes is unknown: set model.init_args.num_classes, or give a data module")
        self._build(self.num_classes)

    def _agree(self) -> None:
        trainer = self._trainer
        data, stage = (None, None) if trainer is None else (getattr(trainer, "datamodule", None), trainer.state.fn)
        self.network_classes.agree(data, stage)
        self.network_classes.prepare(data, stage)

    def _build(self, num_classes: int, *, start: bool = True) -> None:
        with local_seed(base_seed(), "initial weights"):
            self.net = self.build_net(num_classes)
        self._initial = _writes(self.net)
        self.build_metrics(num_classes)
        if start and self.weights is not None:
            report = self.load_start(self.network_classes.give_start() or read_weights(self.weights))
            stage = None if self._trainer is None else self._trainer.state.fn
            self.network_classes.refuse_fresh(() if report is None else report.untrained, stage)
        if self.network_classes.origin is None:
            self.network_classes.names = tuple(self.class_names)
        if self.grad_checkpointing:
            self.net.set_grad_checkpointing()  # type: ignore[operator]
        if self.compile_options is not None:
            self.net.compile(**self.compile_options)

    # -- batches -----------------------------------------------------------------------------------------

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Apply the network to images (N, C, H, W); it is built on the first call if no trainer has done so.

        Raises:
            ConfigError: If the number of classes is not known yet.
        """
        self.configure_model()
        return self.net(*inputs, **options)

    def _apply_batch_transfer_handler(
        self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0
    ) -> Any:
        # the one place that every batch passes before callbacks see it, whoever's data module it comes from
        check_target(batch, self, getattr(self.trainer, "datamodule", None))
        return as_named(super()._apply_batch_transfer_handler(batch, device, dataloader_idx), self.row)

    def left_out(self, batch: dict[str, Any]) -> bool:
        """Return whether a batch of training holds no image and is passed over.

        Raises:
            DataError: If there are other processes, which would wait for its gradients.
        """
        if not is_empty(batch):
            return False
        if self.trainer.world_size > 1:
            raise DataError("a batch of training holds no image, for which other processes would wait; leave it out")
        return True

    # -- training ----------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed DropPath, dropout and mixing by where we are: resumed runs and ranks draw what they should."""
        seed_all(derive_seed(base_seed(), "batch", self.current_epoch, batch_idx, self.global_rank))
        self.finite_steps.begin_batch(self.net, batch)

    def on_before_backward(self, loss: Tensor) -> None:
        """Note the loss."""
        self.finite_steps.add_loss(loss)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Refuse or leave out a step that would spoil the weights.

        Raises:
            DivergenceError: If the loss or the gradient is not finite, see ``optim.on_bad_loss``.
        """
        self.finite_steps.judge(self)

    def on_train_epoch_end(self) -> None:
        """Log how many steps were left out, if that may happen."""
        if self.optim.on_bad_loss == "skip":
            self.log("train/skipped_steps", float(self.finite_steps.skipped))

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Seed what is random in evaluation too (``routing: random``), so that it can be repeated."""
        self._seed_evaluation(batch_idx)

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As in validation."""
        self._seed_evaluation(batch_idx)

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As in validation."""
        self._seed_evaluation(batch_idx)

    def _seed_evaluation(self, batch_idx: int) -> None:
        if batch_idx == 0 and self.trainer.state.fn != "fit" and _writes(self.net) == self._initial:
            logger.warning(
                "nothing has been trained or loaded into the network, so what it predicts means nothing; give "
                "ckpt_path or model.init_args.weights"
            )
        seed_all(derive_seed(base_seed(), "evaluation", batch_idx, self.global_rank))

    # -- checkpoints -------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep with the weights what the classes are called, how images were prepared, and what else is needed."""
        checkpoint["class_names"] = self.class_names
        checkpoint["preprocessing"] = self.preprocessing
        checkpoint["skipped_steps"] = self.finite_steps.skipped
        if plugins := needed_plugins(self.registered_parts()):
            checkpoint["plugins"] = plugins

    def registered_parts(self) -> Iterator[tuple[Registry[Any], str]]:
        """Yield each name that the task and its network are made of and that a plug-in could have registered.

        Yields:
            The registry, and the name in it.
        """
        yield KINDS, self.kind
        yield from registered_parts(self.backbone)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the class names and the preprocessing; the data has to follow them.

        Raises:
            CheckpointError: If the weights do not fit.
            DataError: If the data has classes that are none of the checkpoint's.
        """
        path = None if self._trainer is None else self._trainer.ckpt_path
        self.network_classes.take(origin_of(checkpoint, str(path or "the checkpoint")))
        self._rebuild_for(self.network_classes.origin)
        if problem := check_fits(self, checkpoint["state_dict"]):
            raise CheckpointError(f"--ckpt_path: {problem}; give the checkpoint of this model")
        self._agree()
        self.finite_steps.skipped = int(checkpoint.get("skipped_steps", 0))

    def _rebuild_for(self, origin: Origin | None) -> None:
        """Build the network for the classes of a checkpoint, where it was built for those of the data."""
        trainer = self._trainer
        if origin is None or trainer is None or origin.num_classes in (None, self.num_classes) or not self.is_built:
            return
        if trainer.state.fn == "fit" or trainer.strategy.restore_checkpoint_after_setup:
            return
        self.know_num_classes(int(origin.num_classes or 0))
        with trainer.strategy.tensor_init_context():
            self._build(int(origin.num_classes or 0), start=False)


def _writes(net: nn.Module) -> int:
    """Return how often the parameters were written, by an optimiser or from a file, as PyTorch counts for autograd."""
    return sum(map(write_count, net.parameters()))
