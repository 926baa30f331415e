"""The network of a task built in time for callbacks that look for its parameters, and which do not go together."""

from typing import Any, Protocol, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BaseFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    ModelPruning,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.utilities import rank_zero_info

from biformer_lit.errors import ConfigError
from biformer_lit.tasks.finetuning import FinetuneBackbone


class _Task(Protocol):
    def check_data_module(self) -> None: ...

    def configure_model(self) -> None: ...


class BuildNetwork(Callback):
    """Builds the network before the other callbacks are set up.

    Lightning calls ``configure_model`` after ``setup`` of all callbacks, so that those which average, freeze or prune
    parameters there (``StochasticWeightAveraging``, ``BaseFinetuning``, ``ModelPruning``) would find none. Each task
    puts one of these before them.
    """

    def __init__(self) -> None:
        self._begun = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Build it, as Lightning would; the data module is set up already.

        Raises:
            ConfigError: On callbacks that would spoil each other's work without a word.
        """
        self._begun = False
        task = cast("_Task", pl_module)
        task.check_data_module()
        if stage == "fit":
            _check_together(trainer)
        strategy = trainer.strategy
        with (
            strategy.tensor_init_context(),
            strategy.model_sharded_context(),
            trainer.precision_plugin.module_init_context(),
        ):
            task.configure_model()
        for callback in _callbacks(trainer):
            if type(callback) is BackboneFinetuning:
                callback.__class__ = FinetuneBackbone  # its own looks for an attribute `backbone` of another kind

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave out searches at the start of a run that is resumed: it goes on with what they found."""
        callbacks = _callbacks(trainer)
        searches = [one for one in callbacks if type(one) in (LearningRateFinder, BatchSizeFinder)]
        if searches and trainer.state.fn == "fit" and not self._begun:  # searches load what they have saved themselves
            names = ", ".join(type(search).__name__ for search in searches)
            rank_zero_info(f"{names}: a resumed run does not search again, and takes what is set")
            # a new list: the one that there was is being iterated over
            trainer.callbacks = [one for one in callbacks if one not in searches]  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on what is loaded is no resume."""
        self._begun = True


def _callbacks(trainer: Trainer) -> list[Callback]:
    return list(trainer.callbacks)  # type: ignore[attr-defined]


def _first(trainer: Trainer, kind: type[Callback]) -> Callback | None:
    return next((callback for callback in _callbacks(trainer) if isinstance(callback, kind)), None)


def _check_together(trainer: Trainer) -> None:
    stochastic, pruning = _first(trainer, StochasticWeightAveraging), _first(trainer, ModelPruning)
    average, finetuning = _first(trainer, WeightAveraging), _first(trainer, BaseFinetuning)
    if stochastic is not None and average is not None and not getattr(average, "evaluate_raw", False):
        raise ConfigError(
            f"trainer.callbacks: {type(average).__name__} and StochasticWeightAveraging would each leave their average "
            f"as the result; list one of them, or set evaluate: raw of EMA"
        )
    if pruning is not None and (stochastic or average) is not None:
        raise ConfigError(
            f"trainer.callbacks: ModelPruning changes the parameters that {type(stochastic or average).__name__} "
            "averages; list one of them"
        )
    if finetuning is not None and trainer.world_size > 1:
        raise ConfigError(
            f"trainer.callbacks: {type(finetuning).__name__} in {trainer.world_size} processes would train what it "
            "unfreezes in each of them alone; use one (trainer.devices: 1)"
        )
