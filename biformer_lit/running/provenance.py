"""Code, libraries and machine that a figure comes from."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("biformer_lit", "lightning", "timm", "torchmetrics", "torchvision", "datasets", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python, torch, CUDA (where torch has it) and the libraries that figures depend on."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    if torch.version.cuda is not None:
        found["cuda"] = torch.version.cuda
    return found | {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that was never installed
        return "unknown"


def git_commit() -> str | None:
    """The commit of this package's checkout, ``-dirty`` if files differ from it; None if it is no checkout."""
    git, package = shutil.which("git"), Path(__file__).parent.parent
    if git is None:
        return None
    # installed in an environment inside another checkout, git would report that one's commit
    if _said([git, "ls-files", "--error-unmatch", "__init__.py"], package) is None:
        return None
    return _said([git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"], package)


def _said(command: list[str], folder: Path) -> str | None:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # reading must not block a commit
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def device_name(device: torch.device, count: int) -> str:
    """Return the device of a run of ``count`` processes: ``cpu``, ``NVIDIA H200``, ``2 x NVIDIA H200``."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return name if count == 1 else f"{count} x {name}"
