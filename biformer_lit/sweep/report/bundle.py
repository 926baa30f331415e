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
from biformer_lit.sweep.trials.study import SPEC
from biformer_lit.text.escaping import visible

_MOST_FILES = 200_000
_MOST_BYTES = 8 * 2**30  # unpacked
_MOST_TEXT = 64 * 2**20  # of one file that is read as text: 300 epochs with the scores of 150 classes have 4 MB
_TEXTS = (".json", ".jsonl", ".yaml", ".csv", ".log", ".md", ".tex", ".html")
_MOST_RATIO = 200  # of unpacked to packed size; text of trials has 5 to 50
_SMALL = 2**20  # a file that may be packed as tightly as it likes
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
            raise ConfigError(f"{bundle}: cannot be unpacked ({error}); create it again with sweep export") from None
        found = sorted(Path(place).glob(f"*/{SPEC}"))
        if len(found) != 1:
            raise ConfigError(f"{bundle}: holds {len(found)} studies, not one; make it with sweep export --bundle")
        yield found[0].parent


def _extract(archive: zipfile.ZipFile, bundle: Path, place: Path) -> None:
    inside = [entry for entry in archive.infolist() if not entry.is_dir()]
    entries = [entry for entry in inside if not set(PurePosixPath(entry.filename).parts) & set(_UNREAD)]
    size = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_FILES or size > _MOST_BYTES:
        raise ConfigError(
            f"{bundle}: {len(entries):,} files of {size:,} bytes are too many for a bundle; unpack it by hand"
        )
    for entry in entries:
        _check_size(entry, bundle)
    for entry in inside:
        name = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        outside = not name.parts or name.is_absolute() or ".." in name.parts
        outside = outside or "\\" in entry.filename or ":" in name.parts[0]
        if outside or kind not in (0, stat.S_IFREG):
            raise ConfigError(f"{bundle}: {entry.filename!r} would be written outside of the folder; do not trust it")
        if entry not in entries:
            continue
        target = place.joinpath(*name.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)


def _check_size(entry: zipfile.ZipInfo, bundle: Path) -> None:
    """Refuse a file that claims, or is packed for, more than a study writes; zipfile itself holds it to its claim."""
    text = PurePosixPath(entry.filename).suffix in _TEXTS
    if text and entry.file_size > _MOST_TEXT:
        limit = f"at most {_MOST_TEXT:,} are read of a text file"
    elif entry.file_size > max(_SMALL, _MOST_RATIO * entry.compress_size):
        limit = f"they are packed into {entry.compress_size:,}, as no study's files are"
    else:
        return
    raise ConfigError(
        f"{bundle}: {visible(entry.filename, 200)} has {entry.file_size:,} bytes: {limit}; do not trust it"
    )
