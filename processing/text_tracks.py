"""From readings of single frames to the texts of a window, most salient first (TCD section 3.1; the rules are ours).

1. Readings of the same text in several frames become one track, best spelled (`text_following.py`).
2. Tracks that stand side by side become one line ("Nadal 6 3"), lines on top of each other one block, in reading order.
3. Blocks are ordered by salience: time on screen x size x confidence.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from .ocr_engines import TextReading
from .text_following import FollowedText, follow_texts
from .text_lines import find_neighbours
from .text_threads import Box, Sighting, spelling

__all__ = [
    "SOURCES",
    "WHOLE_FRAME",
    "Sighting",
    "TextTrack",
    "merge_sightings",
    "sightings_within",
    "spelling",
    "split_columns",
]

TALL = 1.5  # height of a box relative to its width from which its characters may stand on top of each other

WHOLE_FRAME: Box = (0.0, 0.0, 1.0, 1.0)  # of a text that was not read at a place: what is given, or heard
SOURCES = ("ocr", "subtitle", "given")


@dataclass
class TextTrack:
    """One text of a window, merged from its readings.

    Args:
        text (`str`): the winning spelling.
        confidence (`float`): mean confidence of the readings with that spelling, 0-1.
        start (`float`): when it is first seen in the window, seconds.
        end (`float`): when it is last seen in the window, seconds.
        box (`tuple[float, float, float, float]`):
            x0, y0, x1, y1 relative to the frame, 0-1, where it was read with most confidence.
        count (`int`, *optional*, defaults to 1): number of frames it was read in.
        box_time (`float`, *optional*, defaults to 0.0):
            Time of the frame that `box` belongs to, seconds: the one to show as evidence. A frame may stand for a short
            while around it, so this can lie just outside the window.
        source (`str`, *optional*, defaults to `"ocr"`):
            Where it comes from: `"ocr"` was read in the picture, `"subtitle"` is of a subtitle stream or file,
            `"given"` was handed over.
    """

    text: str
    confidence: float
    start: float
    end: float
    box: Box
    count: int = 1
    box_time: float = 0.0
    source: str = "ocr"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {**vars(self), "box": list(self.box)}

    def shifted(self, seconds: float) -> "TextTrack":
        """The same, so much later."""
        times = {name: getattr(self, name) + seconds for name in ("start", "end", "box_time")}
        return replace(self, **times)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TextTrack":
        """The inverse of `to_dict`."""
        return cls(**{**values, "box": tuple(values["box"])})


def sightings_within(
    part: tuple[float, float], samples: Sequence[tuple[float, int]], read: Sequence[Sighting]
) -> list[Sighting]:
    """The read frames that show a part of a video, with the time that each stands for in it.

    Args:
        part (`tuple[float, float]`): begin and end, seconds.
        samples (`Sequence[tuple[float, int]]`):
            Time of each sampled frame of the part, ascending, and number of the read one that stands for it. A sample
            stands for the time up to half-way to its neighbours.
        read (`Sequence[Sighting]`): all read frames.
    """
    if not samples:
        return []
    times = [time for time, _ in samples]
    borders = [part[0], *((a + b) / 2 for a, b in pairwise(times)), part[1]]
    sightings: dict[int, Sighting] = {}
    for (_, number), (start, end) in zip(samples, pairwise(borders), strict=True):
        sighting = sightings.setdefault(number, replace(read[number], start=start, end=end, seconds=0.0))
        sighting.end = end
        sighting.seconds += end - start
    return list(sightings.values())


def merge_sightings(sightings: Iterable[Sighting]) -> list[TextTrack]:
    """The texts of one window, most salient first; neighbouring lines stay together in reading order.

    Args:
        sightings (`Iterable[Sighting]`): of the frames that show the window, in the order of time. Which readings are
            of one text is looked for in these alone where they do not say so themselves (`Sighting.texts`).
    """
    sightings = list(sightings)
    if any(sighting.texts is None for sighting in sightings):
        sightings = follow_texts(sightings)
    tracks: dict[int, _Track] = {}
    same_line: Counter = Counter()
    next_line: Counter = Counter()
    for sighting in sightings:
        frame_tracks = []
        for reading, text in zip(sighting.readings, sighting.texts or (), strict=True):
            track = tracks.setdefault(id(text), _Track(text, len(tracks)))
            track.add(reading, sighting)
            frame_tracks.append(track.number)
        for links, neighbours in zip((same_line, next_line), find_neighbours(sighting), strict=True):
            pairs = ((frame_tracks[first], frame_tracks[second]) for first, second in neighbours)
            links.update((first, second) for first, second in pairs if first != second)
    ordered = list(tracks.values())
    lines = [[ordered[index] for index in chain] for chain in _chains(len(ordered), same_line)]
    line_of = {track.number: number for number, line in enumerate(lines) for track in line}
    line_links: Counter = Counter()
    for (first, second), count in next_line.items():
        line_links[line_of[first], line_of[second]] += count
    blocks = [[lines[index] for index in chain] for chain in _chains(len(lines), line_links)]
    blocks.sort(key=lambda block: -sum(track.salience for line in block for track in line))
    return _without_repeats(_as_text_track(line) for block in blocks for line in block)


def split_columns(readings: Sequence[TextReading], aspect: float) -> list[TextReading]:
    """Gives each row of a table its own digit.

    Digits on top of each other, as in a score board, are often read as one tall text: "22" for the 2 of one player and
    the 2 of the other. Such a text is split where each of its digits has another text beside it, on its row.

    Args:
        readings (`Sequence[TextReading]`): readings of one frame.
        aspect (`float`): width of the frame divided by its height.
    """
    split = []
    for reading in readings:
        x0, y0, x1, y1 = reading.box
        count = len(reading.text)
        pieces = [reading]
        if count > 1 and reading.text.isdigit() and y1 - y0 > TALL * (x1 - x0) * aspect:
            step = (y1 - y0) / count
            boxes = [(x0, y0 + index * step, x1, y0 + (index + 1) * step) for index in range(count)]
            if all(any(_is_on_row(box, other.box) for other in readings) for box in boxes):
                pieces = [
                    TextReading(digit, reading.confidence, box) for digit, box in zip(reading.text, boxes, strict=True)
                ]
        split += pieces
    return split


@dataclass
class _Track:
    """Readings of one text in one window."""

    text: FollowedText
    number: int
    readings: list[TextReading] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # of the frames they were read in
    sightings: set[float] = field(default_factory=set)  # these frames, by their starts
    start: float = float("inf")
    end: float = 0.0
    salience: float = 0.0

    def add(self, reading: TextReading, sighting: Sighting):
        x0, y0, x1, y1 = reading.box
        self.readings.append(reading)
        self.times.append(sighting.time)
        self.sightings.add(sighting.start)
        self.start, self.end = min(self.start, sighting.start), max(self.end, sighting.end)
        self.salience += sighting.seconds * (x1 - x0) * (y1 - y0) * reading.confidence

    def best(self) -> tuple[str, list[TextReading], int]:
        """The text, the readings that spell it so (all where none does), and the place of the surest of these."""
        text = self.text.shown_by(self.readings)
        key = spelling(text)
        equal = [reading for reading in self.readings if reading.text == text]
        equal = equal or [reading for reading in self.readings if spelling(reading.text) == key] or self.readings
        return text, equal, self.readings.index(max(equal, key=lambda reading: reading.confidence))


def _chains(count: int, links: Counter) -> list[list[int]]:
    """Chains of the items 0 to `count - 1` along the links seen most often."""
    follower: dict[int, int] = {}
    leader: dict[int, int] = {}
    for first, second in sorted(links, key=lambda pair: (-links[pair], pair)):
        if first in follower or second in leader or _end_of_chain(second, follower) == first:
            continue
        follower[first], leader[second] = second, first
    chains = []
    for item in range(count):
        if item not in leader:
            chain = [item]
            while chain[-1] in follower:
                chain.append(follower[chain[-1]])
            chains.append(chain)
    return chains


def _end_of_chain(item: int, follower: dict[int, int]) -> int:
    while item in follower:
        item = follower[item]
    return item


def _as_text_track(line: list[_Track]) -> TextTrack:
    texts, equal, places = zip(*(track.best() for track in line), strict=True)
    x0, y0, x1, y1 = zip(*(t.readings[p].box for t, p in zip(line, places, strict=True)), strict=True)
    return TextTrack(
        text=" ".join(texts),
        confidence=float(np.mean([reading.confidence for readings in equal for reading in readings])),
        start=min(track.start for track in line),
        end=max(track.end for track in line),
        box=(min(x0), min(y0), max(x1), max(y1)),
        count=max(len(track.sightings) for track in line),
        box_time=line[0].times[places[0]],
    )


def _without_repeats(tracks: Iterable[TextTrack]) -> list[TextTrack]:
    """One track per spelling: a brand on ten boards is named once. The first, most salient, stays."""
    kept: dict[str, TextTrack] = {}
    for track in tracks:
        first = kept.setdefault(spelling(track.text), track)
        first.start, first.end = min(first.start, track.start), max(first.end, track.end)
    return list(kept.values())


def _is_on_row(first: Box, second: Box) -> bool:
    heights = sorted((first[3] - first[1], second[3] - second[1]))
    shared = min(first[3], second[3]) - max(first[1], second[1])
    apart = first[2] <= second[0] or second[2] <= first[0]
    return apart and shared > 0.5 * heights[1]
