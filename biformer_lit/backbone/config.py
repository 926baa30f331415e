"""The backbone as a group of settings, so that every factor of an ablation is one value in a config.

Nothing is declared here: the fields are the arguments of :class:`biformer_lit.BiFormer` and the settings of the
attention patterns and routing rules, and follow them when more are registered.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import timm
from torch import nn

from biformer_lit.attention import PATTERNS, ROUTINGS, Declared
from biformer_lit.attention.settings import declared
from biformer_lit.backbone import variants
from biformer_lit.backbone.architecture import pattern_settings
from biformer_lit.backbone.biformer import BiFormer
from biformer_lit.errors import ConfigError

LAYOUT = {setting.name: setting for setting in declared(BiFormer.__init__, inspect.getdoc(BiFormer), of_network=True)}
"""The network's own settings by name."""
_SIGNATURE = inspect.signature(BiFormer.__init__)
_BIFORMER_DOC = BiFormer.__doc__ or ""


class Backbone:
    """A released variant and what is to differ from it; None keeps the variant's own value.

    Args:
        name: The variant.
        in_chans: Channels of the input image.
    """

    name: str = "biformer_tiny"
    in_chans: int = 3

    if TYPE_CHECKING:  # the other fields follow from what is declared elsewhere
        __dataclass_fields__: ClassVar[dict[str, Any]]

        def __init__(self, name: str = ..., in_chans: int = ..., **settings: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

    def build(self, num_classes: int, **overrides: Any) -> nn.Module:
        """Build the network, a timm model.

        Args:
            num_classes: Outputs of the classifier.
            **overrides: Further arguments of ``timm.create_model``, such as ``features_only``.

        Raises:
            ConfigError: On a setting that cannot work.
        """
        if self.name not in variants.VARIANTS:
            raise ConfigError(f"backbone.name={self.name!r} is unknown; choose one of {', '.join(variants.VARIANTS)}")
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        given = {key: value for key, value in given.items() if value is not None}
        model: nn.Module = timm.create_model(self.name, num_classes=num_classes, **given, **overrides)
        return model


_BACKBONE_DOC = Backbone.__doc__ or ""
_WRITTEN = set(vars(Backbone))


def network_settings() -> Iterator[Declared]:
    """All settings of a network: those of its layout, then those of the patterns."""
    yield from LAYOUT.values()
    yield from pattern_settings().values()


def follow_declarations() -> None:
    """Make ``Backbone`` and the signature and docstring of ``BiFormer`` say what can be set now.

    The classes stay the same objects, so that annotations that name them stay true.
    """
    _describe_backbone()
    _describe_biformer()


def _describe_backbone() -> None:
    for name in set(vars(Backbone)) - _WRITTEN:  # what dataclass added last time
        delattr(Backbone, name)
    settings = list(network_settings())
    Backbone.__annotations__ = {"name": Literal[tuple(variants.VARIANTS)], "in_chans": int}
    for setting in settings:
        Backbone.__annotations__[setting.name] = setting.field_type()
        setattr(Backbone, setting.name, None)
    lines = "".join(_line(setting.name, _plain(_explained(setting))) for setting in settings)
    Backbone.__doc__ = f"{_BACKBONE_DOC.rstrip()}\n{lines}    "
    dataclass(frozen=True)(Backbone)


def _describe_biformer() -> None:
    settings = pattern_settings().values()
    named = [p for p in _SIGNATURE.parameters.values() if p.kind is not p.VAR_KEYWORD]
    shown: list[inspect.Parameter] = [p.replace(annotation=_shown(p)) for p in named]
    shown += [
        inspect.Parameter(s.name, inspect.Parameter.KEYWORD_ONLY, default=s.default, annotation=s.argument_type())
        for s in settings
    ]
    BiFormer.__init__.__signature__ = _SIGNATURE.replace(parameters=shown)  # type: ignore[attr-defined]
    lines = "".join(_line(setting.name, _explained(setting)) for setting in settings)
    arguments, raises = _BIFORMER_DOC.split("        **settings: ", 1)[0], _BIFORMER_DOC.partition("    Raises:")[2]
    BiFormer.__doc__ = f"{arguments}{lines}\n    Raises:{raises}"


def _shown(parameter: inspect.Parameter) -> Any:
    setting = LAYOUT.get(parameter.name)
    return parameter.annotation if setting is None else setting.argument_type()


def _line(name: str, text: str) -> str:
    """An entry of the section ``Args``."""
    words = textwrap.TextWrapper(
        120, initial_indent=" " * 8, subsequent_indent=" " * 12, break_on_hyphens=False, break_long_words=False
    )
    return words.fill(f"{name}: {text}") + "\n"


def _explained(setting: Declared) -> str:
    return f"{setting.doc} One value, or one per stage." if setting.per_stage else setting.doc


def _plain(text: str) -> str:
    """An explanation without the marks of reStructuredText, for ``--help``."""
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "")


follow_declarations()
for registry in (PATTERNS, ROUTINGS):
    registry.watch(follow_declarations)
