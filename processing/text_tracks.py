"""From readings of single frames to the texts of a window, most salient first (TCD section 3.1; the rules are ours).

1. Readings of the same text in several frames become one track: same place and similar spelling, or the same spelling
   anywhere. The spelling with most confidence, summed over its readings, wins.
2. Tracks that stand side by side become one line ("Nadal 6 3"), lines on top of each other one block, in reading order.
3. Blocks are ordered by salience: time on screen x size x confidence.
"""

import importlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .ocr_engines import TextReading

__all__ = ["SOURCES", "WHOLE_FRAME", "Sighting", "TextTrack", "merge_sightings", "spelling", "split_columns"]

SAME_PLACE = 0.2  # intersection over union of the boxes
SIMILAR_SPELLING = 70.0  # rapidfuzz ratio, 0-100: "PETROBRA" and "PETROBRAS" have 94, "MEDIA" and "MEDA" 89
SAME_LINE = 0.7  # shared height of two words on one line, in heights of the smaller
MAX_WORD_GAP = 3.5  # widest gap inside a line, in text heights; score boards leave wide ones
MAX_LINE_GAP = 0.8  # widest gap between two lines of a block, in text heights
TALL = 1.5  # height of a box relative to its width from which its characters may stand on top of each other
MAX_HEIGHT_RATIO = 3.0  # texts of more different heights do not belong together

Box = tuple[float, float, float, float]

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
    """

    readings: Sequence[TextReading]
    start: float
    end: float
    seconds: float
    aspect: float
    time: float = 0.0
    sharpness: float = 0.0


def merge_sightings(sightings: Iterable[Sighting]) -> list[TextTrack]:
    """The texts of one window, most salient first; neighbouring lines stay together in reading order."""
    tracks: list[_Track] = []
    same_line: Counter = Counter()
    next_line: Counter = Counter()
    for sighting in sightings:
        frame_tracks = _assign(sighting, tracks)
        for links, neighbours in zip((same_line, next_line), _neighbours(sighting), strict=True):
            links.update((frame_tracks[first], frame_tracks[second]) for first, second in neighbours)
    lines = [[tracks[index] for index in chain] for chain in _chains(len(tracks), same_line)]
    line_of = {id(track): number for number, line in enumerate(lines) for track in line}
    line_links: Counter = Counter()
    for (first, second), count in next_line.items():
        line_links[line_of[id(tracks[first])], line_of[id(tracks[second])]] += count
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


def spelling(text: str) -> str:
    """What two readings are compared by: letters and digits only, case folded."""
    return "".join(character for character in text.casefold() if character.isalnum())


@dataclass
class _Track:
    """Readings of one piece of text while it is followed."""

    box: Box  # where it was seen last
    readings: list[TextReading] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # of the readings
    start: float = float("inf")
    end: float = 0.0
    salience: float = 0.0
    spellings: set[str] = field(default_factory=set)

    def add(self, reading: TextReading, sighting: Sighting):
        x0, y0, x1, y1 = self.box = reading.box
        self.readings.append(reading)
        self.times.append(sighting.time)
        self.spellings.add(spelling(reading.text))
        self.start, self.end = min(self.start, sighting.start), max(self.end, sighting.end)
        self.salience += sighting.seconds * (x1 - x0) * (y1 - y0) * reading.confidence

    def similarity(self, reading: TextReading) -> float:
        """How well a reading continues this track; 0 where it does not."""
        text = spelling(reading.text)
        overlap = _intersection_over_union(self.box, reading.box)
        if text in self.spellings:
            return 200.0 + overlap
        if overlap < SAME_PLACE:
            return 0.0
        # a number that changed is news (scores, clocks, prices), not a slip of the reader
        ratio = max(
            (_ratio(text, known) for known in self.spellings if _digits(known) == _digits(text)),
            default=0.0,
        )
        return ratio + overlap if ratio >= SIMILAR_SPELLING else 0.0

    def winner(self) -> TextReading:
        """The best reading of the spelling with most confidence in all."""
        votes: dict[str, float] = defaultdict(float)
        for reading in self.readings:
            votes[reading.text] += reading.confidence
        text = max(votes, key=lambda candidate: votes[candidate])
        return max((r for r in self.readings if r.text == text), key=lambda r: r.confidence)


def _assign(sighting: Sighting, tracks: list[_Track]) -> list[int]:
    """Gives each reading of a frame a track, a new one where none fits; best fits first, one reading a track."""
    fits = [
        (track.similarity(reading), -track_index, -index)
        for index, reading in enumerate(sighting.readings)
        for track_index, track in enumerate(tracks)
    ]
    assigned: dict[int, int] = {}
    taken = set()
    for fit, track_index, index in sorted(fits, reverse=True):
        if fit > 0 and -index not in assigned and -track_index not in taken:
            assigned[-index] = -track_index
            taken.add(-track_index)
    for index, reading in enumerate(sighting.readings):
        if index not in assigned:
            assigned[index] = len(tracks)
            tracks.append(_Track(box=reading.box))
        tracks[assigned[index]].add(reading, sighting)
    return [assigned[index] for index in range(len(sighting.readings))]


def _neighbours(sighting: Sighting) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs of readings of one frame that follow each other on a line, and pairs where the second lies just below."""
    boxes = np.array([reading.box for reading in sighting.readings], dtype=float).reshape(-1, 4)
    x0, y0, x1, y1 = (boxes * [sighting.aspect, 1.0, sighting.aspect, 1.0]).T  # in heights of the frame
    same_line, next_line = [], []
    for first in range(len(boxes)):
        for second in range(len(boxes)):
            heights = sorted((y1[first] - y0[first], y1[second] - y0[second]))
            if first == second or heights[1] > MAX_HEIGHT_RATIO * heights[0]:
                continue
            shared_height = min(y1[first], y1[second]) - max(y0[first], y0[second])
            shared_width = min(x1[first], x1[second]) - max(x0[first], x0[second])
            word_gap = (x0[second] - x1[first]) / heights[0]
            line_gap = -shared_height / heights[0]
            if line_gap < -SAME_LINE:
                if x0[first] < x0[second] and -0.5 <= word_gap <= MAX_WORD_GAP:
                    same_line.append((first, second, word_gap))
            elif y0[first] < y0[second] and shared_width > 0 and line_gap <= MAX_LINE_GAP:
                next_line.append((first, second, line_gap))
    return _nearest(same_line), _nearest(next_line)


def _nearest(pairs: list[tuple[int, int, float]]) -> list[tuple[int, int]]:
    """The nearest of all followers of each reading; a follower follows one reading only."""
    followed, following, kept = set(), set(), []
    for first, second, _ in sorted(pairs, key=lambda pair: pair[2]):
        if first not in followed and second not in following:
            followed.add(first)
            following.add(second)
            kept.append((first, second))
    return kept


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
    winners = [track.winner() for track in line]
    x0, y0, x1, y1 = zip(*(winner.box for winner in winners), strict=True)
    return TextTrack(
        text=" ".join(winner.text for winner in winners),
        confidence=float(
            np.mean([r.confidence for t, w in zip(line, winners, strict=True) for r in t.readings if r.text == w.text])
        ),
        start=min(track.start for track in line),
        end=max(track.end for track in line),
        box=(min(x0), min(y0), max(x1), max(y1)),
        count=max(len(track.readings) for track in line),
        box_time=line[0].times[line[0].readings.index(winners[0])],
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


def _ratio(first: str, second: str) -> float:
    return importlib.import_module("rapidfuzz.fuzz").ratio(first, second)


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _intersection_over_union(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)
