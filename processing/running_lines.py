"""Lines that run through a strip, as a ticker does, put together: detectors cut them anew in each frame (ours)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .ocr_engines import TextReading
from .text_threads import SAME_ROW, SAME_SIZE, Sighting, spelling
from .text_tickers import Overlap, find_overlap

__all__ = ["join_running_lines"]

MAX_GAP = 3.5  # between two pieces of a line, in text heights
MOVED = 0.5  # text heights from which a reading is elsewhere than in the frame before
LINKS = 2  # frames that a line runs on for, from which it is joined although letters differ


@dataclass(eq=False)
class _Line:
    """Readings side by side in one frame that are elsewhere in the frames around it."""

    places: list[int]  # of its readings
    key: str
    middle: float
    height: float
    before: "_Line | None" = None
    overlap: Overlap | None = None  # with the one before
    runs: bool = False


def join_running_lines(sightings: Sequence[Sighting]) -> list[Sighting]:
    """The same, but each line that runs on from frame to frame is one reading.

    A line runs if what it shows goes on where it ends in the frame before, for two frames, or once without a doubt.
    """
    keys = [[spelling(reading.text) for reading in sighting.readings] for sighting in sightings]
    lines = [
        _moving_lines(sighting, own, [keys[n] for n in near], [sightings[n] for n in near])
        for number, (sighting, own) in enumerate(zip(sightings, keys, strict=True))
        for near in [[n for n in (number - 1, number + 1) if 0 <= n < len(sightings)]]
    ]
    for earlier, later in pairwise(lines):
        for line in later:
            before = next((other for other in earlier if _in_one_row(line, other)), None)
            if before is not None and (found := find_overlap(before.key, line.key)) is not None:
                line.before, line.overlap = before, found
    for line in (line for row in reversed(lines) for line in row):
        chain = [line]
        while chain[-1].before is not None:
            chain.append(chain[-1].before)
        if len(chain) > LINKS or (len(chain) == LINKS and line.overlap is not None and line.overlap.is_exact):
            for member in chain:
                member.runs = True
    return [_joined(sighting, row) for sighting, row in zip(sightings, lines, strict=True)]


def _moving_lines(sighting: Sighting, keys: list[str], near_keys: list[list[str]], near: list[Sighting]) -> list[_Line]:
    """The lines of a frame, without the readings that stand still."""
    still: dict[str, list[tuple]] = defaultdict(list)
    for other_keys, other in zip(near_keys, near, strict=True):
        for key, reading in zip(other_keys, other.readings, strict=True):
            still[key].append(reading.box)
    moving = []
    for place, (key, reading) in enumerate(zip(keys, sighting.readings, strict=True)):
        x0, y0, _, y1 = reading.box
        apart = MOVED * (y1 - y0)
        if reading.corners is None and not any(
            abs(box[0] - x0) * sighting.aspect < apart and abs(box[1] - y0) < apart for box in still.get(key, ())
        ):
            moving.append(place)
    lines: list[_Line] = []
    ends: list[float] = []  # of the lines, from the left
    for place in sorted(moving, key=lambda place: sighting.readings[place].box[0]):
        x0, y0, x1, y1 = sighting.readings[place].box
        one = _Line([place], keys[place], (y0 + y1) / 2, y1 - y0)
        for number, line in enumerate(lines):
            if _in_one_row(one, line) and (x0 - ends[number]) * sighting.aspect <= MAX_GAP * line.height:
                line.places.append(place)
                line.key += one.key
                ends[number] = max(ends[number], x1)
                break
        else:
            lines.append(one)
            ends.append(x1)
    return lines


def _in_one_row(first: _Line, second: _Line) -> bool:
    smaller, larger = sorted((first.height, second.height))
    return abs(first.middle - second.middle) <= SAME_ROW * smaller and larger <= SAME_SIZE * smaller


def _joined(sighting: Sighting, lines: list[_Line]) -> Sighting:
    """The frame with one reading for each line that runs."""
    running = [line for line in lines if line.runs and len(line.places) > 1]
    if not running:
        return sighting
    taken = {place for line in running for place in line.places}
    kept = [reading for place, reading in enumerate(sighting.readings) if place not in taken]
    for line in running:
        parts = [sighting.readings[place] for place in line.places]
        x0, y0, x1, y1 = zip(*(part.box for part in parts), strict=True)
        letters = [len(part.text) for part in parts]
        confidence = float(np.average([part.confidence for part in parts], weights=letters))
        text = " ".join(part.text for part in parts)
        kept.append(TextReading(text, confidence, (min(x0), min(y0), max(x1), max(y1))))
    return replace(sighting, readings=kept)
