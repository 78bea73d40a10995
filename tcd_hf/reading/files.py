"""The video files that are meant by paths, what tells that a file has changed, and how a file is written.

A path is that of a file here, or the address of one in an object store (`s3://bucket/folder/a.mp4`).
"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tcd_hf.processing.heartbeat import beat
from tcd_hf.processing.regular_files import open_regular
from tcd_hf.reading.left_out import LeftOut, describe_left_out, kind_of_no_video
from tcd_hf.reading.object_stores import holds, is_address, look_at, walk_addresses

__all__ = [
    "DIGEST_BYTES",
    "VIDEO_EXTENSIONS",
    "FileStamp",
    "FoundVideos",
    "StoppedHashing",
    "absolute_path",
    "absolute_videos",
    "file_stamp",
    "find_videos",
    "hash_bytes",
    "hash_file",
    "is_there",
    "local_folder",
    "scan_videos",
    "stamps_of",
    "walk_once",
    "write_whole",
]

# Lower case; those of `SOMETIMES_VIDEOS` are looked into.
_ENDINGS = """
    .264 .265 .3g2 .3gp .apng .asf .avi .divx .dv .f4p .f4v .flv .gif .gxf .h264 .h265 .hevc .ivf .m1v .m2p .m2t .m2ts
    .m2v .m4v .mjpeg .mjpg .mk3d .mkv .mod .mov .mp2v .mp4 .mpe .mpeg .mpg .mpv .mts .mxf .nut .obu .ogg .ogm .ogv .qt
    .rm .rmvb .tod .tp .trp .ts .vob .webm .webp .wmv .wtv .y4m
"""
VIDEO_EXTENSIONS = frozenset(_ENDINGS.split())

SETTLING_NANOSECONDS = 2_000_000_000  # the coarsest clock of a common file system (FAT) ticks every two seconds
HASH_CHUNK_BYTES = 1 << 20
LOOK_THREADS = 16  # that ask stores for stamps: each answer is waited for
DIGEST_BYTES = 20


class FileStamp(NamedTuple):
    """What changes when a file's content does, at the price of asking the file system.

    Attributes:
        size (`int`): bytes.
        modified (`int`): nanoseconds since 1970, the later one of the times of content and of status change: unlike
            the former, the latter cannot be set back by a program that copies files with their dates. Stores tell
            seconds: in the place of the rest is a number that follows from the file's ETag.
    """

    size: int
    modified: int

    @property
    def settled(self) -> bool:
        """Whether a change from now on would show: not while the clock of the file system may still stand at it."""
        return time.time_ns() - self.modified > SETTLING_NANOSECONDS


def file_stamp(path: str | os.PathLike) -> FileStamp:
    """The stamp of a file. Raises `OSError`."""
    if is_address(path):
        stored = look_at(os.fspath(path))
        return FileStamp(stored.size, stored.modified + int(hash_bytes(stored.tag.encode()), 16) % 10**9)
    status = os.stat(path)
    return FileStamp(status.st_size, max(status.st_mtime_ns, status.st_ctime_ns))


def stamps_of(paths: Iterable[str]) -> Iterator[FileStamp | None]:
    """The stamps of files, in order; `None` where there is none to be had. Stores are asked for some at a time."""

    def stamp_of(path: str) -> FileStamp | None:
        try:
            return file_stamp(path)
        except (OSError, ValueError):
            return None

    paths = list(paths)
    if not any(map(is_address, paths)):
        yield from map(stamp_of, paths)
        return
    with ThreadPoolExecutor(LOOK_THREADS) as threads:
        yield from threads.map(stamp_of, paths)


class StoppedHashing(Exception):  # no error
    """Nobody waits for the hash of a file any more."""


def hash_file(path: str | os.PathLike, is_over: Callable[[], bool] = lambda: False) -> str:
    """Hexadecimal BLAKE2b digest (20 bytes) of a file's content, read in pieces.

    Of a file in an object store nothing is read: it is that of its size and its ETag, by which a store tells one
    content from another. Copies and renamed files there have the same, as long as they were uploaded alike; a file here
    and its copy there do not.

    Args:
        path (`str | os.PathLike`): the file.
        is_over (`Callable[[], bool]`, *optional*): asked before each megabyte; once it says so, no more is read.

    Raises:
        OSError: it cannot be read, or is no regular file, see [`open_regular`].
        StoppedHashing: it was over.
    """
    if is_address(path):
        stored = look_at(os.fspath(path))
        return hash_bytes(f"{stored.size} {stored.tag or (stored.address, stored.modified)}".encode())
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with open_regular(path) as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            if is_over():
                raise StoppedHashing
            digest.update(chunk)
            beat()
    return digest.hexdigest()


def hash_bytes(content: bytes) -> str:
    """What [`hash_file`] gives for a file with this content."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


def write_whole(file: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all, in the place of one that is there. Its folder must be there."""
    temporary = file.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as stream:  # not by tempfile, whose files nobody else may read
            stream.write(content)
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def absolute_path(path: str | os.PathLike) -> str:
    """A path as indexes name it: absolute, with forward slashes; links are not followed. An address is left as it is,
    but for a slash at its end."""
    if is_address(path):
        return os.fspath(path).rstrip("/")
    return Path(os.path.abspath(path)).as_posix()


def local_folder(uri: str) -> Path | None:
    """The folder that a path or a `file://` URI names; `None` for any other URI."""
    if "://" not in uri:
        return Path(uri).expanduser().absolute()
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None


class FoundVideos(NamedTuple):
    """What a search for videos found.

    Attributes:
        videos (`list[str]`): paths, each beginning with the folder that was given.
        left_out (`list[LeftOut]`): what else was there, see [`LeftOut`].
    """

    videos: list[str]
    left_out: list[LeftOut]


def absolute_videos(paths: Iterable[str | os.PathLike] | str | os.PathLike) -> FoundVideos:
    """Paths, or one, as indexes name them; in the place of a folder all videos in it, see [`scan_videos`]. Whether they
    are there is not asked. Raises a [`VideoReadError`] for an address."""
    left_out: list[LeftOut] = []
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    _check_no_addresses(paths)
    files = _files(paths, left_out)
    return FoundVideos(list(map(absolute_path, files)), left_out)


def find_videos(paths: Iterable[str | os.PathLike]) -> list[str]:
    """Video files of folders, searched recursively in alphabetical order, and files named outright.

    A named file is taken whatever its extension, and whether it can be read is found out later. Links are followed; a
    folder is entered once and a file listed once, whatever links lead to it. Hidden files and folders are left out, and
    pictures that do not move. In an object store, whose folders are but beginnings of names, an address with the ending
    of a video is that of a file, and any other that of a folder where something lies below it.

    Args:
        paths (`Iterable[str | os.PathLike]`): folders and files, or addresses in object stores (`s3://`).

    Returns:
        `list[str]`: paths, each beginning with the folder that was given.

    Raises:
        FileNotFoundError: when a path does not exist.
        ValueError: when no video is found, or for an address of another kind (`https://`).
        OSError: an object store does not answer, or not to this user.
        ImportError: the package for an object store is not installed.
    """
    return scan_videos(paths).videos


def scan_videos(paths: Iterable[str | os.PathLike], may_be_none: bool = False) -> FoundVideos:
    """What [`find_videos`] finds, and what it leaves out. Raises what that does; not for no video if `may_be_none`.

    Example:

    ```python
    >>> describe_left_out(scan_videos(["my_clips/"]).left_out)
    'Left out 12 files that are no videos: 8 .jpg, 3 .txt, 1 still .webp'
    ```"""
    paths = [os.fspath(path) for path in paths]
    _check_no_addresses(paths)
    for path in paths:
        if not is_there(path):
            raise FileNotFoundError(f"No such file or folder: {path}")
    found: dict[str, str] = {}
    left_out: list[LeftOut] = []
    for file in _files(paths, left_out):
        found.setdefault(file if is_address(file) else os.path.realpath(file), file)
    if not found and not may_be_none:
        others = f" {describe_left_out(left_out)}." if left_out else ""
        raise ValueError(
            f"No video found in {', '.join(paths)}: looked, in all subfolders too, for files ending in "
            f"{' '.join(sorted(VIDEO_EXTENSIONS))}.{others} Name a file outright to have it read whatever its ending."
        )
    return FoundVideos(list(found.values()), left_out)


def _check_no_addresses(paths: Iterable[str | os.PathLike]) -> None:
    from tcd_hf.processing.video_files import check_no_address  # with numpy: not for who asks for help

    for path in paths:
        if not is_address(path):
            check_no_address(path)


def is_there(path: str) -> bool:
    """Whether there is a file or a folder. Of an object store an `OSError` may be raised, as it may not answer."""
    return holds(path) if is_address(path) else os.path.lexists(path)


def _files(paths: Iterable[str | os.PathLike], left_out: list[LeftOut]) -> Iterator[str]:
    """Paths, and in the place of a folder the videos in it; a folder is entered once."""
    entered: set[str] = set()
    for path in paths:
        if is_address(path):
            yield from _walk_store(os.fspath(path), left_out)
        else:
            yield from _walk(os.fspath(path), entered, left_out) if os.path.isdir(path) else [os.fspath(path)]


def _walk_store(address: str, left_out: list[LeftOut]) -> Iterator[str]:
    """The videos below an address; itself, if there are no files below it."""
    files = iter(()) if os.path.splitext(address)[1].lower() in VIDEO_EXTENSIONS else walk_addresses(address)
    if (first := next(files, None)) is None:
        yield address
        return
    for file in (first, *files):
        below = file.address[len(address.rstrip("/")) + 1 :]
        hidden = any(part.startswith(".") for part in below.split("/"))
        kind = "hidden" if hidden else kind_of_no_video(file.address, VIDEO_EXTENSIONS)
        if kind is None:
            yield file.address
        else:
            left_out.append(LeftOut(file.address, kind))


def walk_once(folder: str, entered: set[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """What `os.walk` gives, sorted and links followed, of each folder once; `entered` are those that were seen."""
    for current, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(current)
        if real in entered:  # a link back, or the same folder named twice
            folders.clear()
            continue
        entered.add(real)
        folders.sort()
        yield current, folders, sorted(files)


def _walk(folder: str, entered: set[str], left_out: list[LeftOut]) -> Iterator[str]:
    for current, folders, files in walk_once(folder, entered):
        for name in [*folders, *files]:
            if name.startswith("."):
                left_out.append(LeftOut(os.path.join(current, name), "hidden"))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (os.path.join(current, name) for name in files if not name.startswith(".")):
            kind = kind_of_no_video(path, VIDEO_EXTENSIONS)
            if kind is None:
                yield path
            else:
                left_out.append(LeftOut(path, kind))
