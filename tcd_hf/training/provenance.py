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
        differ from it, or `None` where it is part of no repository; `python`, and `packages` with their versions.
    """
    return {
        "tcd_hf": __version__,
        "git_revision": git_revision(Path(__file__).resolve()),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def git_revision(file: Path) -> str | None:
    """
    Revision of the repository that tracks a file. `None` where none does, as for a package installed inside another
    project's repository, or there is no git.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        return git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
