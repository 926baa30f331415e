"""Split of a folder or a file, by its name."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLITS = {word: split for split, words in _WORDS.items() for word in words}
_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})")

Path = tuple[str, ...]


def usual_split(name: str) -> str | None:
    """The split that a name means (``train_images``, ``val2017``, ``Test``); None if none, or more than one."""
    word = _split_word(name)
    return None if word is None else _SPLITS[word]


def _split_word(name: str) -> str | None:
    found = [word for word in re.split(r"[-._ 0-9]+", name.lower()) if word in _SPLITS]
    return found[0] if len({_SPLITS[word] for word in found}) == 1 else None


def _name_splits(names: Iterable[str]) -> dict[str, str]:
    """The split for each of the names; those of different words (val and dev) stay apart under these words."""
    words = {name: _split_word(name) for name in names}
    of_split: dict[str, set[str]] = defaultdict(set)
    for word in words.values():
        if word is not None:
            of_split[_SPLITS[word]].add(word)
    return {
        name: name if word is None else _SPLITS[word] if len(of_split[_SPLITS[word]]) == 1 else word
        for name, word in words.items()
    }


class Division(NamedTuple):
    """Images divided into splits.

    Attributes:
        splits: For each split its files, each with the names of the folders between the split's folder and the file.
        loose: Files beside the folders of the splits, which belong to none.
        start: The folder in which the splits lie, or the classes if there are no folders of splits.
    """

    splits: dict[str, list[tuple[str, Path]]]
    loose: list[str]
    start: str


def divide_images(names: Sequence[str]) -> Division:
    """Divide images into splits by the folders at the top alone; words in the names of files mean nothing.

    These folders name splits if all of them have a split's usual name, or if one that has holds folders itself: a
    folder with a split's name that holds images, beside folders with other names, is a class. A single folder with
    nothing but folders in it is passed over, unless it names a split.

    Args:
        names: The images, relative to the folder of the data set.
    """
    paths: dict[str, Path] = {name: PurePosixPath(name).parts for name in names}
    start: Path = ()
    while _is_wrapper(set(paths.values())):
        start += next(iter(paths.values()))[:1]
        paths = {name: path[1:] for name, path in paths.items()}
    tops = _split_folders(paths.values())
    if not tops:
        return Division({"train": [(name, path[:-1]) for name, path in paths.items()]}, [], "/".join(start))
    splits: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    calls, loose = _name_splits(tops), []
    for name, path in paths.items():
        if len(path) == 1:
            loose.append(name)
        else:
            splits[calls[path[0]]].append((name, path[1:-1]))
    return Division(dict(splits), loose, "/".join(start))


def _is_wrapper(paths: set[Path]) -> bool:
    tops = {path[0] for path in paths}
    if len(tops) != 1 or any(len(path) < 3 for path in paths):
        return False
    inner = [path[1:] for path in paths]
    return usual_split(tops.pop()) is None or bool(_split_folders(inner) & {path[0] for path in inner if len(path) > 2})


def _split_folders(paths: Iterable[Path]) -> set[str]:
    """The folders at the top if they name splits, else none."""
    lengths: dict[str, int] = {}
    for path in paths:
        if len(path) > 1:
            lengths[path[0]] = max(len(path), lengths.get(path[0], 0))
    named = {top for top in lengths if usual_split(top) is not None}
    splits = named and (named == lengths.keys() or any(lengths[top] > 2 for top in named))
    return set(lengths) if splits else set()


class Shards(NamedTuple):
    """Files of rows divided into splits.

    Attributes:
        splits: The files of each split.
        unnamed: Files whose names say no split, beside others that do.
        missing: What the names of files say is not there.
    """

    splits: dict[str, list[str]]
    unnamed: list[str]
    missing: list[str]


def divide_shards(names: Sequence[str]) -> Shards:
    """Divide files of rows (Parquet, Arrow, tar) into splits.

    A file named like ``train-00000-of-00004`` says its split; otherwise the folder does that it lies in, or a word in
    its own name. If no file says a split, all of them are ``train``.

    Args:
        names: The files, relative to the folder of the data set.
    """
    found = {name: _shard_split(name) for name in names}
    calls = _name_splits(dict.fromkeys(split for split in found.values() if split is not None))
    splits: dict[str, list[str]] = {}
    for name, split in found.items():
        if split is not None:
            splits.setdefault(calls[split], []).append(name)
    if not splits:
        return Shards({"train": list(names)}, [], _missing(names))
    order = sorted(splits, key=lambda name: ([*_WORDS, name].index(name), name))
    unnamed = [name for name, split in found.items() if split is None]
    return Shards({name: splits[name] for name in order}, unnamed, _missing(names))


def _shard_split(name: str) -> str | None:
    path = PurePosixPath(name)
    if shard := _SHARD.match(path.stem):
        return _split_word(shard["split"]) or shard["split"]
    for folder in path.parts[:-1]:
        if word := _split_word(folder):
            return word
    return _split_word(path.stem)


def _missing(names: Sequence[str]) -> list[str]:
    numbers: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for name in names:
        path = PurePosixPath(name)
        if shard := _SHARD.match(path.stem):
            numbers[str(path.parent), shard["split"], int(shard["total"])].add(int(shard["number"]))
    return [
        f"only {len(there)} of the {total} files {split}-*-of-{total:05} are there"
        for (_, split, total), there in numbers.items()
        if len(there) < total
    ]
