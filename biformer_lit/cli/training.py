"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI over our tasks and data modules."""

import functools
import hashlib
import os
import re
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import torch
import yaml
from jsonargparse import Namespace
from jsonargparse.typing import register_type
from lightning.fabric.plugins import CheckpointIO, TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.callbacks.timer import Interval
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

import biformer_lit
import biformer_lit.shipped_kinds  # whose classes a config may name
from biformer_lit.callbacks import (
    EMA,
    BestOfRun,
    ConfusionMatrix,
    InputImages,
    PredictionWriter,
    Preemption,
    RankWatch,
    RoutingMaps,
    Throughput,
    TrialReport,
)
from biformer_lit.callbacks.tensorboard_writers import tensorboard_writers
from biformer_lit.checkpoints.saved_weights import Origin, Shapes, read_weights
from biformer_lit.cli.allowed import check_named
from biformer_lit.cli.compilation import check_compile
from biformer_lit.cli.end_of_run import print_results
from biformer_lit.cli.from_checkpoint import with_settings_of
from biformer_lit.cli.given import given_data_settings
from biformer_lit.cli.output_paths import check_no_address, check_output_paths
from biformer_lit.cli.refusing import OneLineErrors
from biformer_lit.cli.repeating import leave_trials_alone
from biformer_lit.cli.run_folder import NAMES, claim_versions, newest_checkpoint
from biformer_lit.common.yaml_text import load_yaml, yaml_of
from biformer_lit.data import HFDataModule
from biformer_lit.errors import BiFormerLitError, ConfigError, causes
from biformer_lit.extending.plugin_words import EPILOG
from biformer_lit.plugins import AtomicCheckpointIO, SyncBatchNorm
from biformer_lit.recipes import read_config
from biformer_lit.registry import Registry
from biformer_lit.running.disk import one_disk_error
from biformer_lit.running.parent import VARIABLE
from biformer_lit.running.trial_folders import is_ours
from biformer_lit.seams.lightning_seams import launches_ranks
from biformer_lit.tasks import BiFormerTask
from biformer_lit.tasks.restore import check_size

_NAMED: tuple[type[Callback], ...] = (EMA, TrialReport)  # by configs, without a module: imported to be found
_CLASS_PATH = re.compile(r"class_path '([\w.]+)'")
_REQUIREMENT = re.compile(r"Requirement '([\w.-]+)")
_PACKAGES = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow", "CometLogger": "comet-ml", "LitLogger": "litlogger"}
# StochasticWeightAveraging has a device by default, which a saved config could not tell otherwise
register_type(
    torch.device, str, torch.device, deserializer_exceptions=(RuntimeError, TypeError), fail_already_registered=False
)
# and Timer an interval, where its annotation says a string
yaml.SafeDumper.add_representer(Interval, lambda dumper, interval: dumper.represent_str(str(interval.value)))


class TrainingParser(OneLineErrors, LightningArgumentParser):
    """LightningCLI's parser with errors for people, which takes the documented classes and no others."""

    typed_by_a_person: ClassVar[bool] = True

    def parse_args(self, args: Any = None, *more: Any, **kwargs: Any) -> Any:
        """Parse a command line."""
        config = _checked(super().parse_args(args, *more, **kwargs))
        if "subcommand" in config:
            model = (config.get(config.get("subcommand") or "") or {}).get("model") or {}
            given = sys.argv[1:] if args is None else args
            settings = (model.get("init_args") or {}).get("compile", False)
            check_compile(settings, given if self.typed_by_a_person else ())
        return config

    def parse_path(self, path: Any, *more: Any, **kwargs: Any) -> Any:
        """Parse a config file, and what it extends."""
        if "extends" not in load_yaml(Path(path)):
            return super().parse_path(path, *more, **kwargs)
        return self.parse_string(yaml_of(read_config(path)), Path(path).name, *more, **kwargs)

    def parse_object(self, *args: Any, **kwargs: Any) -> Any:
        """Parse settings that were read already."""
        return _checked(super().parse_object(*args, **kwargs))


def _parser_for(base: type[LightningArgumentParser], names: Hashable) -> type[LightningArgumentParser]:
    """Return a parser class for the names registered now: jsonargparse remembers classes by the parser class."""
    known: Any = base  # a class can be hashed; mypy looks at what jsonargparse makes of its instances
    return _variant(known, hashlib.sha256(repr(names).encode()).hexdigest()[:12])


@functools.cache
def _variant(base: Any, key: str) -> type[LightningArgumentParser]:
    return type(f"{base.__name__}_{key}", (base,), {"__doc__": base.__doc__, "__module__": __name__})


def __getattr__(name: str) -> Any:
    """Find a parser class by its name, as unpickling does: processes that are spawned are given the parser."""
    base, _, key = name.rpartition("_")
    if base != TrainingParser.__name__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _variant(TrainingParser, key)


def _checked(config: Any) -> Any:
    if "subcommand" not in config:  # of one class, by a parser that takes an error for a failed attempt at a type
        return config
    check_named(config)
    section = config.get(config.get("subcommand") or "") or {}
    if section.get("weights_only") is False:
        raise ConfigError("weights_only=False would run code in a checkpoint, which is never done; leave it out")
    trainer = section.get("trainer", {})
    if not isinstance(trainer, dict | Namespace):  # null and [] pass the parser, and nobody can build them
        raise ConfigError(f"trainer: {trainer!r} holds no settings; write them by name, or leave it out")
    return config


class SaveConfig(SaveConfigCallback):
    """Also shows the resolved config as text in TensorBoard.

    A trial of a study has its config already: the study wrote it, so that it repeats the run anywhere.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the config into the run's folder."""
        if is_ours(trainer.default_root_dir):
            self.save_to_log_dir = False
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the config; called on rank 0 only."""
        text = self.parser.dump(self.config, skip_unset=False)
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        for writer in tensorboard_writers(trainer):
            writer.add_text("config", indented, 0)


class BiFormerCLI(LightningCLI):
    """LightningCLI over our tasks and data modules.

    Everything that watches a run (learning rate, images/s, input images, confusion matrix, routing, label maps,
    objects) is added here, so that a config that lists callbacks of its own does not lose them; ``--monitoring false``
    leaves them out.
    """

    _origin: Origin | None = None  # of the checkpoint
    _shapes: Shapes | None = None  # of its weights

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        parser_class: Any = kwargs.pop("parser_class", LightningArgumentParser)
        kwargs["parser_class"] = _parser_for(parser_class, Registry.names())
        super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Arguments of our own, beside LightningCLI's."""
        parser.epilog = EPILOG
        parser.add_argument(
            "--monitoring",
            type=bool,
            default=True,
            help="Log learning rate, images/s, input images, a confusion matrix and the routing to TensorBoard.",
        )
        parser.add_lightning_class_args(PredictionWriter, "predictions")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and remember what was given."""
        super().parse_arguments(parser, args)
        self._given = given_data_settings(parser, args) if self.config.get("subcommand") else frozenset()

    def _set_seed(self) -> None:
        """Seed everything; a seed out of range is named."""
        try:
            super()._set_seed()
        except ValueError as error:
            raise ConfigError(f"seed_everything: {error}") from error

    def _parse_ckpt_path(self) -> None:
        """Let a checkpoint decide what is its own, where LightningCLI takes all that it holds."""
        subcommand = self.config.get("subcommand") or ""
        section = self.config.get(subcommand, {})
        path = section.get("ckpt_path")
        if path in NAMES:
            path = section["ckpt_path"] = newest_checkpoint(path, section.trainer)
        if not path:
            weights = section.get("model") and section.model.get("init_args", {}).get("weights")
            if subcommand in ("validate", "test", "predict") and not weights:
                raise ConfigError(
                    f"{subcommand} has no trained weights to use: give --ckpt_path FILE (a run's checkpoint) or "
                    "--model.weights FILE"
                )
            return
        check_no_address("ckpt_path", path)
        saved = read_weights(path, resume=subcommand == "fit")
        if subcommand == "fit":
            saved.check_resumable()
        self.config = with_settings_of(self.parser, self.config, saved)
        self._origin, self._shapes = saved.origin, saved.shapes

    def instantiate_classes(self) -> None:
        """Build what the config names; our own errors come out as themselves.

        The parser takes an error in a constructor for a failed attempt at a type, and wraps it in its own.
        """
        leave_trials_alone(self.config[self.subcommand].trainer)
        check_output_paths(self.config[self.subcommand])
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise own_error(error) from error
        self.datamodule.given_settings = self._given
        if self._origin is not None:
            check_size(self.model, self._shapes or {}, self._origin.source)
            self.model.network_classes.take(self._origin)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with what watches a run."""
        for name in ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval"):
            value = self.config[self.subcommand].trainer.get(name)  # Lightning divides by these unchecked
            if isinstance(value, int | float) and value <= 0:
                raise ConfigError(f"trainer.{name}={value} must be above 0; leave it out for the default")
        given = self._get(self.config_init, "trainer").get("plugins") or []
        plugins = given if isinstance(given, list) else [given]
        if self.config[self.subcommand].trainer.get("sync_batchnorm"):
            kwargs |= {"sync_batchnorm": False, "plugins": [*plugins, SyncBatchNorm()]}
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, TypeError, ValueError) as error:
            raise ConfigError(f"trainer: {error}") from error
        claim_versions(trainer.loggers)
        brought = any(isinstance(plugin, CheckpointIO) for plugin in plugins)
        if not brought and type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # strategies may have their own
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        if self.config[self.subcommand].monitoring and trainer.loggers:
            kinds = [LearningRateMonitor, Throughput, InputImages, ConfusionMatrix, RoutingMaps]
            kinds += [self.model.row.panels] if self.model.row.panels is not None else []
            present = {type(callback) for callback in trainer.callbacks}  # type: ignore[attr-defined]
            watchers = [kind() for kind in kinds if kind not in present]
            trainer.callbacks[:0] = watchers  # type: ignore[attr-defined]  # checkpoints stay last
        self._look_after_processes(trainer)
        return trainer

    def _look_after_processes(self, trainer: Trainer) -> None:
        """Set up what happens when processes are told to stop, or one of several dies."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        callbacks[:] = [c for c in callbacks if not isinstance(c, Preemption | RankWatch | BestOfRun)]
        callbacks[:0] = [RankWatch(), BestOfRun()]
        callbacks.append(Preemption())  # the last, so that what it saves is complete
        if launches_ranks(trainer):
            # the ranks it launches follow this: a process that dies takes all below with it
            os.environ[VARIABLE] = str(os.getpid())

    def _run_subcommand(self, subcommand: str) -> None:
        """Run it; a full disk is told in one way."""
        with one_disk_error(lambda: self.trainer):
            super()._run_subcommand(subcommand)

    def after_fit(self) -> None:
        """A table of the results, and where to look."""
        print_results(self.trainer, self.model)


class _OneCommand(BiFormerCLI):
    """Command line with the parser of one subcommand: making all four takes a fifth of the time of a short run."""

    only: ClassVar[str]

    @classmethod
    def subcommands(cls) -> dict[str, set[str]]:
        """Return the one."""
        return {cls.only: LightningCLI.subcommands()[cls.only]}


# processes that are spawned find them by their names
class FitCommand(_OneCommand):
    """``fit`` alone."""

    only = "fit"


class ValidateCommand(_OneCommand):
    """``validate`` alone."""

    only = "validate"


class TestCommand(_OneCommand):
    """``test`` alone."""

    only = "test"


class PredictCommand(_OneCommand):
    """``predict`` alone."""

    only = "predict"


_COMMAND_LINES: dict[Any, type[BiFormerCLI]] = {
    one.only: one for one in (FitCommand, ValidateCommand, TestCommand, PredictCommand)
}


def command_line_of(given: list[str] | dict[str, Any]) -> type[BiFormerCLI]:
    """Return the command line for what was given: with the parser of the subcommand that comes first, if one does.

    Args:
        given: Words of the command line, or a config with its ``subcommand``.
    """
    name = given.get("subcommand") if isinstance(given, dict) else next(iter(given), None)
    return _COMMAND_LINES.get(name, BiFormerCLI)


def own_error(error: BaseException) -> BaseException:
    """Return the error of ours that ``error`` was raised from, or one that says what is not installed, or ``error``."""
    missing = next((cause for cause in causes(error) if isinstance(cause, ModuleNotFoundError)), None)
    classes = _CLASS_PATH.findall(str(error))
    if missing is not None and classes:
        name = classes[-1].rpartition(".")[2]
        asked = _REQUIREMENT.search(str(missing))
        package = _PACKAGES.get(name) or (asked[1] if asked else missing.name) or "what it needs"
        return ConfigError(f"{name} needs {package}, which is not installed: pip install {package}")
    return next((cause for cause in causes(error) if isinstance(cause, BiFormerLitError)), error)


_DESCRIPTION = """BiFormer: train, evaluate, take apart.

More commands have a --help of their own: "profile" prints parameters, multiply-adds, speed and memory of a model;
"complexity" draws how the multiply-adds of several grow with the image; "convert" rewrites a checkpoint as safetensors;
"visualize" draws on a photo what a trained network routes; "sweep" runs ablation studies. --config takes files,
several of them, and recipes by name."""


SETTINGS: dict[str, Any] = {
    "model_class": BiFormerTask,
    "datamodule_class": HFDataModule,
    "subclass_mode_model": True,
    "subclass_mode_data": True,
    "auto_configure_optimizers": False,
    "seed_everything_default": 0,
    "save_config_callback": SaveConfig,
    "save_config_kwargs": {"overwrite": True},  # a resumed run writes into its own folder
    "parser_class": TrainingParser,
    "parser_kwargs": {
        "prog": "biformer_lit",
        "description": _DESCRIPTION,
        "epilog": EPILOG,
        "version": biformer_lit.__version__,
    },
}
"""What LightningCLI is told, whichever way it is used."""
