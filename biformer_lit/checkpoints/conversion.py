"""Rewrite a file of weights as safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from biformer_lit.checkpoints.saved_weights import METADATA, Copy, read_weights
from biformer_lit.common.files import durable
from biformer_lit.errors import CheckpointError


def convert_checkpoint(source: str | Path, destination: str | Path, *, copy: Copy | None = None) -> str:
    """Rewrite a checkpoint as safetensors with our parameter names.

    What one of our checkpoints says of its classes, its preprocessing and the plug-ins it needs is kept as metadata.

    Args:
        source: Any file that :func:`biformer_lit.load_weights` reads.
        destination: The ``.safetensors`` file to make; an existing one is never overwritten.
        copy: As in :func:`biformer_lit.load_weights`.

    Returns:
        Which weights were written, for people.

    Raises:
        CheckpointError: If the source cannot be read or the destination exists or is not ``.safetensors``.
    """
    destination = Path(destination)
    if destination.suffix != ".safetensors":
        raise CheckpointError(f"{destination}: the result is a .safetensors file; give it that suffix")
    if destination.exists():
        raise CheckpointError(f"{destination}: exists already; remove it or choose another name")
    if not destination.parent.is_dir():
        raise CheckpointError(f"{destination}: the folder {destination.parent} does not exist; make it first")
    saved = read_weights(source)
    state_dict, description = saved.weights(copy)
    try:
        with durable(destination) as file:
            save_file(
                {key: tensor.contiguous() for key, tensor in state_dict.items()},
                file.name,
                metadata=_metadata(saved.said),
            )
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{destination}: cannot be written ({error}); choose another place") from None
    return description


def _metadata(said: Mapping[str, Any]) -> dict[str, str]:
    """Return what a file says of its weights as text by name."""
    return {name: json.dumps(said[name]) for name in METADATA if isinstance(said.get(name), list | dict)}
