"""Checkpoints written so that neither a kill, a power cut nor a full disk costs the last one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from lightning.fabric.plugins import TorchCheckpointIO
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from biformer_lit.checkpoints.damage import previous_of
from biformer_lit.checkpoints.file_contents import read_contents
from biformer_lit.common.files import durable, remove_unfinished
from biformer_lit.errors import DiskFullError, is_disk_full


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's way of saving and loading checkpoints, made safe for local files.

    Lightning collects a checkpoint in memory, writes it into the system's temporary folder and moves it from there,
    which between two disks is a copy over the old file. Here it is streamed into a hidden file beside the old one,
    forced onto the disk, and renamed. The command line puts this in place of Lightning's own; in Python it is
    ``Trainer(plugins=[AtomicCheckpointIO()])``. Paths such as ``s3://...`` still go Lightning's way.

    A file named ``last...`` that is replaced stays as ``last.ckpt.previous``, as a second name of the same data.

    Args:
        keep_previous: Whether it does; costs the room of one more checkpoint.
    """

    def __init__(self, keep_previous: bool = True) -> None:
        self.keep_previous = keep_previous

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint, the whole or nothing.

        Args:
            checkpoint: What to save.
            path: Where to; folders are made.
            storage_options: Not taken, as in Lightning.

        Raises:
            DiskFullError: If there is no room; the file that was there is as it was.
        """
        local = _local(path)
        if local is None or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        keep = previous_of(local) if self.keep_previous and local.name.startswith("last") else None
        try:
            local.parent.mkdir(parents=True, exist_ok=True)
            with durable(local, keep) as file:
                _stream(checkpoint, file)
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise DiskFullError(_no_room(local, checkpoint, error)) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; of a local file the checksums and the claims are looked at first.

        Args:
            path: From where.
            map_location: As in ``torch.load``.
            weights_only: As in ``torch.load``, but None is True wherever the file is from. With False the file is read
                as Lightning reads it, and the code in it is run.

        Raises:
            CheckpointError: If a local file is damaged or holds code; another that may be used instead is named.
        """
        local = _local(path)
        if local is not None and local.is_file() and weights_only is not False:
            return read_contents(local, resume=True, map_location=map_location).entries
        contents: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only is not False)
        return contents

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, the one that it had replaced, and what killed processes left of it."""
        super().remove_checkpoint(path)
        if (local := _local(path)) is not None:
            previous_of(local).unlink(missing_ok=True)
            remove_unfinished(local)


class _Recorder:
    """Hands what ``torch.save`` writes on to a file, and remembers the error, of which torch tells only that it was."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is not None:  # torch ends its file all the same
            raise self.error
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _stream(checkpoint: dict[str, Any], file: IO[bytes]) -> None:
    recorder = _Recorder(file)
    try:
        torch.save(checkpoint, recorder)  # type: ignore[arg-type]  # it calls no more of a file than these
    except Exception:
        if recorder.error is None:
            raise
    if recorder.error is not None:  # out of the handler: the error that torch made of it must not be its context
        raise recorder.error


def _local(path: str | Path) -> Path | None:
    """A path as one of this machine's, None if it is elsewhere."""
    system, place = url_to_fs(str(path))
    return Path(place) if isinstance(system, LocalFileSystem) else None


def _no_room(path: Path, checkpoint: dict[str, Any], error: OSError) -> str:
    sizes: list[int] = []
    apply_to_collection(checkpoint, Tensor, lambda tensor: sizes.append(tensor.nbytes + 512))  # and its entry
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    kept = f"; {path.name} is still the one before" if path.exists() else ""
    return (
        f"{path.parent}: {(error.strerror or str(error)).lower()}: a checkpoint takes about {sum(sizes) / 1e6:,.1f} MB "
        f"and {free / 1e6:,.1f} MB are free{kept}; make room and go on with --ckpt_path, or write elsewhere "
        "(trainer.default_root_dir, a logger's save_dir)"
    )
