"""How a long video is cut: into equal pieces, each of which is a video to the model."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["DEFAULT_SEGMENT_SECONDS", "Segment", "check_segment_seconds", "cut_into_segments"]

DEFAULT_SEGMENT_SECONDS = 30.0  # clips of the papers last 7 to 30 s; of its 12 windows each then has 2.5 s at most


class Segment(NamedTuple):
    """A piece of a video.

    Attributes:
        number (`int`): its place, from 0.
        count (`int`): into how many pieces the video is cut.
        start, end (`float`): seconds in the video.
    """

    number: int
    count: int
    start: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


def cut_into_segments(
    duration: float, frame_times: Sequence[float] | np.ndarray, segment_seconds: float | None
) -> list[Segment]:
    """Cuts a video into equal pieces. Those in which no frame begins are left out: they show nothing new.

    So what a video costs follows the frames that are there, whatever its clock says.

    Args:
        duration (`float`): seconds.
        frame_times (`np.ndarray`): when each frame appears, seconds, ascending; the first at 0.
        segment_seconds (`float`, *optional*): the longest that a piece may be; `None`: the video is one piece.

    Returns:
        `list[Segment]`, in order, the first number 0. A video of up to `segment_seconds` is one, from 0 to `duration`.
    """
    count = 1 if segment_seconds is None else max(1, math.ceil(duration / segment_seconds - 1e-9))
    if count == 1:
        return [Segment(0, 1, 0.0, duration)]
    numbers = np.minimum(np.asarray(frame_times) * (count / duration), count - 1).astype(np.int64)
    return [
        Segment(number, count, number * duration / count, (number + 1) * duration / count)
        for number in np.unique(numbers).tolist()
    ]


def check_segment_seconds(segment_seconds: float) -> float:
    """The length as a float. Raises `ValueError` for one that no video can be cut by."""
    is_number = isinstance(segment_seconds, int | float) and not isinstance(segment_seconds, bool)
    if not is_number or not 1 <= segment_seconds < math.inf:
        raise ValueError(f"segment_seconds must be a number of seconds, at least 1, got {segment_seconds!r}.")
    return float(segment_seconds)
