"""Readings of equal spelling, followed from frame to frame: the threads that texts are made of (ours).

Most readings of a text are equal, so that a look into a dictionary follows it, wherever it moves. What took its place
in a neighbouring frame is noted with it: whether that is a slip of the reading, a piece of the text, or another text,
is decided when all of both is known (`text_comparison.py`).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .ocr_engines import TextReading

__all__ = ["Box", "Sighting", "Thread", "overlap", "spelling", "spin_threads"]

SAME_PLACE = 0.2  # intersection over union of the boxes
INSIDE = 0.5  # share of the smaller box in the larger one from which one is a piece of the other, as while text grows
SAME_ROW = 0.35  # distance of two texts from a common row, in text heights
SAME_SIZE = 1.3  # ratio of the heights of one text, cut and whole
MEMORY = 10.0  # seconds after which what stands in a text's place did not take its place

Box = tuple[float, float, float, float]


@dataclass
class Sighting:
    """What one read frame tells about a window: its readings, and the time it stands for.

    Args:
        readings (`list[TextReading]`): what was read in the frame.
        start (`float`): begin of the time the frame stands for, seconds.
        end (`float`): end of that time.
        seconds (`float`): how long the frame stands for; less than `end - start` where other frames lie between.
        aspect (`float`): width of the frame divided by its height.
        time (`float`, *optional*, defaults to 0.0): when the frame was on screen, seconds.
        sharpness (`float`, *optional*, defaults to 0.0): of the frame, see `Stretch`.
        after_cut (`bool`, *optional*, defaults to `False`): whether a new scene begins with it.
        texts (`list[FollowedText]`, *optional*): for each reading the text that it is a reading of, see `follow_texts`.
    """

    readings: Sequence[TextReading]
    start: float
    end: float
    seconds: float
    aspect: float
    time: float = 0.0
    sharpness: float = 0.0
    after_cut: bool = False
    texts: Sequence | None = None


@dataclass(eq=False)
class Thread:
    """Readings of one spelling.

    Attributes:
        key (`str`): the spelling, see [`spelling`].
        frames (`list[int]`): numbers of the sightings it was read in, ascending.
        readings (`list[TextReading]`): one per frame.
        sharpnesses (`list[float]`): of these frames.
        seconds (`float`): how long these frames stand for.
        last (`float`): end of the time that the last of them stands for, seconds.
        places (`dict[int, bool]`): threads that were read in its place before or after it, by their numbers, and
            whether in the same place, not only in the same row.
    """

    key: str
    number: int = 0
    frames: list[int] = field(default_factory=list)
    readings: list[TextReading] = field(default_factory=list)
    sharpnesses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    last: float = 0.0
    places: dict[int, bool] = field(default_factory=dict)
    weight: float = 0.0

    def add(self, frame: int, reading: TextReading, sighting: Sighting) -> None:
        self.frames.append(frame)
        self.readings.append(reading)
        self.sharpnesses.append(sighting.sharpness)
        self.seconds += sighting.seconds
        self.last = sighting.end
        self.weight += reading.confidence

    @property
    def confidence(self) -> float:
        """Mean confidence of the readings, 0-1."""
        return self.weight / len(self.readings)

    @property
    def box(self) -> Box:
        """Where it was seen last."""
        return self.readings[-1].box


def spelling(text: str) -> str:
    """What two readings are compared by: letters and digits only, case folded."""
    return "".join(filter(str.isalnum, text.casefold()))


def spin_threads(sightings: Sequence[Sighting]) -> tuple[list[Thread], list[list[Thread]]]:
    """Follows equal readings through frames.

    Words are followed wherever they go; a number, of which a score board shows many, only as long as it keeps its
    place. Of equal readings in one frame each has a thread of its own.

    Returns:
        The threads, in the order in which they are first seen, and for each sighting the threads of its readings.
    """
    threads: list[Thread] = []
    by_key: dict[str, list[Thread]] = defaultdict(list)
    recent: dict[int, Thread] = {}
    rows: list[list[Thread]] = []
    for frame, sighting in enumerate(sightings):
        oldest = sighting.start - MEMORY
        recent = {number: thread for number, thread in recent.items() if thread.last >= oldest}
        keys = [spelling(reading.text) for reading in sighting.readings]
        boxes = np.array([reading.box for reading in sighting.readings], float).reshape(-1, 4)
        for key in filter(str.isdigit, set(keys) & by_key.keys()):  # many, where they are not followed
            by_key[key] = [thread for thread in by_key[key] if thread.number in recent]
        row, movement = _continued(keys, boxes, by_key, frame)
        for place, thread in enumerate(row):
            if thread is None:
                row[place] = thread = Thread(keys[place], len(threads))
                threads.append(thread)
                by_key[thread.key].append(thread)
        shown = {thread.number for thread in row}
        _note_places(row, boxes, [t for n, t in recent.items() if n not in shown], movement, frame)
        for thread, reading in zip(row, sighting.readings, strict=True):
            thread.add(frame, reading, sighting)
            recent[thread.number] = thread
        rows.append(row)
    return threads, rows


def _continued(
    keys: list[str], boxes: np.ndarray, by_key: dict[str, list[Thread]], frame: int
) -> tuple[list, np.ndarray]:
    """For each reading the thread that it continues, or `None`; and how far texts moved since the frame before."""
    row: list[Thread | None] = [None] * len(keys)
    places: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        if by_key.get(key):
            places[key].append(place)
    is_plain = {key: len(by_key[key]) == len(equal) == 1 and not key.isdigit() for key, equal in places.items()}
    for key, equal in places.items():
        if is_plain[key]:
            row[equal[0]] = by_key[key][0]
    steps = [
        box - thread.box
        for box, thread in zip(boxes, row, strict=True)
        if thread is not None and thread.frames[-1] == frame - 1
    ]
    movement = np.median(steps, axis=0) if steps else np.zeros(4)
    for key, equal in places.items():
        if not is_plain[key]:
            last = np.array([thread.box for thread in by_key[key]])
            overlaps = np.maximum(overlap(boxes[equal], last), overlap(boxes[equal], last + movement))
            for i, j in _best_pairs(overlaps, SAME_PLACE if key.isdigit() else 0.0):
                row[equal[i]] = by_key[key][j]
    return row, movement


def _best_pairs(overlaps: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Rows and columns of which each is used once, those that overlap most first."""
    pairs, rows, columns = [], set(), set()
    # the last of equally good threads is the one seen last
    for flat in np.argsort(-overlaps[:, ::-1], axis=None, kind="stable").tolist():
        row, column = divmod(flat, overlaps.shape[1])
        column = overlaps.shape[1] - 1 - column
        if overlaps[row, column] >= least and row not in rows and column not in columns:
            pairs.append((row, column))
            rows.add(row)
            columns.add(column)
    return pairs


def _note_places(row: list[Thread], boxes: np.ndarray, gone: list[Thread], movement: np.ndarray, frame: int) -> None:
    """Notes which readings stand where a text stood that is gone, or in its row."""
    if not row or not gone:
        return
    last = np.array([thread.box for thread in gone])
    same_place = _same_place(boxes, last)
    if np.abs(movement).max() > 0.005:
        same_place |= _same_place(boxes, last + movement)
    just_gone = np.array([thread.frames[-1] == frame - 1 for thread in gone])
    in_row = _same_row(boxes, last + movement) & just_gone
    for new, old in np.argwhere(same_place | in_row).tolist():
        first, second = row[new], gone[old]
        same = bool(same_place[new, old])
        first.places[second.number] = second.places[first.number] = same or first.places.get(second.number, False)


def overlap(first: np.ndarray, second: np.ndarray, of_smaller: bool = False) -> np.ndarray:
    """Shared area of boxes `(n, 4)` and `(m, 4)`, relative to their union or to the smaller one, `(n, m)`."""
    first = first[:, None]
    width = np.minimum(first[..., 2], second[:, 2]) - np.maximum(first[..., 0], second[:, 0])
    height = np.minimum(first[..., 3], second[:, 3]) - np.maximum(first[..., 1], second[:, 1])
    shared = width.clip(0) * height.clip(0)
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (first, second)]
    whole = np.minimum(*areas) if of_smaller else areas[0] + areas[1] - shared
    return shared / np.maximum(whole, 1e-12)


def _same_place(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # a piece of a text lies within the box of the whole
    within = (overlap(first, second, of_smaller=True) >= INSIDE) & _same_row(first, second)
    return (overlap(first, second) >= SAME_PLACE) | within


def _same_row(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first = first[:, None]
    heights = first[..., 3] - first[..., 1], second[:, 3] - second[:, 1]
    apart = np.abs(first[..., 1] + first[..., 3] - second[:, 1] - second[:, 3]) / 2
    return (apart <= SAME_ROW * np.minimum(*heights)) & (np.maximum(*heights) <= SAME_SIZE * np.minimum(*heights))
