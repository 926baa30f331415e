"""The network of a task built in time for callbacks that look for its parameters."""

from typing import Protocol, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.utilities import rank_zero_info


class _Task(Protocol):
    def check_data_module(self) -> None: ...

    def configure_model(self) -> None: ...


class BuildNetwork(Callback):
    """Builds the network before the other callbacks are set up.

    Lightning calls ``configure_model`` after ``setup`` of all callbacks, so that those which average, freeze or prune
    parameters there (``StochasticWeightAveraging``, ``BaseFinetuning``, ``ModelPruning``) would find none. Each task
    puts one of these before them.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Build it, as Lightning would; the data module is set up already."""
        task = cast("_Task", pl_module)
        task.check_data_module()
        strategy = trainer.strategy
        with (
            strategy.tensor_init_context(),
            strategy.model_sharded_context(),
            trainer.precision_plugin.module_init_context(),
        ):
            task.configure_model()
        if stage == "fit" and trainer.ckpt_path:
            _search_no_more(trainer)


def _search_no_more(trainer: Trainer) -> None:
    """Leave out searches at the start of a run that is resumed: it goes on with what they found."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    searches = [callback for callback in callbacks if type(callback) in (LearningRateFinder, BatchSizeFinder)]
    if searches:
        rank_zero_info(f"resumed, so {', '.join(type(search).__name__ for search in searches)} does not search again")
        # a new list: the one that there was is being iterated over
        trainer.callbacks = [callback for callback in callbacks if callback not in searches]  # type: ignore[attr-defined]
