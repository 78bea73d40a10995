"""Files from package registries that the checkpoint is made of: each is known by its sha256."""

import hashlib
from pathlib import Path

__all__ = ["check_digest"]


def check_digest(path: Path, sha256: str, command: str) -> None:
    """Makes sure that a file is the one meant.

    Args:
        path: the file.
        sha256: its digest, in hexadecimal.
        command: what fetches it.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is another.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; get it by: {command}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{path} has the sha256 {found}, where {sha256} was meant; get it by: {command}")
