"""Cache on disk of what a video costs most: its captions."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["CacheError", "VideoCache", "default_cache_dir", "fingerprint", "hash_file"]

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1  # raise it when the stored form of an entry changes: old entries are then never looked at
HASH_CHUNK_BYTES = 1 << 20


class CacheError(OSError):
    """The cache folder cannot be written; the message names it, the cause, and how to choose another."""


def default_cache_dir() -> Path:
    """The folder of the environment variable `TCD_HF_CACHE`, else the user's cache folder for tcd-hf."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("TCD_HF_CACHE") or user_cache_path("tcd-hf", appauthor=False))


def hash_file(path: str | os.PathLike) -> str:
    """Hexadecimal BLAKE2b digest (20 bytes) of a file's content, read in pieces. Raises `OSError`."""
    digest = hashlib.blake2b(digest_size=20)
    with open(path, "rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Short digest of settings of JSON types, the same for the same settings in any order."""
    text = json.dumps({"format": FORMAT_VERSION, **settings}, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class VideoCache:
    """Captions, as JSON, by the content of the video and the settings that made them.

    An entry is written whole or not at all, so a killed process loses at most the video it was at, and several
    processes may share the folder. An entry that cannot be read (a damaged disk, a foreign file) is a miss: it is made
    again and replaced. Moved and renamed videos keep their entries; a changed video gets new ones.

    Args:
        folder (`str | os.PathLike`, *optional*): where to keep entries; [`default_cache_dir`] when not given. Created
            when the first entry is written.
    """

    def __init__(self, folder: str | os.PathLike | None = None):
        self.folder = Path(folder) if folder is not None else default_cache_dir()

    def load_captions(self, content_hash: str, settings: str) -> list[WindowCaption] | None:
        """The captions stored for a content hash and a settings fingerprint, or None."""
        path = self._path(content_hash, settings)
        try:
            return [WindowCaption.from_dict(caption) for caption in json.loads(path.read_bytes())]
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged entry makes its reader raise, the answer is to make it again
            logger.warning("Cache entry %s cannot be read (%s) and is made again.", path, error)
            return None

    def save_captions(self, content_hash: str, settings: str, captions: Sequence[WindowCaption]) -> None:
        """Stores a video's captions. Raises [`CacheError`]."""
        path = self._path(content_hash, settings)
        text = json.dumps([caption.to_dict() for caption in captions], ensure_ascii=False, separators=(",", ":"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise CacheError(
                f"The cache folder {self.folder} cannot be written: {error}. Choose another with --cache-dir "
                "(`cache_dir`) or the environment variable TCD_HF_CACHE."
            ) from error

    def _path(self, content_hash: str, settings: str) -> Path:
        return self.folder / "captions" / content_hash[:2] / f"{content_hash}-{settings}.json"
