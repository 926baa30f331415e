"""Damage to files of checkpoints, found by their checksums, and the files beside them. Needs no PyTorch."""

import struct
import zipfile
import zlib
from pathlib import Path

_PREVIOUS = ".previous"
_SUFFIX = ".ckpt"
_MOST_PACKED = 10  # times its own size that a compressed file may unpack to: weights hardly pack at all


def previous_of(path: Path) -> Path:
    """Return the path to which the checkpoint replaced by ``path`` is moved: ``last.ckpt.previous``."""
    return path.with_name(path.name + _PREVIOUS)


def damage(path: Path) -> str | None:
    """Return what is wrong with the bytes of a file that ``torch.save`` wrote, or None.

    Such a file is a zip file with a checksum for each tensor. ``torch.load`` does not look at these, and takes a
    flipped bit for another weight. Files of other kinds have no checksums: None, and their readers judge.

    Args:
        path: An existing file.

    Raises:
        OSError: If it cannot be opened.
    """
    with path.open("rb") as file:
        start = file.read(2)
    if start != b"PK" and not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if claims := _claims(archive, path.stat().st_size):
                return claims
            bad = archive.testzip() or next((one.filename for one in archive.infolist() if _is_mislabelled(one)), None)
    except zipfile.BadZipFile as error:
        return "incomplete" if "not a zip file" in str(error) else str(error)
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, OverflowError, struct.error, zlib.error) as error:
        return str(error) or type(error).__name__
    return None if bad is None else f"{bad} differs from its checksum"


def _claims(archive: zipfile.ZipFile, size: int) -> str | None:
    """Return what a file claims to hold beyond its size, or None; ``torch.save`` does not compress."""
    entries = archive.infolist()
    stored = sum(one.file_size for one in entries if one.compress_type == zipfile.ZIP_STORED)
    packed = sum(one.file_size for one in entries if one.compress_type != zipfile.ZIP_STORED)
    if stored > size or packed > _MOST_PACKED * size:
        return f"its entries claim {stored + packed:,} bytes, in a file of {size:,}"
    return None


def _is_mislabelled(entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry claims what ``torch.save`` never writes; its label has no checksum of its own.

    ``torch.load`` takes an entry with the mark of a folder for an empty one, and leaves the tensor to chance.
    """
    is_folder = bool(entry.external_attr & 0x10)
    stored = entry.compress_type == zipfile.ZIP_STORED
    return is_folder is not entry.is_dir() or (stored and entry.compress_size != entry.file_size)


def is_checkpoint_name(path: Path) -> bool:
    """Return whether a file is named as a run's checkpoint, or as one that was replaced."""
    return path.name.removesuffix(_PREVIOUS).endswith(_SUFFIX)


def neighbours(path: Path) -> list[Path]:
    """List the other checkpoints in the folder of ``path``: the one that it had replaced, then the newest first."""
    others = [one for ending in (_SUFFIX, _SUFFIX + _PREVIOUS) for one in path.parent.glob(f"*{ending}")]
    others = [one for one in others if one.is_file() and one.name != path.name]
    return sorted(others, key=lambda one: (one == previous_of(path), one.stat().st_mtime_ns), reverse=True)
