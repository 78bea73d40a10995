"""Lists that lie beside the tables of an index in a folder: one JSON object a line, written whole or not at all."""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tcd_hf.reading.files import write_whole

__all__ = ["CONTENTS_FILE", "ERRORS_FILE", "Contents", "read_errors", "read_lines", "write_errors"]

logger = logging.getLogger(__name__)

ERRORS_FILE, CONTENTS_FILE = "errors.jsonl", "videos.jsonl"


def read_lines(file: Path, *names: str) -> tuple[list[dict[str, Any]], int]:
    """The objects of a file that have strings by these names, and how many lines there are that are none such."""
    if not file.exists():
        return [], 0
    entries, num_damaged = [], 0
    for line in filter(None, file.read_bytes().split(b"\n")):
        try:
            entry = json.loads(line)
            whole = all(isinstance(entry[name], str) for name in names)
        except (ValueError, TypeError, KeyError):
            whole = False
        if whole:
            entries.append(entry)
        else:
            num_damaged += 1
    return entries, num_damaged


def write_lines(file: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Writes objects in the place of those that are there."""
    write_whole(file, "".join(json.dumps(entry) + "\n" for entry in entries).encode())


def read_errors(folder: Path) -> dict[str, str]:
    """Why files cannot be read, by path. Lines that are damaged are left out with a warning: those files are named anew
    when they are next tried."""
    entries, num_damaged = read_lines(folder / ERRORS_FILE, "path", "cause")
    if num_damaged:
        logger.warning(
            "%d lines of %s are damaged and left out; the next `add` names what cannot be read anew.",
            num_damaged,
            folder / ERRORS_FILE,
        )
    return {entry["path"]: entry["cause"] for entry in entries}


def write_errors(folder: Path, errors: Mapping[str, str]) -> None:
    """Writes `errors.jsonl`: one line per file that cannot be read now."""
    write_lines(folder / ERRORS_FILE, ({"path": path, "cause": cause} for path, cause in errors.items()))


class Contents:
    """What an index is made of, told once more beside its table, for the day when that is damaged: `videos.jsonl`.

    Attributes:
        metadata (`str`, *optional*): that of the table, as it is stored there; `None` if it is not known.
        videos (`dict[str, bool]`): the paths of its videos, and whether they were given texts of their own, which no
            file of theirs may hold; `None` if they are not known.
        version (`int`, *optional*): of the table when it was so; `None` if it is not known.
    """

    def __init__(
        self, metadata: str | None = None, videos: Mapping[str, bool] | None = None, version: int | None = None
    ):
        self.metadata, self.videos, self.version = metadata, videos, version

    @classmethod
    def read(cls, folder: Path) -> "Contents":
        """Reads what is there; of a damaged file nothing is believed."""
        file = folder / CONTENTS_FILE
        entries, num_damaged = read_lines(file)
        if not entries or num_damaged:
            return cls()
        try:
            head, *videos = entries
            if head["videos"] != len(videos):
                return cls()
            paths = {video["path"]: bool(video["own_texts"]) for video in videos}
            return cls(head["metadata"], paths, head["version"])
        except (KeyError, TypeError):
            return cls()

    def write(self, folder: Path) -> None:
        """Writes them in the place of those that are there."""
        videos = self.videos or {}
        lines: list[dict[str, Any]] = [{"metadata": self.metadata, "version": self.version, "videos": len(videos)}]
        lines += ({"path": path, "own_texts": own} for path, own in videos.items())
        write_lines(folder / CONTENTS_FILE, lines)
