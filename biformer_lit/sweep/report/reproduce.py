"""Information needed to repeat a study."""

import shlex
from dataclasses import dataclass

import pandas as pd
import yaml

from biformer_lit.sweep.report.content import Content
from biformer_lit.sweep.trials.study import read_text
from biformer_lit.sweep.trials.study_plugins import StudyPlugin, read_plugins
from biformer_lit.text.escaping import visible


@dataclass(frozen=True)
class Reproduction:
    """Information needed to repeat a study.

    Args:
        command: The command line.
        plugins: What ``--plugin`` gave the study, with its source.
        facts: Name to text: seeds, versions, machines, commits.
        spec: The study file.
        config_of: The cell whose complete config is given.
        config: That config as YAML, None if no trial's files are here.
    """

    command: str
    plugins: list[StudyPlugin]
    facts: list[tuple[str, str]]
    spec: str
    config_of: str
    config: str | None


def reproduction(content: Content) -> Reproduction:
    """Information needed to repeat a study."""
    frame = content.frame
    cell = content.baseline["cell"] if content.baseline is not None else frame["cell"].iloc[0]
    config = content.config_of(cell)
    facts = [("seeds", ", ".join(str(seed) for seed in dict.fromkeys(frame["seed"])))]
    packages = [name for name in frame.columns if name.startswith("version:")]
    facts.append(("versions", ", ".join(f"{name.removeprefix('version:')} {_each(frame[name])}" for name in packages)))
    facts += [(name, _each(frame[name])) for name in ("device", "host", "git_commit")]
    hours = frame["wall_seconds"].sum() / 3600
    facts.append(("training time", f"{hours:.2f} h over all trials"))
    plugins = read_plugins(content.folder)
    words = [f"--plugin {shlex.quote(visible(plugin.label))}" for plugin in plugins if not plugin.installed]
    return Reproduction(
        " ".join([f"python -m biformer_lit sweep run {content.spec.name}.yaml", *words]),
        plugins,
        [(name.replace("_", " "), text) for name, text in facts if text],
        read_text(content.folder),
        cell,
        None if config is None else yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )


def _each(values: pd.Series) -> str:
    """Every value that there is, once."""
    return " / ".join(str(value) for value in dict.fromkeys(values.dropna()))
