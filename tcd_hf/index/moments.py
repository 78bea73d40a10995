"""From scored windows of one video to its moments: the times at which it shows what a query asks for."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from rapidfuzz import fuzz

from tcd_hf.index.hits import evidence_boxes, time_shown
from tcd_hf.index.lexical import fold
from tcd_hf.index.stored_captions import StoredWindow
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["MAX_PAUSE", "Moment", "are_alike", "clip_moments", "find_moments", "follow_text"]

Window = WindowCaption | StoredWindow
SIMILAR_TEXT = 80  # of 100: the same text, read with a slip
SHORT_WORD = 2  # words up to this length must be equal: GATE A and GATE B are alike in all other letters
MAX_PAUSE = 1.0  # seconds between two sightings of one text, at most: frames are read about as often
ROUNDING = 0.01  # seconds between windows that touch


@dataclass(frozen=True)
class Moment:
    """A time in a video that matches a query.

    Attributes:
        start (`float`): seconds of the file at which it begins: when its first evidence is first seen, or, without
            evidence, when its window begins.
        end (`float`): seconds at which it ends.
        score (`float`): that of its best window: it compares moments of one video.
        evidence (`list[str]`): texts read in its best window that the query names, or else that mean it, best first.
        boxes (`list[dict]`): where they stand, see [`Hit`].
    """

    start: float
    end: float
    score: float
    evidence: list[str] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def shown_time(self) -> float:
        """Seconds of the frame that shows most of the evidence; without boxes, the middle."""
        return time_shown(self.start, self.end, self.boxes)


def find_moments(
    find_evidence: Callable[[Sequence[str]], list[str]],
    windows: Sequence[Window],
    scores: np.ndarray,
    leading: np.ndarray | None = None,
    telling: np.ndarray | None = None,
    folded: Sequence[Sequence[str]] | None = None,
    limit: int | None = None,
) -> list[Moment]:
    """The moments of one video, best first; equally good ones in the order of time.

    The best window that has evidence leads: its moment lasts as long as its first evidence is seen without a pause in
    it and in the windows around it, by the times of the text itself. Windows that were passed on the way belong to this
    moment and make no other; the best of the rest leads next. If no window has evidence, the best one is the only
    moment.

    Args:
        find_evidence (`Callable`): of the texts of a window those that match, best first: an [`EvidenceFinder`].
        windows (`Sequence[WindowCaption]` or of [`StoredWindow`]): in the order of time, of one or more segments, with
            gaps where segments are left out. Times in seconds of the file.
        scores (`np.ndarray` of shape `(num_windows,)`): `-inf` for windows that no moment may include.
        leading (`np.ndarray` of shape `(num_windows,)`, bool, *optional*): windows that the first moment is to be of,
            and is even if it then has no evidence: those of the best segment. All, if not given.
        telling (`np.ndarray` of shape `(num_windows,)`, bool, *optional*): windows that may have evidence. All, if not
            given.
        folded (`Sequence[Sequence[str]]`, *optional*): the folded texts of each window, if they are known: windows that
            show nothing alike then need not be read.
        limit (`int`, *optional*): most moments to find, at least 1. All, if not given.
    """
    possible = np.isfinite(scores)
    best_first = [int(place) for place in np.argsort(-scores, kind="stable") if possible[place]]
    if not best_first:
        return []

    @cache
    def evidence_in(place: int) -> list[str]:
        if telling is not None and not telling[place]:
            return []
        return find_evidence([track.text for track in windows[place].tracks])

    leading_ones = [place for place in best_first if leading is None or leading[place]] or best_first
    first = next(filter(evidence_in, leading_ones), leading_ones[0])
    moments = [] if evidence_in(first) else [_moment(windows[first], scores[first])]
    taken: set[int] = set()
    for place in [first, *best_first]:
        if limit is not None and len(moments) >= limit:
            break
        if place not in taken and evidence_in(place):
            seen, places = follow_text(evidence_in(place)[0], place, windows, possible, folded)
            moments.append(_moment(windows[place], scores[place], seen, evidence_in(place)))
            taken.update(places)
    return moments


def clip_moments(moments: Iterable[Moment], between: tuple[float, float]) -> list[Moment]:
    """Those moments, as they are, of which at least an instant lies in a range of seconds, both ends included.

    Raises:
        ValueError: the range ends before it starts.
    """
    try:
        start, end = between
    except TypeError:
        raise ValueError(f"between must be (start, end) in seconds, got {between!r}.") from None
    if not start <= end:
        raise ValueError(f"between must be (start, end) in seconds with start <= end, got {between!r}.")
    return [moment for moment in moments if moment.start <= end and start <= moment.end]


def follow_text(
    text: str,
    place: int,
    windows: Sequence[Window],
    possible: np.ndarray | None = None,
    folded: Sequence[Sequence[str]] | None = None,
) -> tuple[tuple[float, float], list[int]]:
    """When a text of the window at this place is seen without a pause, and the places of the windows that show it.

    Args:
        text (`str`), place (`int`): what to follow, and from where.
        windows, folded: see [`find_moments`].
        possible (`np.ndarray` of shape `(num_windows,)`, bool, *optional*): windows that it may go on in. All, if not
            given.
    """
    # Neighbouring windows share their texts.
    is_alike = _remembered(partial(are_alike, fold(text)))
    is_same = _remembered(lambda other: other == text or is_alike(fold(other)))
    track = next(track for track in windows[place].tracks if track.text == text)

    def joined_with(seen: tuple[float, float], place: int) -> tuple[float, float] | None:
        if folded is not None and not any(map(is_alike, folded[place])):
            return None
        return _join(seen, [track for track in windows[place].tracks if is_same(track.text)])

    own = (track.start, track.end)
    seen, places = joined_with(own, place) or own, [place]
    for step in (1, -1):
        neighbour = place + step
        while 0 <= neighbour < len(windows) and _touch(windows, neighbour - step, neighbour):
            if possible is not None and not possible[neighbour]:
                break
            joined = joined_with(seen, neighbour)
            if joined is None:
                break
            seen = joined
            places.append(neighbour)
            neighbour += step
    return seen, places


def _remembered(function: Callable[[str], bool]) -> Callable[[str], bool]:
    """The function, which remembers what it was asked: `functools.cache` takes as long to make as it saves here."""
    known: dict[str, bool] = {}

    def ask(text: str) -> bool:
        if text not in known:
            known[text] = function(text)
        return known[text]

    return ask


def _join(seen: tuple[float, float], tracks: Iterable[TextTrack]) -> tuple[float, float] | None:
    """The time of a text with those of its sightings that follow on it, or it on them; `None` if none does."""
    start, end = seen

    def pause(track: TextTrack) -> float:
        return max(track.start - end, start - track.end)

    joined = False
    for track in sorted(tracks, key=pause):
        if pause(track) <= MAX_PAUSE:
            start, end, joined = min(start, track.start), max(end, track.end), True
    return (start, end) if joined else None


def _touch(windows: Sequence[Window], place: int, other: int) -> bool:
    first, second = sorted((place, other))
    return windows[second].start - windows[first].end <= ROUNDING


def are_alike(text: str, other: str) -> bool:
    """Whether two folded texts are readings of one."""
    if text == other:
        return True
    if not fuzz.ratio(text, other, score_cutoff=SIMILAR_TEXT) or re.findall(r"\d+", text) != re.findall(r"\d+", other):
        return False
    words, others = text.split(), other.split()
    if len(words) != len(others):
        return True  # readings lose and invent spaces
    return all(
        word == that for word, that in zip(words, others, strict=True) if max(len(word), len(that)) <= SHORT_WORD
    )


def _moment(
    window: Window, score: float, seen: tuple[float, float] | None = None, evidence: Sequence[str] = ()
) -> Moment:
    start, end = seen or (window.start, window.end)
    boxes = evidence_boxes(evidence, window.tracks) if evidence else []  # tracks need not be read for none
    return Moment(start, end, float(score), list(evidence), boxes)
