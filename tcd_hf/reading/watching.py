"""Folders that are watched: which of their videos are complete, have changed, or are gone."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tcd_hf.reading.files import FileStamp, absolute_path, file_stamp, scan_videos
from tcd_hf.reading.left_out import LeftOut

__all__ = ["FolderWatch", "News", "Settling"]

logger = logging.getLogger(__name__)

STILL_SECONDS = 5.0
WAKE_SECONDS = 1.0  # between two times that it is seen to whether a look is due
LOOK_SECONDS = 60.0  # until the next look though nothing was told: file systems of a network tell nothing of others
LOOK_SHARE = 0.1  # of the time, at most, that looks may take
OUT_OF_SIGHT = FileStamp(-1, -1)  # of what is there, but tells nothing: its reader says why

Stamp = FileStamp | None  # `None` of what is gone


class News(NamedTuple):
    """What has come of watched folders. Paths are absolute, with forward slashes.

    Attributes:
        complete (`list[str]`): videos that are new or have changed, and that nobody writes any more.
        gone (`list[str]`): what is no longer there, of the paths that are kept.
        left_out (`list[LeftOut]`): what else is there, see [`LeftOut`].
    """

    complete: list[str]
    gone: list[str]
    left_out: list[LeftOut]


class Settling:
    """Tells of each path once when it has been as it is for some time, and again only after a change.

    Args:
        still_seconds (`float`): how long.
    """

    def __init__(self, still_seconds: float):
        self.still_seconds = still_seconds
        self._since: dict[str, tuple[Stamp, float]] = {}  # what each path is, and from when on
        self._told: dict[str, Stamp] = {}
        self._first = True

    def settled(self, stamps: dict[str, Stamp], now: float, clock: float) -> list[str]:
        """Takes a look at all paths.

        Args:
            stamps (`dict[str, Stamp]`): what each path is. Those that are left out are forgotten.
            now (`float`): seconds of a clock that nobody sets.
            clock (`float`): seconds since 1970. In the first look, a file has been as it is since it was changed; later
                looks trust no clock of the file system, which may be that of another machine.

        Returns:
            `list[str]`: those of which it is to be told, in the order given.
        """
        since = {}
        for path, stamp in stamps.items():
            former, begin = self._since.get(path, (stamp, -math.inf if self._first else now))
            if self._first and stamp is not None:
                begin = now - max(0.0, clock - stamp.modified / 1e9)
            since[path] = stamp, begin if former == stamp else now
        self._since, self._first = since, False
        self._told = {path: stamp for path, stamp in self._told.items() if path in stamps}
        due = [path for path in self._unsure() if now - since[path][1] >= self.still_seconds]
        self._told.update({path: since[path][0] for path in due})
        return due

    @property
    def waits(self) -> bool:
        """Whether there are paths of which it will be told if they stay as they are."""
        return any(True for _ in self._unsure())

    def _unsure(self) -> Iterator[str]:
        return (path for path, (stamp, _) in self._since.items() if path not in self._told or self._told[path] != stamp)


class FolderWatch:
    """Follows what becomes of the videos below some folders.

    What the file system tells is only a reason to look; what counts is what a look finds, as that of `scan_videos`. So
    nothing is missed that happened before, or while nobody looked, and the first look finds all that is complete. Each
    file is named once, until it changes again.

    A file is complete when its size and time stamps have been still for some time. Of one whose writer pauses for
    longer, a part is named, and later the whole. What is gone is named after it has been for as long, so that a file
    that was moved is known by its new name before. As long as a folder itself is not there, or holds no video at all,
    nothing is gone: a disk that is missing must not empty an index.

    Args:
        folders (`Sequence[str | os.PathLike]`): they must be there.
        still_seconds (`float`, *optional*, defaults to 5): how long a file must have been still.
        look_seconds (`float`, *optional*, defaults to 60): between two looks while nothing is told.

    Raises:
        ImportError: watchfiles is not installed.
        NotADirectoryError: a path that is no folder.
    """

    def __init__(
        self,
        folders: Sequence[str | os.PathLike],
        still_seconds: float = STILL_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ):
        try:
            import watchfiles
        except ImportError as error:
            raise ImportError("Watching folders needs watchfiles: pip install 'tcd-hf[watch]'.") from error
        for folder in folders:
            if not os.path.isdir(folder):
                raise NotADirectoryError(f"Only folders can be watched, and {folder} is none: name the one it is in.")
        self.folders = [Path(folder) for folder in folders]
        self.still_seconds, self.look_seconds = still_seconds, look_seconds
        self._watch = watchfiles.watch
        self._settling = Settling(self.still_seconds)
        self._problem = ""

    def news(self, kept: Callable[[], Iterable[str]] = tuple) -> Iterator[News]:
        """Waits for news, for ever. `kept` gives the paths whose going is news, at each look; none by default."""
        due = 0.0
        wakes = self._watch(
            *self.folders,
            watch_filter=None,
            rust_timeout=int(1000 * min(WAKE_SECONDS, self.still_seconds / 2)),
            yield_on_timeout=True,
        )
        has_changed = True
        for changes in wakes:  # from before the first look on, so that nothing falls between
            has_changed = has_changed or bool(changes)
            now = time.monotonic()
            pause = self.look_seconds if not (has_changed or self._settling.waits) else self.still_seconds / 2
            if now < due + pause:
                continue
            has_changed = False
            news = self._look(kept())
            due = time.monotonic() + (time.monotonic() - now) / LOOK_SHARE
            if news is not None and (news.complete or news.gone):
                yield news
                has_changed = True  # whoever took them may have had them for hours

    def _look(self, kept: Iterable[str]) -> News | None:
        """What has come since the last look; `None` where a folder is missing, or all that is in it."""
        try:
            found = scan_videos(self.folders, may_be_none=True)
        except FileNotFoundError as error:
            return self._tell(f"{error}. Nothing is added or removed until it is there again.")
        stamps: dict[str, Stamp] = {path: _stamp(path) for path in map(absolute_path, found.videos)}
        kept = [path for path in kept if path not in stamps]
        emptied = [folder for folder in self.folders if _any_below(folder, kept) and not _any_below(folder, stamps)]
        if emptied:
            folders = ", ".join(map(str, emptied))
            self._tell(f"No video is left in {folders}: nothing of it is removed until there is one again.")
            kept = [path for path in kept if not any(_any_below(folder, [path]) for folder in emptied)]
        else:
            self._problem = ""
        stamps |= dict.fromkeys(kept)
        settled = self._settling.settled(stamps, time.monotonic(), time.time())
        complete = [path for path in settled if stamps[path] is not None]
        return News(complete, [path for path in settled if stamps[path] is None], found.left_out)

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            logger.warning("%s", problem)
        self._problem = problem


def _any_below(folder: Path, paths: Iterable[str]) -> bool:
    prefix = f"{absolute_path(folder).rstrip('/')}/"
    return any(path.startswith(prefix) for path in paths)


def _stamp(path: str) -> FileStamp:
    try:
        return file_stamp(path)
    except (OSError, ValueError):
        return OUT_OF_SIGHT
