"""Declaring a setting of a pattern once: as a keyword-only argument, from which the network's follows.

Name, annotation, default and explanation are read off the constructor. By default a network takes one value for all
stages or one for each; where that is different, ``Annotated`` says so beside the argument.
"""

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser

from biformer_lit.errors import ConfigError
from biformer_lit.registry import Registry


@dataclass(frozen=True)
class Setting:
    """Annotation of an argument: how a network takes it.

    Attributes:
        default: The network's default where it differs from the module's, such as one value for each of four stages.
        per_stage: Whether a network may give each stage a value of its own.
        where_full: The only value that a list may give a stage of full attention, for which another would mean nothing.
    """

    default: Any = None
    per_stage: bool = True
    where_full: Any = None


ONE_FOR_ALL = Setting(per_stage=False)
"""Annotates a setting that all stages of a network share."""
BY_PLACE = object()
"""Annotates an argument that :meth:`biformer_lit.attention.Attention.build` decides, which is no setting."""


@dataclass(frozen=True)
class Declared:
    """A setting of a network.

    Attributes:
        name: The argument's name.
        annotation: Its annotation where it is declared: the type of one stage's value.
        default: The network's default.
        doc: Its explanation, on one line.
        setting: How the network takes it; None where the annotation is the network's already.
    """

    name: str
    annotation: Any
    default: Any
    doc: str
    setting: Setting | None

    @property
    def per_stage(self) -> bool:
        """True if ``annotation`` is the type of one stage's value."""
        return self.setting is not None and self.setting.per_stage

    def argument_type(self) -> Any:
        """Type of the network's argument."""
        value: Any = choices(self.annotation)
        return _one_of([value, Sequence[value]]) if self.per_stage else value

    def field_type(self) -> Any:
        """Type in a config, where a list always means one value for each stage and None the variant's own."""
        value: Any = choices(self.annotation, row=list)
        if self.per_stage:
            alone = [kind for kind in _members(value) if get_origin(kind) is not tuple]
            value = _one_of([*alone, list[value]])
        return _one_of([value, None])


def declared(
    function: Callable[..., Any], doc: str | None, *, of_network: bool = False, but: Collection[str] = ()
) -> Iterator[Declared]:
    """Read the keyword-only arguments of a constructor or function.

    Args:
        function: The function; its annotations are resolved.
        doc: Docstring with an ``Args`` section.
        of_network: Whether the annotations are the network's already.
        but: Names of arguments that are no settings.

    Raises:
        ConfigError: If an argument has no annotation or no default.
    """
    hints = get_type_hints(function, include_extras=True)
    docs = {p.arg_name: " ".join((p.description or "").split()) for p in docstring_parser.parse(doc or "").params}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or name in but:
            continue
        if name not in hints or parameter.default is parameter.empty:
            raise ConfigError(f"{function.__qualname__}: argument {name} needs a type and a default to be a setting")
        notes = hints[name].__metadata__ if get_origin(hints[name]) is Annotated else ()
        if any(note is BY_PLACE for note in notes):
            continue
        setting = next((note for note in notes if isinstance(note, Setting)), Setting())
        default = parameter.default if setting.default is None else setting.default
        yield Declared(name, hints[name], default, docs.get(name, ""), None if of_network else setting)


def choices(annotation: Any, row: Any = Sequence) -> Any:
    """An annotation for readers: the names of a registry written out, notes left out.

    Args:
        annotation: The annotation; ``Annotated[str, registry]`` becomes the ``Literal`` of its present names.
        row: What stands for ``Sequence``; configs have lists.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        registry = next((note for note in arguments[1:] if isinstance(note, Registry)), None)
        return choices(arguments[0], row) if registry is None else Literal[tuple(registry)]
    if origin in (Union, UnionType):
        return _one_of([choices(kind, row) for kind in arguments])
    if origin in (list, tuple, Sequence):
        container = origin if origin in (list, tuple) else row
        return container[tuple(choices(kind, row) for kind in arguments)]
    return annotation


def _one_of(kinds: list[Any]) -> Any:
    return Union[tuple(kinds)]  # noqa: UP007 (they are known at run time)


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


@dataclass(frozen=True)
class Place:
    """Position of an attention module in a network.

    Attributes:
        dim: Channels of the stage.
        head_dim: Channels of one head.
        lce: Kernel size of the stage's local context enhancement.
        stage: Number of the stage, from 0.
        block: Number of the block in its stage, from 0.
        last: Whether the stage is the network's last.
    """

    dim: int
    head_dim: int
    lce: int
    stage: int
    block: int
    last: bool

    @property
    def heads(self) -> int:
        """Number of heads of ``head_dim`` channels.

        Raises:
            ConfigError: If they do not divide the channels.
        """
        if self.dim % self.head_dim:
            raise ConfigError(
                f"{self.dim} channels do not divide into heads of head_dim={self.head_dim}; change dims or head_dim"
            )
        return self.dim // self.head_dim
