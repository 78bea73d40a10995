"""Where a trained model comes from: the code, and the versions of what it stands on."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from tcd_hf.version import __version__

__all__ = ["provenance"]

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "safetensors", "numpy")


def provenance() -> dict:
    """
    Returns:
        `dict` with `tcd_hf`, the version of this package; `git_revision` of its source, with `-dirty` where files
        differ from it, or `None` outside a repository; `python`, and `packages` with their versions.
    """
    return {
        "tcd_hf": __version__,
        "git_revision": git_revision(Path(__file__).resolve().parent),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def git_revision(folder: Path) -> str | None:
    """Revision of the repository that a folder is in; `None` where there is none, or no git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
