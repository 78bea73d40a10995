"""How far the reading of videos is: seconds of video, how fast, and how long it will take."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tcd_hf.clock import clock
from tcd_hf.index.ingest import ReadingProgress

__all__ = ["Progress", "progress_bar"]


class Progress:
    """Adds up what is read of some videos.

    How long a video lasts is known when it is opened; until then it counts by the size of its file.

    Args:
        paths (`Iterable[str]`): videos.

    Attributes:
        seconds (`float`): of video that were read.
        num_done (`int`): videos that are done, read or not.
    """

    def __init__(self, paths: Iterable[str]):
        self.seconds = 0.0
        self.num_done = 0
        self._sizes = {path: _size(path) for path in paths}
        self._total = sum(self._sizes.values())
        self._read: dict[str, float] = {}  # bytes
        self._seconds: dict[str, float] = {}
        self._begin: float | None = None

    def __len__(self) -> int:
        return len(self._sizes)

    def advance(self, progress: ReadingProgress) -> None:
        """Takes note of a segment that was read."""
        path = progress.path
        self.seconds += progress.seconds - self._seconds.get(path, 0.0)
        self._seconds[path] = progress.seconds
        self._read[path] = self._sizes.get(path, 0) * min(1.0, progress.seconds / progress.duration)

    def finish(self, path: str) -> None:
        """Takes note of a video that is done."""
        self.num_done += 1
        if path not in self._read:  # nothing of it was to be read
            self._total -= self._sizes.get(path, 0)
        else:
            self._read[path] = self._sizes.get(path, 0)

    def start(self) -> None:
        """Starts the clock."""
        self._begin = time.monotonic()

    @property
    def share(self) -> float:
        """How much is done, 0-1."""
        if self._total <= 0:  # nothing is to be read
            return float(self.num_done >= len(self))
        return min(1.0, sum(self._read.values()) / self._total)

    @property
    def speed(self) -> float | None:
        """Seconds of video per second; `None` before anything was read."""
        elapsed = self._elapsed
        return self.seconds / elapsed if self.seconds and elapsed else None

    @property
    def seconds_left(self) -> float | None:
        """Until all is read, if it goes on as fast; `None` before anything was read."""
        share = self.share
        return self._elapsed * (1 - share) / share if self.seconds and share else None

    def describe(self) -> str:
        """In words: `"2 of 5 files, 0:12:34.0 of video, 1.8 x real time, 0:07:12 left"`."""
        parts = [f"{self.num_done} of {len(self)} files"]
        if self.speed is not None:
            parts += [f"{clock(self.seconds)} of video", f"{self.speed:.2g} x real time"]
        if self.seconds_left is not None:
            parts.append(f"{clock(round(self.seconds_left))[:-2]} left")
        return ", ".join(parts)

    @property
    def _elapsed(self) -> float:
        return 0.0 if self._begin is None else time.monotonic() - self._begin


@contextmanager
def progress_bar(description: str, paths: Iterable[str]) -> Iterator[Progress]:
    """A bar on the terminal, if there is one, that shows what a [`Progress`] is told."""
    from tqdm.auto import tqdm

    progress = Progress(paths)
    progress.start()
    form = "{desc}: {percentage:3.0f}%|{bar}| {postfix}"
    with tqdm(total=1.0, desc=description, disable=None, bar_format=form) as bar:

        def shown(method):
            def told(news) -> None:
                method(news)
                bar.set_postfix_str(progress.describe(), refresh=False)
                bar.update(progress.share - bar.n)

            return told

        progress.advance, progress.finish = shown(progress.advance), shown(progress.finish)
        yield progress


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):  # told when it is opened
        return 0
