"""Files of checkpoints: whether one is whole, and which other one there is if it is not. PyTorch is imported late."""

import struct
import warnings
import zipfile
import zlib
from pathlib import Path

_PREVIOUS = ".previous"
_SUFFIX = ".ckpt"
_MOST_PACKED = 10  # times its own size that a compressed file may unpack to: weights hardly pack at all


def previous_of(path: Path) -> Path:
    """Where the checkpoint stays that ``path`` has replaced: ``last.ckpt.previous``."""
    return path.with_name(path.name + _PREVIOUS)


def damage(path: Path) -> str | None:
    """What is wrong with the bytes of a file that ``torch.save`` wrote, or None.

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
    """What a file claims to hold beyond what it can, or None. ``torch.save`` compresses nothing."""
    entries = archive.infolist()
    stored = sum(one.file_size for one in entries if one.compress_type == zipfile.ZIP_STORED)
    packed = sum(one.file_size for one in entries if one.compress_type != zipfile.ZIP_STORED)
    if stored > size or packed > _MOST_PACKED * size:
        return f"its entries claim {stored + packed:,} bytes, in a file of {size:,}"
    return None


def _is_mislabelled(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry claims what ``torch.save`` never writes; its label has no checksum of its own.

    ``torch.load`` takes an entry with the mark of a folder for an empty one, and leaves the tensor to chance.
    """
    is_folder = bool(entry.external_attr & 0x10)
    stored = entry.compress_type == zipfile.ZIP_STORED
    return is_folder is not entry.is_dir() or (stored and entry.compress_size != entry.file_size)


def whole_instead(path: Path, *, resume: bool = False) -> str | None:
    """What to say of the checkpoint that may be used instead of a damaged one; None if there is none.

    It is the one that the damaged one had replaced, or else the newest in its folder, and has been read as a whole.

    Args:
        path: The damaged checkpoint; a file that is not named ``.ckpt`` is no run's, and has no other beside it.
        resume: Whether training is to go on from it.
    """
    if not path.name.removesuffix(_PREVIOUS).endswith(_SUFFIX):
        return None
    others = [one for ending in (_SUFFIX, _SUFFIX + _PREVIOUS) for one in path.parent.glob(f"*{ending}")]
    others = [one for one in others if one.is_file() and one.name != path.name]
    for other in sorted(others, key=lambda one: (one == previous_of(path), one.stat().st_mtime_ns), reverse=True):
        place = _place(other, resume)
        if place is not None:
            return f"{other} is whole ({place}): give that instead"
    return None


def _place(path: Path, resume: bool) -> str | None:
    """Where in training a checkpoint was made, None if it is not a whole one of a run."""
    import torch  # noqa: PLC0415

    try:
        if not zipfile.is_zipfile(path) or damage(path):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            contents = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # noqa: BLE001  # whatever is wrong with it, it is not what is to be offered
        return None
    wanted = {"state_dict", "hyper_parameters", "epoch", "global_step"} | ({"optimizer_states"} if resume else set())
    if not isinstance(contents, dict) or not wanted <= contents.keys():
        return None
    return f"epoch {contents['epoch']}, step {contents['global_step']}"
