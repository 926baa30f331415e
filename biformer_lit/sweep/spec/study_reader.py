"""Reader of study files: plain values become typed fields, which :class:`StudySpec` checks together."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from biformer_lit.errors import ConfigError
from biformer_lit.extending.plugin_words import REFUSAL
from biformer_lit.sweep.spec.address import check_written
from biformer_lit.sweep.spec.cell_labels import label_of
from biformer_lit.sweep.spec.fields import build, check_known, mapping, typed
from biformer_lit.sweep.spec.study_file import read_study_file
from biformer_lit.sweep.spec.study_groups import Budget, Objective, Range, Search
from biformer_lit.sweep.spec.study_spec import Plan, StudySpec
from biformer_lit.text.dotted import plain_key
from biformer_lit.text.escaping import visible

_FIELDS = (*("set" if one.name == "settings" else one.name for one in fields(StudySpec)), "extends")


def read_spec(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    objective_of: Callable[[StudySpec], Mapping[str, Any]] | None = None,
) -> StudySpec:
    """The study in a YAML file.

    Args:
        path: The file.
        overrides: Dotted key to value, put over the file's ``set``.
        objective_of: Returns the ``metric`` and ``mode`` of a study whose file does not name the metric.

    Raises:
        ConfigError: On anything wrong, with the file, the field and what to do.
    """
    values = read_study_file(Path(path))
    try:
        spec = _spec(mapping("the study", values), Path(path).stem, overrides or {})
        _check_overrides(spec, overrides or {})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    own = values.get("objective") or {}
    if objective_of is None or "metric" in own:
        return spec
    return replace(spec, objective=replace(spec.objective, **{**objective_of(spec), **own}))


def spec_of(values: Mapping[str, Any]) -> StudySpec:
    """The study of plain values as :meth:`StudySpec.as_dict` gives them; what an earlier version lacked is filled in.

    Raises:
        ConfigError: If they are those of no study.
    """
    return _spec({**values}, str(values.get("name", "")), {})


def _spec(values: dict[str, Any], stem: str, overrides: Mapping[str, Any]) -> StudySpec:
    if "plugin" in values or "plugins" in values:
        raise ConfigError(REFUSAL)
    check_known("", values, _FIELDS)
    for name in ("question", "base", "plan"):
        if values.get(name) is None:
            raise ConfigError(f"{name}: is missing; give it")
    given = {name: value for name, value in values.items() if value is not None}
    base = given["base"] if isinstance(given["base"], list) else [given["base"]]
    plan: Plan = typed("plan", given["plan"], Plan)
    settings = mapping("set", given.get("set", {}))
    replaced = {plain_key(key) for key in overrides}
    factors = mapping("factors", given.get("factors", {})).items()
    listed = mapping("cells", given.get("cells", {})).items()
    space = mapping("space", given.get("space", {})).items()
    searching = {} if plan == "search" else {"prune": False}
    return StudySpec(
        name=typed("name", given.get("name", stem), str),
        question=_text("question", given["question"]),
        base=tuple(typed("base", item, str) for item in base),
        plan=plan,
        settings={**{k: v for k, v in settings.items() if plain_key(k) not in replaced}, **overrides},
        factors={name: _factor(f"factors.{name}", value) for name, value in factors},
        cells={name: mapping(f"cells.{name}", value) for name, value in listed},
        baseline=_baseline(given.get("baseline")),
        space={name: _range(f"space.{name}", value) for name, value in space},
        seeds=tuple(typed("seeds", seed, int) for seed in typed("seeds", given.get("seeds", [0]), list)),
        objective=build(Objective, "objective", given.get("objective", {})),
        budget=build(Budget, "budget", given.get("budget", {})),
        search=build(Search, "search", {**searching, **mapping("search", given.get("search", {}))}),
        constraints={
            name: typed(f"constraints.{name}", value, float)
            for name, value in mapping("constraints", given.get("constraints", {})).items()
        },
        retries=typed("retries", given.get("retries", 1), int),
        storage=_storage(given.get("storage")),
    )


def _storage(value: Any) -> str | None:
    url: str | None = typed("storage", value, str | None)
    if url is not None:
        check_written(url)
    return url


def _factor(where: str, value: Any) -> dict[str, dict[str, Any]]:
    """Label to settings, from either way to write a factor."""
    entry = mapping(where, value)
    if not isinstance(entry.get("key"), str):
        return {label: mapping(f"{where}.{label}", settings) for label, settings in entry.items()}
    check_known(f"{where}.", entry, ("key", "values"))
    key: str = entry["key"]
    if isinstance(entry.get("values"), dict):
        return {label: {key: item} for label, item in mapping(f"{where}.values", entry["values"]).items()}
    values: list[Any] = typed(f"{where}.values", entry.get("values"), list)
    labels = [label_of(item) for item in values]
    if len(set(labels)) != len(labels):
        raise ConfigError(f"{where}.values: a value is given twice; remove one, or write label: value lines")
    return {label: {key: item} for label, item in zip(labels, values, strict=True)}


def _range(where: str, value: Any) -> Range:
    try:
        return build(Range, where, value)
    except ConfigError as error:
        raise error if str(error).startswith(where) else ConfigError(f"{where}: {error}") from None


def _baseline(value: Any) -> dict[str, str] | str | None:
    """A cell's name, or a label for each factor; labels that YAML reads as other values are written out."""
    if not isinstance(value, dict):
        return None if value is None else label_of(value)
    return {factor: label_of(label) for factor, label in mapping("baseline", value).items()}


def _check_overrides(spec: StudySpec, overrides: Mapping[str, Any]) -> None:
    varied = dict(spec.varied())
    for key in overrides:
        if plain_key(key) in varied:
            raise ConfigError(f"{varied[plain_key(key)]} varies {key}, which cannot be set for all; leave it out")


def _text(where: str, value: Any) -> str:
    text: str = typed(where, value, str)
    if visible(text) != " ".join(text.replace("\t", " ").splitlines()):
        raise ConfigError(f"{where}: {visible(text, 80)!r} holds control characters; remove them")
    return text
