"""Text from data, configs and other people's files as plain text, wherever it is shown.

A class, a cell, a file or an error message may hold what a terminal, a spreadsheet or a markup language would take for
an instruction. Each place has one function here, and what it returns shows the text itself.
"""

import html
import re
import unicodedata
from typing import Any

_LATEX = str.maketrans({
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "\N{MINUS SIGN}": "$-$", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}",
    "[": "{[}", "]": "{]}",  # after a line's end, a bracket would be the length of a gap
    '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "|": r"\textbar{}",
})  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*\[\]~|]|(?<!\w)_|_(?!\w))")  # an underscore within a word is none
_BLOCK = re.compile(r"^(\s*)([-+](?=\s|$|-)|=(?==*$)|#|\d{1,9}[.)](?=\s|$))")  # what begins a list, a heading or a rule
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|file|data|javascript|mailto|www)([:.])")
_FORMULA = ("=", "+", "-", "@")
_HIDDEN = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of pairs, separators of lines and paragraphs
_TURNS = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)  # of the writing direction


def visible(text: object, limit: int | None = None) -> str:
    r"""Return a text on one line whose control characters are spelled out, such as ``\x1b``.

    A terminal would obey these: change its title, move its cursor, or show text in another order than it has.

    Args:
        text: Anything that has a text.
        limit: Longest text that is returned; the middle of a longer one is left out.
    """
    line = " ".join(str(text).splitlines())
    if not line.isprintable():
        line = "".join(_spelled(character) for character in line)
    return line if limit is None else shortened(line, limit)


def _spelled(character: str) -> str:
    if character == "\t":
        return " "
    if character in _TURNS or unicodedata.category(character) in _HIDDEN:
        return character.encode("unicode_escape").decode()
    return character


def shortened(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters: both ends of a longer one."""
    if len(text) <= limit:
        return text
    end = (limit - 1) // 2
    return f"{text[: limit - 1 - end]}…{text[len(text) - end :]}"


def for_matplotlib(text: object, limit: int | None = 80) -> str:
    """Return a text that matplotlib draws as it is, without its mathematics between dollar signs."""
    return visible(text, limit).replace("$", r"\$")


def for_markdown(text: object) -> str:
    """Return a text for Markdown: one line without markup, HTML and links."""
    line = _MARKDOWN.sub(r"\\\1", html.escape(visible(text), quote=False))
    line = _BLOCK.sub(lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", line)
    # readers make links of bare addresses; an empty comment cannot be seen and ends one
    return _ADDRESS.sub(r"\1<!-- -->\2", line)


def for_plotly(text: object) -> str:
    """Return a text for plotly, which would take ``<b>`` and ``<a href=...>`` for markup."""
    return html.escape(visible(text), quote=False)


def for_latex(text: object) -> str:
    """Return a text for LaTeX."""
    return visible(text).translate(_LATEX)


def for_csv(value: Any) -> Any:
    """Return a value for a cell of a CSV file; a text that a spreadsheet would take for a formula gets an apostrophe.

    :func:`from_csv` takes it away again. Numbers are left as they are.
    """
    if not isinstance(value, str):
        return value
    plain = value.lstrip("'")
    return f"'{value}" if plain.lstrip().startswith(_FORMULA) or plain[:1] in ("\t", "\r") else value


def from_csv(value: Any) -> Any:
    """Return what :func:`for_csv` was given."""
    return value[1:] if isinstance(value, str) and value[:1] == "'" and for_csv(value[1:]) == value else value
