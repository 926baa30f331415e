"""``extends`` in a YAML file: another file whose settings it starts from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from biformer_lit.errors import ConfigError


def extension_chain(
    path: Path, read: Callable[[Path], dict[str, Any]], find: Callable[[Path, Any], Path]
) -> list[dict[str, Any]]:
    """Read a file and the files it extends.

    Args:
        path: The file.
        read: Reads the mapping in one file; its errors name the file.
        find: Turns a file and the value of its ``extends`` into the path of the extended file.

    Returns:
        Their settings without ``extends``, the file that extends nothing first and ``path`` last.

    Raises:
        ConfigError: If the files extend each other in a circle, or ``read`` or ``find`` raises it.
    """
    chain: list[dict[str, Any]] = []
    opened: set[Path] = set()
    while True:
        if path.resolve() in opened:
            raise ConfigError(f"{path}: extends: the files extend each other in a circle; remove one of the lines")
        opened.add(path.resolve())
        values = read(path)
        chain.insert(0, values)
        parent = values.pop("extends", None)
        if parent is None:
            return chain
        path = find(path, parent)
