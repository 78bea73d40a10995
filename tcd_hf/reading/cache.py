"""Cache of what a video costs most, its captions: on disk, or in an object store."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.files import write_whole
from tcd_hf.reading.object_stores import is_address, read_whole, replace_whole
from tcd_hf.reading.segments import Segment

__all__ = ["CacheError", "CaptionCache", "cache_place", "default_cache_dir", "writing_to"]

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1  # raise it when the stored form of an entry changes: old entries are then never looked at


class CacheError(OSError):
    """The cache folder cannot be written; the message names it, the cause, and how to choose another."""


@contextmanager
def writing_to(folder: str | os.PathLike) -> Iterator[None]:
    """Turns an `OSError` at writing to a cache folder into a [`CacheError`]."""
    try:
        yield
    except CacheError:
        raise
    except OSError as error:
        raise CacheError(
            f"The cache folder {folder} cannot be written: {error}. Choose another with --cache-dir (`cache_dir`) or "
            "the environment variable TCD_HF_CACHE."
        ) from error


def default_cache_dir() -> Path:
    """The folder of the environment variable `TCD_HF_CACHE`, if it is one on this machine, else the user's cache folder
    for tcd-hf."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("TCD_HF_CACHE")
    return Path(chosen) if chosen and not is_address(chosen) else user_cache_path("tcd-hf", appauthor=False)


def cache_place(folder: str | os.PathLike | None = None) -> Path | str:
    """Where a cache is: a folder, or the address of one in an object store (`s3://bucket/folder`).

    Args:
        folder (`str | os.PathLike`, *optional*): either; what `TCD_HF_CACHE` says, or else [`default_cache_dir`], when
            not given.
    """
    chosen = os.environ.get("TCD_HF_CACHE") if folder is None else folder
    if chosen and is_address(chosen):
        return os.fspath(chosen).rstrip("/")
    return default_cache_dir() if folder is None else Path(folder)


class CaptionCache:
    """Captions, as JSON, by the content of the video and the settings that made them.

    An entry is written whole or not at all, so a killed process loses at most the video it was at, and several
    processes may share the folder, or machines an object store. An entry that cannot be read (a damaged disk, a foreign
    file) is a miss: it is made again and replaced. Moved and renamed videos keep their entries; a changed video gets
    new ones.

    Of a video that is cut into segments each has an entry of its own, so a killed process has lost the segment it was
    at; that of a video in one piece has the name it has always had.

    Args:
        folder (`str | os.PathLike`, *optional*): where to keep entries: a folder, created when the first entry is
            written, or an address in an object store (`s3://bucket/folder`). When not given, what `TCD_HF_CACHE` says,
            or else [`default_cache_dir`].
    """

    def __init__(self, folder: str | os.PathLike | None = None):
        self.folder = cache_place(folder)

    def load(self, content_hash: str, settings: str, segment: Segment | None = None) -> list[WindowCaption] | None:
        """The captions stored for a content hash, see [`hash_file`], and a [`caption_fingerprint`], or None.

        Args:
            content_hash (`str`), settings (`str`): what the captions are of, and what made them.
            segment ([`Segment`], *optional*): of the video; by default it is in one piece.
        """
        name = self._name(content_hash, settings, segment)
        path = f"{self.folder}/{name}" if isinstance(self.folder, str) else self.folder / name
        try:
            content = read_whole(path)[0] if isinstance(path, str) else path.read_bytes()
            return [WindowCaption.from_dict(caption) for caption in json.loads(content)]
        except FileNotFoundError:
            return None
        except ImportError as error:
            raise CacheError(f"The cache {self.folder} cannot be read: {error}") from error
        except Exception as error:  # whatever a damaged entry makes its reader raise, the answer is to make it again
            logger.warning("Cache entry %s cannot be read (%s) and is made again.", path, error)
            return None

    def save(
        self, content_hash: str, settings: str, captions: Sequence[WindowCaption], segment: Segment | None = None
    ) -> None:
        """Stores the captions of a video or of a segment of it. Raises [`CacheError`]."""
        name = self._name(content_hash, settings, segment)
        text = json.dumps([caption.to_dict() for caption in captions], ensure_ascii=False, separators=(",", ":"))
        with writing_to(self.folder):
            if isinstance(self.folder, str):
                replace_whole(f"{self.folder}/{name}", text.encode())
            else:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, text.encode())

    def _name(self, content_hash: str, settings: str, segment: Segment | None) -> str:
        folder = f"captions-{FORMAT_VERSION}/{content_hash[:2]}"
        part = f"-{segment.number:05d}-of-{segment.count:05d}" if segment is not None and segment.count > 1 else ""
        return f"{folder}/{content_hash}-{settings}{part}.json"
