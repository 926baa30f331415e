"""A study's files that came as one zip file, unpacked with care: it may come from anybody."""

import contextlib
import lzma
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.study import SPEC

_MOST_FILES = 200_000
_MOST_BYTES = 20 * 2**30  # unpacked
_UNREAD = ("checkpoints",)  # what no report reads
# zipfile hands through whatever its decompressors and the file system raise
_UNPACKING_ERRORS = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError),
    *(IndexError, KeyError, OverflowError, MemoryError, zlib.error, lzma.LZMAError, struct.error),
)


@contextlib.contextmanager
def unpacked(bundle: Path) -> Iterator[Path]:
    """The folder of a bundle's study, for as long as the context lasts.

    Raises:
        ConfigError: If the file is no bundle, or one that would write outside of its folder or fill the disk.
    """
    with tempfile.TemporaryDirectory(prefix="biformer_lit-") as place:
        try:
            with zipfile.ZipFile(bundle) as archive:
                _extract(archive, bundle, Path(place))
        except ConfigError:
            raise
        except _UNPACKING_ERRORS as error:
            raise ConfigError(f"{bundle}: cannot be unpacked ({error}); make it anew with sweep export") from None
        found = sorted(Path(place).glob(f"*/{SPEC}"))
        if len(found) != 1:
            raise ConfigError(f"{bundle}: holds {len(found)} studies, not one; make it with sweep export --bundle")
        yield found[0].parent


def _extract(archive: zipfile.ZipFile, bundle: Path, place: Path) -> None:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    size = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_FILES or size > _MOST_BYTES:
        raise ConfigError(
            f"{bundle}: {len(entries):,} files of {size:,} bytes are too many for a bundle; unpack it by hand"
        )
    for entry in entries:
        name = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        outside = not name.parts or name.is_absolute() or ".." in name.parts
        outside = outside or "\\" in entry.filename or ":" in name.parts[0]
        if outside or kind not in (0, stat.S_IFREG):
            raise ConfigError(f"{bundle}: {entry.filename!r} would be written outside of the folder; do not trust it")
        if any(part in _UNREAD for part in name.parts):
            continue
        target = place.joinpath(*name.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
