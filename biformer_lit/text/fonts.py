"""Names of classes, cells and files in pictures: drawn as they are, in a font that has their characters."""

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from biformer_lit.text.escaping import for_matplotlib

_log = logging.getLogger(__name__)
_MISSING = "\N{REPLACEMENT CHARACTER}"
_USUAL = "DejaVu Sans"  # comes with matplotlib
_REGULAR = 400  # weight of plain text
_NO_LETTERS = "Last Resort"  # comes with matplotlib, and has boxes for all characters
_told: set[str] = set()


def drawable(text: object, limit: int | None = 80) -> str:
    """Return a text that matplotlib draws as it is, with a mark for each character that no installed font has.

    Args:
        text: Anybody's text.
        limit: Longest text that is drawn; the middle of a longer one is left out.
    """
    plain = for_matplotlib(text, limit)
    if plain.isascii():
        return plain
    missing = {character for character in plain if _family(character) is None}
    if missing - _told:
        _told.update(missing)
        _log.warning(
            "no installed font has %s: pictures show %s instead; install one of wide coverage, such as Noto Sans CJK, "
            "and start again",
            " ".join(sorted(missing)[:8]) + (" ..." if len(missing) > 8 else ""),
            _MISSING,
        )
    return "".join(_MISSING if character in missing else character for character in plain)


@contextlib.contextmanager
def drawing(texts: Iterable[object]) -> Iterator[None]:
    """Have matplotlib look into further fonts, where the usual one lacks characters of these texts.

    Args:
        texts: What is going to be drawn.
    """
    found = {_family(character) for text in texts if not str(text).isascii() for character in set(str(text))}
    usual = mpl.rcParams["font.family"]
    others = sorted(family for family in found if family and family != _USUAL)
    with mpl.rc_context({"font.family": [*usual, *(family for family in others if family not in usual)]}):
        yield


def _family(character: str) -> str | None:
    """A family of fonts that has a character, None if there is none."""
    if ord(character) in _characters(font_manager.findfont(_USUAL)):
        return _USUAL
    return _other_fonts().get(ord(character))


@functools.cache
def _characters(path: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # a font of pictures, or a damaged file
        return frozenset()


@functools.cache
def _other_fonts() -> dict[int, str]:
    """The family to take for each character; of several the one with the most characters, which fit each other."""
    manager = font_manager.fontManager
    known = {font.fname for font in manager.ttflist}
    for path in font_manager.findSystemFonts():  # matplotlib's own list is as old as its cache
        if path not in known:
            with contextlib.suppress(OSError, RuntimeError):
                manager.addfont(path)
    regular = {font.name: font.fname for font in manager.ttflist if font.style == "normal" and font.weight == _REGULAR}
    named = {name: path for name, path in regular.items() if not name.startswith(_NO_LETTERS)}
    by_size = sorted(named.items(), key=lambda item: (len(_characters(item[1])), item[0]))
    return {character: name for name, path in by_size for character in _characters(path)}
