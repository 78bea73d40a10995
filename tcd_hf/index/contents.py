"""Lists that lie beside the tables of an index: one JSON object a line, written whole or not at all."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tcd_hf.reading.files import write_whole
from tcd_hf.reading.object_stores import read_whole, replace_whole

__all__ = [
    "CONTENTS_FILE",
    "ERRORS_FILE",
    "Contents",
    "change_errors",
    "read_errors",
    "read_lines",
    "read_stored_errors",
    "write_errors",
]

logger = logging.getLogger(__name__)

ERRORS_FILE, CONTENTS_FILE = "errors.jsonl", "videos.jsonl"
TRIES = 8  # to change a list that others change


def read_lines(file: Path, *names: str) -> tuple[list[dict[str, Any]], int]:
    """The objects of a file that have strings by these names, and how many lines there are that are none such."""
    return parse_lines(file.read_bytes(), *names) if file.exists() else ([], 0)


def parse_lines(content: bytes, *names: str) -> tuple[list[dict[str, Any]], int]:
    """What [`read_lines`] gives of the content of a file."""
    entries, num_damaged = [], 0
    for line in filter(None, content.split(b"\n")):
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
    write_whole(file, _as_lines(entries))


def read_errors(folder: Path) -> dict[str, str]:
    """Why files cannot be read, by path. Lines that are damaged are left out with a warning: those files are named anew
    when they are next tried."""
    file = folder / ERRORS_FILE
    return _errors_of(file.read_bytes(), str(file)) if file.exists() else {}


def write_errors(folder: Path, errors: Mapping[str, str]) -> None:
    """Writes `errors.jsonl`: one line per file that cannot be read now."""
    write_lines(folder / ERRORS_FILE, _error_entries(errors))


def read_stored_errors(uri: str) -> tuple[dict[str, str], str]:
    """What [`read_errors`] gives of an index on an object store, and the tag of its file, see [`StoredFile`]."""
    address = f"{uri.rstrip('/')}/{ERRORS_FILE}"
    try:
        content, tag = read_whole(address)
    except FileNotFoundError:
        return {}, ""
    return _errors_of(content, address), tag


def change_errors(uri: str, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """Changes the list of an index on an object store; once more, if another has meanwhile.

    Args:
        uri (`str`): of the index.
        change (`Callable`): what the list is to be, by what it is.

    Raises:
        OSError: it cannot be read or written, or others change it again and again.
    """
    for _ in range(TRIES):
        errors, tag = read_stored_errors(uri)
        changed = change(errors)
        if changed == errors:
            return
        if replace_whole(f"{uri.rstrip('/')}/{ERRORS_FILE}", _as_lines(_error_entries(changed)), tag):
            return
    raise ConnectionError(f"others write to {ERRORS_FILE} again and again")


def _errors_of(content: bytes, file: str) -> dict[str, str]:
    entries, num_damaged = parse_lines(content, "path", "cause")
    if num_damaged:
        told = "%d lines of %s are damaged and left out; the next `add` names what cannot be read anew."
        logger.warning(told, num_damaged, file)
    return {entry["path"]: entry["cause"] for entry in entries}


def _error_entries(errors: Mapping[str, str]) -> Iterable[Mapping[str, str]]:
    return ({"path": path, "cause": cause} for path, cause in errors.items())


def _as_lines(entries: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


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
