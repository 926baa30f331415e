"""Reading of a command line without running it: the config that it means, and how long that would take."""

import functools
import json
import logging
import re
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from biformer_lit.cli.training import SETTINGS, FitCommand, TrainingParser, own_error
from biformer_lit.data import HFDataModule
from biformer_lit.errors import ConfigError
from biformer_lit.profiling import estimate_seconds
from biformer_lit.recipes import find_config, read_config
from biformer_lit.registry import Registry
from biformer_lit.tasks import BiFormerTask
from biformer_lit.text.messages import one_line

_GROUPED = re.compile(r"(?P<group>--(model|data)\.(init_args\.)?(?!init_args\.)\w+)\.(?P<field>\w+)")


class Refusal(SystemExit):
    """A parser's message. Like the exit that it stands for, it passes through the attempts at a type's alternatives."""


class RaisingParser(TrainingParser):
    """The same parser, whose errors can be caught. What it reads are the settings of studies, which are files."""

    typed_by_a_person: ClassVar[bool] = False

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one line."""
        raise Refusal(one_line(message))


class ConfigReader(FitCommand):
    """The command line's parser without what follows: only ``fit``, nothing parsed, seeded or built yet."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse nothing."""
        self.config = {"subcommand": None}

    def _set_seed(self) -> None:
        """Seed nothing."""

    def instantiate_classes(self) -> None:
        """Build nothing."""


def complete_config(args: list[str]) -> dict[str, Any]:
    """The complete config that ``python -m biformer_lit fit ARGS`` would run, as plain values; nothing is run.

    Args:
        args: The command line after ``fit``.

    Raises:
        ConfigError: On a bad argument or config.
    """
    parser = _config_reader(Registry.names()).parser
    try:
        config = parser.parse_args(spelled_out(["fit", *args]))
    except Refusal as refusal:
        raise ConfigError(str(refusal)) from None
    complete: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_unset=False))["fit"]
    return complete


def build(config: dict[str, Any]) -> tuple[BiFormerTask, HFDataModule]:
    """The task and the data module that a complete config of ``fit`` describes, without a trainer."""
    parser = _config_reader(Registry.names()).parser
    instantiate = (
        getattr(parser, "instantiate", None) or parser.instantiate_classes
    )  # the old name goes in jsonargparse 5
    built = instantiate(parser.parse_object({"subcommand": "fit", "fit": config})).fit
    return built.model, built.data


def recipe(name: str, settings: Mapping[str, Any] | None = None) -> tuple[BiFormerTask, HFDataModule]:
    """Build the task and the data module of a recipe, for a notebook or a script with a ``Trainer`` of its own.

    What the recipe says of the trainer and the seed is left to the caller.

    Args:
        name: A recipe, or the path of a config file.
        settings: Dotted key to value, put over the recipe's: ``{"data.batch_size": 32, "model.backbone.topk": 2}``.

    Returns:
        The task and the data module, not yet set up: nothing is read or downloaded.

    Raises:
        ConfigError: If there is no such recipe or setting, or a value is refused.
    """
    given = dict(settings or {})
    for key in given:
        if key.partition(".")[0] not in ("model", "data"):
            raise ConfigError(f"{key}: is no setting of the task or the data; give it to your Trainer")
    typed = (value if isinstance(value, str) else json.dumps(value) for value in given.values())
    config = complete_config(["--config", name, *map("--{}={}".format, given, typed)])
    try:
        return build(config)
    except ValueError as error:
        raise own_error(error) from None


def estimate(config: dict[str, Any]) -> float:
    """Seconds that a complete config of ``fit`` would train here."""
    quiet = logging.getLogger("lightning.pytorch")
    level = quiet.level
    task, data = build(config)
    quiet.setLevel(logging.WARNING)
    try:
        return estimate_seconds(task, data, config["trainer"])
    finally:
        quiet.setLevel(level)


@functools.lru_cache(maxsize=1)
def _config_reader(names: Hashable) -> "ConfigReader":  # noqa: ARG001 (what it knows depends on them)
    """Return the parser, which is kept while the same names are registered: it takes longer to make than to use."""
    return ConfigReader(**{**SETTINGS, "parser_class": RaisingParser}, load_from_checkpoint_support=False)


def _config_file(name: str) -> str:
    path = find_config(name)
    read_config(path)  # refuses what holds no settings, with the file's name, which the parser would not say
    return path


def spelled_out(args: list[str]) -> list[str]:
    """A command line as the parser takes it.

    Recipe names after ``--config`` become paths. ``--model.optim.warmup_steps null``, which jsonargparse (4.53) takes
    for the text None where a setting is in a group, becomes ``--model.optim={"warmup_steps": null}``, which it merges.
    """
    result: list[str] = []
    for arg in args:
        before = result[-1] if result else ""
        if before in ("--config", "-c"):
            result.append(_config_file(arg))
        elif arg.startswith("--config="):
            result.append(f"--config={_config_file(arg.partition('=')[2])}")
        elif arg == "null" and (parts := _GROUPED.fullmatch(before)):
            result[-1] = _null(parts)
        elif arg.endswith("=null") and (parts := _GROUPED.fullmatch(arg.removesuffix("=null"))):
            result.append(_null(parts))
        else:
            result.append(arg)
    return result


def _null(parts: re.Match[str]) -> str:
    return f'{parts["group"]}={{"{parts["field"]}": null}}'
