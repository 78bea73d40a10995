"""How far the reading of videos is: seconds of video, how fast, and how long it will take."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

from tcd_hf.clock import clock
from tcd_hf.reading.files import absolute_path

__all__ = ["Progress", "VideoProgress", "progress_bar"]


class VideoProgress(NamedTuple):
    """How far the reading of a video is.

    Attributes:
        path (`str`): absolute.
        seconds (`float`): of the video that are read.
        duration (`float`): of the video, seconds.
        size (`int`): of the file, bytes.
    """

    path: str
    seconds: float
    duration: float
    size: int


class Progress:
    """Adds up what is read of some videos; its clock runs from when it is made.

    How long a video lasts is known when it is opened; until then it counts by the size of its file. What is done
    without being read (it is in the index, or a copy, or broken) does not count.

    Args:
        paths (`Iterable[str | os.PathLike]`): the videos.
        on_change (`Callable[[Progress], None]`, *optional*): called with it after all that it is told.

    Attributes:
        seconds (`float`): of video that were read.
        num_done (`int`): videos that are done, read or not.
    """

    def __init__(
        self, paths: Iterable[str | os.PathLike], on_change: "Callable[[Progress], None] | None" = None
    ) -> None:
        self.seconds = 0.0
        self.num_done = 0
        self._on_change = on_change or (lambda progress: None)
        self._sizes = {path: _size(path) for path in map(absolute_path, paths)}
        self._to_read = sum(self._sizes.values())  # bytes
        self._read: dict[str, float] = {}  # bytes of each video
        self._begun: dict[str, float] = {}  # seconds read of each video that is not done
        self._begin = monotonic()

    def __len__(self) -> int:
        return len(self._sizes)

    def advance(self, news: VideoProgress) -> None:
        """Takes note of a segment that was read."""
        self.seconds += news.seconds - self._begun.get(news.path, 0.0)
        self._begun[news.path] = news.seconds
        self._read[news.path] = self._sizes.get(news.path, 0) * min(1.0, news.seconds / news.duration)
        self._on_change(self)

    def finish(self, path: str) -> None:
        """Takes note of a video that is done. What was not read of it is not to be read."""
        self.num_done += 1
        self._begun.pop(path, None)
        self._to_read -= self._sizes.get(path, 0) - self._read.get(path, 0)
        self._on_change(self)

    @property
    def seconds_begun(self) -> float:
        """Seconds of video that were read of videos that are not done."""
        return sum(self._begun.values())

    @property
    def share(self) -> float:
        """How much of what is to be read was read, 0-1."""
        if self.num_done >= len(self):
            return 1.0
        return min(1.0, sum(self._read.values()) / self._to_read) if self._to_read > 0 else 0.0

    @property
    def speed(self) -> float | None:
        """Seconds of video per second; `None` before anything was read."""
        elapsed = self._elapsed
        return self.seconds / elapsed if self.seconds and elapsed else None

    @property
    def seconds_left(self) -> float | None:
        """Until all is read, if it goes on as fast; `None` before anything was read."""
        share = self.share
        return self._elapsed * (1 - share) / share if share else None

    def describe(self) -> str:
        """In words, for a line of a terminal: `"2/5 files, 0:12:34 of video, 1.8x real time, 0:07:12 left"`."""
        parts = [f"{self.num_done}/{len(self)} files"]
        if self.seconds:
            parts.append(self.describe_speed())
        if self.seconds_left is not None:
            parts.append(f"{_whole_seconds(self.seconds_left)} left")
        return ", ".join(parts)

    def describe_speed(self) -> str:
        """What was read and how fast: `"0:12:34 of video, 1.8x real time"`."""
        speed = self.speed or 0.0
        return f"{_whole_seconds(self.seconds)} of video, {speed:{'.2g' if speed < 10 else '.0f'}}x real time"

    @property
    def _elapsed(self) -> float:
        return monotonic() - self._begin


@contextmanager
def progress_bar(
    description: str, paths: Iterable[str | os.PathLike], leave: bool = True, hidden: bool = False
) -> Iterator[Progress]:
    """A bar on the terminal, if stderr is one, that shows a [`Progress`].

    Args:
        description (`str`): what is done.
        paths (`Iterable[str | os.PathLike]`): the videos.
        leave (`bool`, *optional*, defaults to `True`): let it stand when all is done.
        hidden (`bool`, *optional*, defaults to `False`): show none.
    """
    from tqdm.auto import tqdm

    words = f"{description}: {{percentage:3.0f}}%|{{bar}}| {{desc}}"
    with tqdm(total=1.0, disable=True if hidden else None, leave=leave, bar_format=words) as bar:

        def show(progress: Progress) -> None:
            bar.set_description_str(progress.describe(), refresh=False)
            bar.update(progress.share - bar.n)

        yield Progress(paths, show)


def _whole_seconds(seconds: float) -> str:
    return clock(round(seconds))[:-2]


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):  # told when it is opened
        return 0
