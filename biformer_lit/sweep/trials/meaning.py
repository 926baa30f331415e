"""Check that a study's cells still mean what they did when it began, by the values of their configs.

Versions of this package add settings, and files move and gain comments; none of this changes what is trained. So a cell
is known by the digest that it had when the study was begun, for as long as its config has the same values.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.resolve import ResolvedCell
from biformer_lit.sweep.spec.runs import Runs
from biformer_lit.sweep.spec.study_file import read_yaml
from biformer_lit.sweep.trials.ledger import Ledger
from biformer_lit.sweep.trials.process import CONFIG

_NOTED = "config "  # before a cell's name: what is noted of a study in its storage
# what says where a run writes and what it shows, and not what it trains
_APART = ("seed_everything", "ckpt_path", "monitoring", "predictions", "weights_only")
_OF_TRAINER = ("logger", "default_root_dir", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
_CALLBACKS_APART = ("TrialReport", "ModelCheckpoint")
_SHOWN = 3  # differences of a cell
_ABSENT = object()


class Meanings:
    """Configs of a study's cells when their first trials were written.

    Args:
        ledger: The study's trials.
        runs: What is known of runs.

    Attributes:
        changes: Cell to what its config has in another way than it had, in words.
    """

    def __init__(self, ledger: Ledger, runs: Runs) -> None:
        self._ledger, self._runs = ledger, runs
        self._digests: dict[str, str] = {}
        self._keys: dict[str, list[str]] = {}
        for job in ledger.jobs():
            self._digests.setdefault(job.cell, job.digest)
            self._keys.setdefault(job.cell, []).append(job.key)
        self._noted = ledger.attributes()
        self.changes: dict[str, list[str]] = {}
        self._same = 0

    def known(self, cells: Sequence[ResolvedCell]) -> list[ResolvedCell]:
        """The cells, with the digests that they had if they mean the same; what differs is in ``changes``.

        Raises:
            ConfigError: If other versions of the package were at work, and nothing is left to compare with.
        """
        found = [self._compared(cell) for cell in cells]
        unclear = [cell for cell, same in found if same is None]
        if unclear and not self._same and not self.changes and self._has_trained():
            raise ConfigError(
                f"cell {unclear[0].cell.name}: its config has another digest than when the study was begun, and its "
                f"trials' {CONFIG} are not in {self._ledger.folder} to compare it with; go on in the folder that has "
                "them, or read the study with sweep export and sweep report"
            )
        return [
            cell if same is False else replace(cell, digest=self._digests.get(cell.cell.name, cell.digest))
            for cell, same in found
        ]

    def note(self, cells: Mapping[str, ResolvedCell]) -> None:
        """Note the configs of cells, for versions to come."""
        for name, one in cells.items():
            if _NOTED + name not in self._noted:
                self._ledger.note(_NOTED + name, json.dumps(_trained(one.config)))

    def _has_trained(self) -> bool:
        return any(trial.state.is_finished() for trial in self._ledger.trials())

    def _compared(self, one: ResolvedCell) -> tuple[ResolvedCell, bool | None]:
        """Return whether a cell means the same as before, None if that cannot be told."""
        name = one.cell.name
        if self._digests.get(name, one.digest) == one.digest:
            self._same += name in self._digests
            return one, True
        before = self._config_of(name)
        if before is None:
            return one, None
        differences = list(_differences(_trained(before), _trained(one.config), _Defaults(one.config, self._runs)))
        if differences:
            more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
            self.changes[name] = [", ".join(differences[:_SHOWN]) + more]
            return one, False
        self._same += 1
        return one, True

    def _config_of(self, cell: str) -> dict[str, Any] | None:
        """The complete config of a cell as it was, None if nothing is left of it."""
        noted = self._noted.get(_NOTED + cell)
        if noted is not None:
            known: dict[str, Any] = json.loads(noted)
            return known
        for key in self._keys[cell]:
            path = self._ledger.folder / "cells" / key / CONFIG
            if path.is_file():
                return read_yaml(path)
        return None


def _trained(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a complete config that says what is trained, and how."""
    kept = {key: value for key, value in config.items() if key not in _APART}
    trainer = {key: value for key, value in config["trainer"].items() if key not in _OF_TRAINER}
    given = trainer.get("callbacks") or []
    callbacks = given if isinstance(given, list) else [given]
    trainer["callbacks"] = [one for one in callbacks if _name(one["class_path"]) not in _CALLBACKS_APART]
    return {**kept, "trainer": trainer}


class _Defaults:
    """Default values of settings.

    Args:
        config: The complete config that they belong to.
        runs: What is known of runs.
    """

    def __init__(self, config: Mapping[str, Any], runs: Runs) -> None:
        self._config, self._runs = config, runs
        self._plain: dict[str, Any] | None = None

    def has(self, path: Sequence[str], value: Any) -> bool:
        """Return whether a setting, by its names from the outermost on, is what it is by default."""
        if self._plain is None:
            classes = {part: (self._config.get(part) or {}).get("class_path") for part in ("model", "data")}
            try:
                self._plain = self._runs.config([f"--{part}={name}" for part, name in classes.items() if name])
            except ConfigError:
                self._plain = {}
        found: Any = self._plain
        for name in path:
            found = found.get(name, _ABSENT) if isinstance(found, Mapping) else _ABSENT
        return bool(found == value) if found is not _ABSENT else value is None

    def of_class(self, class_path: str, name: str) -> Any:
        """Return the default of a class's argument, or what equals nothing if there is none."""
        try:
            return self._runs.default(class_path, name)
        except LookupError:
            return _ABSENT


def _differences(
    before: Any, now: Any, defaults: _Defaults, path: tuple[str, ...] = (), within: str = ""
) -> Iterator[str]:
    """Return what differs between two configs; settings that only one version of the package knows do not count.

    Args:
        before: A config, or a part of one.
        now: The same of today.
        defaults: Of settings that only today's has.
        path: Names of the part.
        within: Class of the entry of a list that the part is in.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        within = str(now["class_path"]) if within and "class_path" in now else within
        for name, value in now.items():
            where = (*path, str(name))
            if name in before:
                yield from _differences(before[name], value, defaults, where, within)
            elif not (defaults.of_class(within, name) == value if within else defaults.has(where, value)):
                yield f"{_dotted(where)}={value!r} is new"
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for i, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(one, other, defaults, (*path, str(i)), within or "-")
    elif path[-1:] == ("class_path",) and _ours(before) and _ours(now):  # modules may move
        if _name(before) != _name(now):
            yield f"{_dotted(path[:-1])} was {_name(before)}, is {_name(now)}"
    elif before != now:
        yield f"{_dotted(path)} was {before!r}, is {now!r}"


def _ours(class_path: Any) -> bool:
    return str(class_path).startswith("biformer_lit.")


def _name(class_path: Any) -> str:
    return str(class_path).rpartition(".")[2]


def _dotted(path: Sequence[str]) -> str:
    return ".".join(name for name in path if name != "init_args")
