"""Classes compared by their names, which alone say what a number means."""

import unicodedata
from collections import Counter
from collections.abc import Sequence


class UnknownClassesError(ValueError):
    """Names that are none of those known; the message tells the difference and ends without a full stop."""


def numbers_by_name(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """The place of each of ``names`` among ``known``.

    Names are compared as text, to the letter. Lists that are the same stand for each other even if a name occurs
    twice in them.

    Args:
        names: Names of classes, in the order of their numbers.
        known: Names of the classes that they must be, all or some of them.

    Raises:
        UnknownClassesError: If a name is not known, or is no way to tell two classes apart.
    """
    if list(names) == list(known):
        return list(range(len(known)))
    places = {name: number for number, name in enumerate(known)}
    if unknown := [name for name in names if name not in places]:
        raise UnknownClassesError(_difference(names, known, unknown))
    for listed in (names, known):
        name, count = Counter(listed).most_common(1)[0]
        if count > 1:
            raise UnknownClassesError(f"{count} classes have the name {name!r}, so names do not tell them apart")
    return [places[name] for name in names]


def _difference(names: Sequence[str], known: Sequence[str], unknown: list[str]) -> str:
    text = f"{shorten(unknown)} {'is' if len(unknown) == 1 else 'are'} not among {shorten(known)}"
    given = set(names)
    if without := [name for name in known if name not in given]:
        text += f", and {shorten(without)} {'is' if len(without) == 1 else 'are'} missing"
    alike = {_folded(name): name for name in known}
    pairs = [f"{name!r} is not {alike[_folded(name)]!r}" for name in unknown if _folded(name) in alike]
    if pairs:
        return f"{text} (to the letter: {shorten(pairs, 3)})"
    if are_numbers(names) != are_numbers(known):
        return f"{text} (numbers say nothing about names)"
    return text


def are_numbers(names: Sequence[str]) -> bool:
    """Return whether all of these names are whole numbers, as classes without names are called."""
    return all(name.isdecimal() for name in names)


def _folded(name: str) -> str:
    """Return a name without case, spaces, and variant forms of the same letter."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split())


def distinct(names: Sequence[str]) -> list[str]:
    """Names by which classes can be told apart: those that occur twice get their class number, ``cell (3)``."""
    count, taken = Counter(names), set(names)
    result = []
    for number, name in enumerate(names):
        own = name if count[name] == 1 else f"{name} ({number})"
        while count[name] > 1 and own in taken:  # which another class is called already
            own += "'"
        taken.add(own)
        result.append(own)
    return result


def shorten(names: Sequence[str], limit: int = 8) -> str:
    """The first ``limit`` names in a line, and how many more there are."""
    return ", ".join(names[:limit]) + (f", ... {len(names) - limit} more" if len(names) > limit else "")
