"""Texts that run through a strip: each reading shows a part, which overlaps with the next (ours)."""

import importlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .text_threads import Thread, spelling
from .text_voting import letters_of

__all__ = ["covered_words", "find_tickers", "overlap_shift"]

OVERLAP = 6  # letters that two readings of one text share at least, where it runs on
OVERLAP_SHARE = 0.3  # of the shorter of them
ALIKE = 0.8  # similarity of the parts that they share, 0-1
MISREAD = 2  # letters at an end that may be cut
MAX_FRAMES = 2  # from one reading to the next
REPEATED = 4  # letters at the end of a text, equal to those at its begin, from which it begins again


def overlap_shift(first: str, second: str) -> int | None:
    """By how many letters a spelling is further on than another of which it is the continuation; `None` if it is not.

    "breakingnewspresi" and "ingnewspresidentvi" gives 5.
    """
    least = max(OVERLAP, OVERLAP_SHARE * min(len(first), len(second)))
    for skipped in range(MISREAD + 1):
        place = first.find(second[skipped : skipped + OVERLAP - MISREAD], skipped + 1)
        while place >= 0:
            shift = place - skipped
            shared = len(first) - shift
            if shared < least:
                break
            if shared < len(second) and _similarity(first[place:-1], second[skipped : shared - 1]) >= ALIKE:
                return shift
            place = first.find(second[skipped : skipped + OVERLAP - MISREAD], place + 1)
    return None


def find_tickers(threads: dict[int, Thread]) -> list[tuple[list[Thread], str]]:
    """Threads that are parts of one text which runs through one place, and that text, joined."""
    follower: dict[int, int] = {}
    followed: set[int] = set()
    for thread in threads.values():
        links = [
            (shift, number)
            for number, same_place in thread.places.items()
            if same_place
            and number in threads
            and number not in followed
            and 0 < threads[number].frames[0] - thread.frames[-1] <= MAX_FRAMES
            and (shift := overlap_shift(thread.key, threads[number].key)) is not None
        ]
        if links:
            follower[thread.number] = min(links)[1]
            followed.add(follower[thread.number])
    tickers = []
    for number in sorted(follower.keys() - followed):
        parts = [threads[number]]
        while parts[-1].number in follower:
            parts.append(threads[follower[parts[-1].number]])
        tickers.append((parts, _joined([max(part.readings, key=lambda r: r.confidence).text for part in parts])))
    return tickers


def covered_words(text: str, parts: Sequence[str]) -> str:
    """The words of a joined text that some of its parts show, from the first to the last; all if none is found."""
    letters, gaps = letters_of(text)
    key = letters.lower()
    spans = [(place, place + len(part)) for part in parts if (place := _find(key, spelling(part))) is not None]
    if not spans:
        return text
    start, end = min(spans)[0], max(end for _, end in spans)
    while start > 0 and not gaps[start]:
        start -= 1
    while end < len(letters) and not gaps[end]:
        end += 1
    return letters[start:end] if start == end else _between(text, start, end)


def _joined(parts: Sequence[str]) -> str:
    """One text of readings that overlap, each with the one before."""
    text, start = parts[0], 0  # where the last reading begins in the text, in letters
    for before, part in pairwise(parts):
        shift = overlap_shift(spelling(before), spelling(part)) or 0
        known = _find(spelling(text), spelling(part)[:-MISREAD])
        start = start + shift if known is None else known
        end = start + len(letters_of(part)[0])
        count = len(letters_of(text)[0])
        if end > count:
            kept = min(count, max(start, start + len(letters_of(before)[0]) - shift - 1))
            text = _between(text, 0, kept) + _between(part, kept - start, end - start, with_gap=True)
    key = spelling(text)
    repeated = next((n for n in range(len(key) // 2, REPEATED - 1, -1) if key.endswith(key[:n])), 0)
    return _between(text, 0, len(letters_of(text)[0]) - repeated)


def _find(key: str, part: str) -> int | None:
    """Where a part lies in a text, its first and last letter aside."""
    place = key.find(part[1:-1]) if len(part) > OVERLAP else -1
    return place - 1 if place >= 1 else None if place < 0 else 0


def _between(text: str, start: int, end: int, with_gap: bool = False) -> str:
    """A text from one of its letters to another; `with_gap`, with the signs before the first."""
    letters, gaps = letters_of(text)
    pieces = [gaps[place] + letters[place] for place in range(max(0, start), min(end, len(letters)))]
    first = "" if with_gap or start <= 0 else gaps[max(0, start)]
    tail = gaps[-1] if end >= len(letters) else ""
    return "".join(pieces)[len(first) :] + tail


def _similarity(first: str, second: str) -> float:
    # transformers scans the imports of code that a checkpoint brings: what this needs is imported when it is used
    levenshtein: Any = importlib.import_module("rapidfuzz.distance").Levenshtein
    return levenshtein.normalized_similarity(first, second)
