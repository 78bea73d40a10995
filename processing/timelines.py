"""When frames appear: one ascending axis of times made of what packets say, also where a file's clock starts again."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["Timeline", "fill_gaps", "join_parts"]

# A frame is on screen this early, in seconds: more than the times of decord err.
TIME_TOLERANCE = 1e-3
# No codec shows a frame before more than so many that are decoded before it.
MOST_REORDERED = 16


@dataclass(frozen=True)
class Timeline:
    """When each frame appears, in seconds after the first, ascending (float64), and which frames are keyframes."""

    starts: np.ndarray
    keyframes: np.ndarray
    duration: float

    @classmethod
    def build(cls, starts, ends, keyframes, rate: float) -> "Timeline":
        starts, ends = np.asarray(starts, dtype=np.float64), np.asarray(ends, dtype=np.float64)
        # A lone frame, or one of a container that keeps no durations, lasts as long as the frame rate says.
        end = ends.max() if ends.max() > starts[-1] else starts[-1] + 1 / rate
        return cls(starts - starts[0], np.union1d([0], keyframes).astype(int), float(end - starts[0]))

    def index_at(self, time: float) -> int:
        return max(int(np.searchsorted(self.starts, time + TIME_TOLERANCE, side="right")) - 1, 0)

    def keyframe_before(self, index: int) -> int:
        return int(self.keyframes[np.searchsorted(self.keyframes, index, side="right") - 1])


def join_parts(
    times: np.ndarray, durations: np.ndarray, is_key: np.ndarray, in_order: bool = False
) -> np.ndarray | None:
    """
    What to add to the times of packets so that each part of a file comes behind the one before it.

    Files that were put one behind the other, as by `cat a.ts b.ts`, have a clock that starts again with each. A clock
    that leaps ahead is left as it is.

    Args:
        times (`np.ndarray` of shape `(packets,)`, int64): when they are shown, in ticks, in the order of the file.
        durations (`np.ndarray` of shape `(packets,)`, int64): how long, in ticks, at least 1.
        is_key (`np.ndarray` of shape `(packets,)`, bool): whether nothing that is shown later needs what was before.
        in_order (`bool`): whether the decoder is known to show frames in the order of the file.

    Returns:
        `np.ndarray` of shape `(packets,)`, int64, in ticks, or `None` where the clock never starts again.
    """
    # Where all are marked as keyframes the mark may mean nothing, unless no frame is shown before an earlier one.
    begins = _starts_again(times, is_key & (in_order or not is_key.all()))
    if not begins:
        return None
    shifts = np.zeros_like(times)
    end = int((times + durations)[: begins[0]].max())
    for first, last in pairwise([*begins, len(times)]):
        part = slice(first, last)
        shifts[part] = end - times[part].min()
        end = int((times + durations + shifts)[part].max())
    return shifts


def _starts_again(times: np.ndarray, is_key: np.ndarray) -> list[int]:
    """The packets that are shown before others of before them, by more than the order of decoding explains."""
    begins: list[int] = []
    latest: deque[int] = deque(maxlen=MOST_REORDERED + 1)
    highest = int(times[0])
    for number, (time, key) in enumerate(zip(times.tolist(), is_key.tolist(), strict=True)):
        # What comes before a keyframe is shown before it, too.
        if (key and time < highest) or (len(latest) > MOST_REORDERED and time < min(latest)):
            begins.append(number)
            latest.clear()
            highest = time
        latest.append(time)
        highest = max(highest, time)
    return begins


def fill_gaps(times: Sequence[int | None], duration: int) -> np.ndarray:
    """
    Times of packets some of which, or all, have none: those between what is known are spread evenly, or follow the
    earlier where the later lies before it.

    Args:
        times (`Sequence[int | None]`): when they are shown, in ticks, in the order of the file.
        duration (`int`): how long a frame lasts, in ticks, for those before the first known time and after the last.

    Returns:
        `np.ndarray` of shape `(packets,)`, int64.
    """
    numbers = np.arange(len(times))
    known = np.array([number for number, time in enumerate(times) if time is not None])
    if len(known) == len(times):
        return np.array(times, dtype=np.int64)
    if len(known) == 0:
        return numbers * duration
    values = np.array([times[number] for number in known], dtype=np.int64)
    filled = np.rint(np.interp(numbers, known, values.astype(np.float64))).astype(np.int64)
    last = np.searchsorted(known, numbers, side="right") - 1  # the last known one, -1 before the first
    following = values[np.minimum(last + 1, len(values) - 1)]
    goes_on = (last >= 0) & (following <= values[last])  # behind it there is none, or a clock that starts again
    filled = np.where(goes_on, values[last] + (numbers - known[last]) * duration, filled)
    return np.where(last < 0, values[0] - (known[0] - numbers) * duration, filled)
