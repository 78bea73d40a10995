"""Files in object stores, by their addresses (`s3://bucket/folder/a.mp4`): listed, read by ranges, written whole.

fsspec opens the stores, by the package that it has for each: s3fs for `s3://`. Credentials, endpoint and region are
those of the environment; nothing of them is told or logged here.
"""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from tcd_hf.processing.heartbeat import beat

if TYPE_CHECKING:
    from tcd_hf.processing.video_files import VideoReadError

__all__ = [
    "ADDRESS",
    "RangedFile",
    "StoredFile",
    "check_store",
    "file_at",
    "holds",
    "is_address",
    "look_at",
    "open_ranges",
    "read_whole",
    "replace_whole",
    "walk_addresses",
]

ADDRESS = re.compile("(s3|gs|az)://", re.IGNORECASE)
EXTRAS = {"s3": "tcd-hf[s3]", "gs": "gcsfs", "az": "adlfs"}
# A store that does not answer is asked again: once by botocore, for each of five times that s3fs does.
CONNECT_SECONDS, READ_SECONDS = 10, 30
# What botocore and aiohttp raise, by their names, and what there is to tell of it.
CAUSES = {
    "the environment holds no credentials for it": ("NoCredentials", "PartialCredentials"),
    "nobody answers there": ("EndpointConnection",),
    "it did not answer in time": ("Timeout",),
    "the connection broke off": ("HTTPClient", "ConnectionClosed", "Payload", "Incomplete", "ResponseParser"),
}
REFUSED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")  # what S3 says where another has written
MAX_TOLD = 200  # characters of what else a store says
BLOCK_BYTES, BLOCKS_HELD = 4 << 20, 16  # of a file that is read: what is asked for at once, and what is kept of it


class StoredFile(NamedTuple):
    """What a store tells of a file, without its content.

    Attributes:
        address (`str`): where it is.
        size (`int`): bytes.
        modified (`int`): when it was written, nanoseconds since 1970; stores tell it in seconds.
        tag (`str`): what the store gives another for other content (ETag); empty if it gives none.
    """

    address: str
    size: int
    modified: int
    tag: str


def is_address(path: str | os.PathLike) -> bool:
    """Whether a path is the address of a file or a folder in an object store."""
    return bool(ADDRESS.match(os.fspath(path)))


def check_store(address: str) -> None:
    """Raises `ImportError` where the package is missing that opens the store of an address."""
    _store(address)


def holds(address: str) -> bool:
    """Whether there is a file of this address, or one below it. Raises `OSError`: the store does not answer."""
    with _telling(address):
        return _store(address).exists(_key(address).rstrip("/"))


def look_at(address: str) -> StoredFile:
    """Looks at a file; nothing of it is read. Raises `FileNotFoundError`, `PermissionError` and other `OSError`."""
    with _telling(address):
        return _described(address, _store(address).info(_key(address)))


def read_whole(address: str) -> tuple[bytes, str]:
    """The content of a small file and its tag. Raises `FileNotFoundError` and other `OSError`."""
    with _telling(address):
        store, key = _store(address), _key(address)
        tag = _described(address, store.info(key)).tag
        return store.cat_file(key), tag


def replace_whole(address: str, content: bytes, tag: str | None = None) -> bool:
    """Writes a file that is there whole or not at all, in the place of one that is there.

    Args:
        address (`str`): of the file; there are no folders to be made.
        content (`bytes`): all of it.
        tag (`str`, *optional*): that of the file that is replaced, empty for none; any one by default. S3 refuses to
            write where another has written meanwhile; of other stores the later writer stays.

    Returns:
        `bool`: whether it was written.

    Raises:
        OSError: it cannot be written.
    """
    store, key = _store(address), _key(address)
    condition: dict[str, Any] = {}
    if tag is not None and address[:2].lower() == "s3":
        condition = {"IfMatch": tag} if tag else {"mode": "create"}
    try:
        with _telling(address):
            store.pipe_file(key, content, **condition)
    except OSError as error:
        if condition and _is_refused(error):
            return False
        raise
    return True


def walk_addresses(folder: str) -> Iterator[StoredFile]:
    """All files below an address, by name, in the order of their names; none if there are none.

    A key may be anything: one that is no path below the folder, as of `..` or of two slashes, is passed over.
    """
    with _telling(folder):
        prefix = _key(folder).rstrip("/") + "/"
        found = _store(folder).find(prefix, detail=True)
    scheme = folder.partition("://")[0]
    for key in sorted(found):
        if key.startswith(prefix) and is_plain(key[len(prefix) :]):
            yield _described(f"{scheme}://{key}", found[key])


class RangedFile(io.RawIOBase):
    """A file that is read in any order, some megabytes at a time, of which the last ones are kept in memory.

    Args:
        address (`str`): where it is.
        file (`BinaryIO`): of fsspec.

    Attributes:
        name (`str`): the address.
        error (`OSError`, *optional*): what kept it from being read, if anything did: it seems to end there. Whoever
            reads it asks for that in the end. To raise it would not do: PyAV prints it, and goes on all the same.
    """

    def __init__(self, address: str, file: BinaryIO):
        self.name, self.error = address, None
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Bytes from where it stands; at its end none, and where it cannot be read, see `error`."""
        if self.error is not None:
            return b""
        beat()  # it may take its time
        try:
            with _telling(self.name):
                return self._file.read(size)
        except OSError as error:
            self.error = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a place; nothing is read."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place where it stands."""
        return self._file.tell()

    def check(self) -> None:
        """Raises [`VideoReadError`] if its store did not give all that was asked for: to readers a file ends where its
        store gives no more, and of that they may say anything, or nothing."""
        if self.error is not None:
            raise _not_given(self.name, self.error) from self.error

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Forgets what was read."""
        self._file.close()
        super().close()


def open_ranges(address: str) -> RangedFile:
    """A file, opened to be read by ranges. Raises `OSError`: it is not there, or cannot be read."""
    with _telling(address):
        options = {"cache_type": "blockcache", "cache_options": {"maxblocks": BLOCKS_HELD}}
        return RangedFile(address, _store(address).open(_key(address), "rb", block_size=BLOCK_BYTES, **options))


@contextmanager
def file_at(path: str | os.PathLike) -> Iterator[Any]:
    """What reads a video from wherever it lies: a path itself, of an address the file, open to be read by ranges.

    Raises:
        VideoReadError: its store does not give it.
        ImportError: the package for the store is missing.
    """
    if not is_address(path):
        yield path
        return
    address = os.fspath(path)
    try:
        file = open_ranges(address)
    except (OSError, ValueError) as error:
        raise _not_given(address, error) from error
    with file:
        try:
            yield file
        finally:
            file.check()


def is_plain(key: str) -> bool:
    """Whether a key reads as a path below where it is: no part of it is empty, `.` or `..`."""
    return all(part not in ("", ".", "..") for part in key.split("/"))


def _store(address: str) -> Any:
    """The file system of fsspec for a store, which it makes once."""
    import fsspec

    scheme = address.partition("://")[0].lower()
    options: dict[str, Any] = {"use_listings_cache": False}  # others write there, too
    if scheme == "s3":
        patience = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": {"max_attempts": 1}}
        # What LanceDB reads besides what botocore does.
        endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        options |= {"endpoint_url": endpoint, "config_kwargs": patience}
        options |= {"client_kwargs": {"region_name": region} if region else {}}
    try:
        return fsspec.filesystem(scheme, **options)
    except ImportError as error:
        package = EXTRAS[scheme]
        raise ImportError(f"Files at {scheme}:// need a package: pip install '{package}' ({error}).") from error


def _key(address: str) -> str:
    """Bucket and key. Raises `ValueError` for what is no path in a bucket."""
    key = address.partition("://")[2]
    if not is_plain(key.rstrip("/")):
        raise ValueError(f"{address} is no address of a file or a folder: a part of its path is empty, . or ...")
    return key


def _described(address: str, told: dict[str, Any]) -> StoredFile:
    if told.get("type") == "directory":
        raise FileNotFoundError(2, "There is no such file", address)
    times = (told.get(name) for name in ("LastModified", "last_modified", "updated", "mtime"))
    modified = next((time for time in times if hasattr(time, "timestamp")), None)
    tags = (told.get(name) for name in ("ETag", "etag", "md5Hash"))
    tag = next((str(tag) for tag in tags if tag), "")
    return StoredFile(address, int(told["size"]), int(modified.timestamp()) * 10**9 if modified else 0, tag)


def _not_given(address: str, error: OSError | ValueError) -> "VideoReadError":
    from tcd_hf.processing.video_files import VideoReadError  # with numpy, for which no command need wait

    return VideoReadError(address, f"its store does not give it ({error})", "Try again")


@contextmanager
def _telling(address: str) -> Iterator[None]:
    """Turns whatever a store raises into an `OSError`."""
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        what = "There is no such file" if isinstance(error, FileNotFoundError) else "It may not be read or written"
        raise type(error)(error.errno or 0, what, address) from error
    except (ImportError, ValueError):
        raise
    except Exception as error:
        known = (words for words, kinds in CAUSES.items() if any(kind in type(error).__name__ for kind in kinds))
        told = (str(error).splitlines() or [type(error).__name__])[0][:MAX_TOLD].rstrip(".")
        raise ConnectionError(next(known, told)) from error


def _is_refused(error: BaseException | None) -> bool:
    """Whether a store says that another file is there than the one that was to be replaced."""
    while error is not None:
        answer = getattr(error, "response", None) or {}
        if answer.get("Error", {}).get("Code") in REFUSED:
            return True
        error = error.__cause__
    return False
