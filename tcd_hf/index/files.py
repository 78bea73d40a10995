"""Which files a search looks at."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["VIDEO_EXTENSIONS", "find_videos"]

VIDEO_EXTENSIONS = frozenset(  # lower case
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # noqa: SIM905
)


def find_videos(paths: Iterable[str | os.PathLike]) -> list[str]:
    """Video files of folders, searched recursively in alphabetical order, and files named outright.

    A named file is taken whatever its extension, and whether it can be read is found out later. Links are followed; a
    folder is entered once and a file listed once, whatever links lead to it. Hidden files and folders are left out.

    Args:
        paths (`Iterable[str | os.PathLike]`): folders and files.

    Returns:
        `list[str]`: paths, each beginning with the folder that was given.

    Raises:
        FileNotFoundError: when a path does not exist.
        ValueError: when no video is found.
    """
    paths = [os.fspath(path) for path in paths]
    for path in paths:
        if not os.path.exists(path):
            raise FileNotFoundError(f"No such file or folder: {path}")
    found: dict[str, str] = {}
    entered: set[str] = set()
    for path in paths:
        for file in _walk(path, entered) if os.path.isdir(path) else [path]:
            found.setdefault(os.path.realpath(file), file)
    if not found:
        raise ValueError(
            f"No video found in {', '.join(paths)}: looked, in all subfolders too, for files ending in "
            f"{' '.join(sorted(VIDEO_EXTENSIONS))}. Name a file outright to have it read whatever its ending."
        )
    return list(found.values())


def _walk(folder: str, entered: set[str]) -> Iterator[str]:
    for current, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(current)
        if real in entered:  # a link back, or the same folder named twice
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in VIDEO_EXTENSIONS and not name.startswith("."):
                yield os.path.join(current, name)
