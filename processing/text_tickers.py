"""Texts that run through a strip: each reading shows a part, which overlaps with the next (ours)."""

import importlib
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from .text_threads import SAME_ROW, Thread, spelling
from .text_voting import letters_of

__all__ = ["Overlap", "covered_words", "find_overlap", "find_tickers"]

LEAST_SHARED, SURELY_SHARED = 6, 8  # letters that two readings of one text share at least, where it runs on
SHARE = 0.3  # of the shorter of them
ALIKE = 0.8  # similarity of the parts that they share, 0-1
SEED = 4  # equal letters from which an overlap is tried
MAX_FRAMES = 4  # from one reading to the next
REPEATED = 4  # letters at the end of a text, equal to those at its begin, from which it begins again


class Overlap(NamedTuple):
    """How a spelling goes on where another ends.

    Args:
        shift (`int`): by how many letters it is further on.
        is_exact (`bool`): whether what both show is equal, but for letters at its ends, which may be cut.
    """

    shift: int
    is_exact: bool


def find_overlap(first: str, second: str) -> Overlap | None:
    """Where a spelling goes on, of which another shows the begin; `None` if it does not.

    "breakingnewspresi" and "ingnewspresidentvi" are 5 letters apart.
    """
    least = max(LEAST_SHARED, SHARE * min(len(first), len(second)))
    shifts = {first.find(second[k : k + SEED], k + 1) - k for k in range(len(second) - SEED + 1)}
    for shift in sorted(shift for shift in shifts if 0 < shift <= len(first) - least):
        shared = first[shift + 1 : -1], second[1 : len(first) - shift - 1]  # the first and the last may be cut
        if len(first) - shift < len(second) and _similarity(*shared) >= ALIKE:
            return Overlap(shift, shared[0] == shared[1] and len(first) - shift >= SURELY_SHARED)
    return None


def find_tickers(threads: dict[int, Thread], pieces: Collection[int]) -> list[tuple[list[Thread], str]]:
    """Threads that are parts of one text which runs through one place, and that text, joined.

    Two parts are joined if what they share is equal; three or more if it is in half of the cases, else only alike.

    Args:
        threads (`dict[int, Thread]`): by their numbers.
        pieces (`Collection[int]`): those that show less of a text than another one does.
    """
    follower: dict[int, tuple[Overlap, int]] = {}
    followed: set[int] = set()
    for thread in threads.values():
        if thread.number in pieces:
            continue
        links = [
            (overlap, number)
            for number, same_place in thread.places.items()
            if same_place
            and number in threads
            and number not in pieces
            and number not in followed
            and 0 < threads[number].frames[0] - thread.frames[-1] <= MAX_FRAMES
            and (overlap := find_overlap(thread.key, threads[number].key)) is not None
        ]
        if links:
            overlap, following = min(links, key=lambda link: (threads[link[1]].frames[0], link[0].shift))
            follower[thread.number] = overlap, following
            followed.add(following)
    tickers = []
    for number in sorted(follower.keys() - followed):
        parts, exact = [threads[number]], []
        while parts[-1].number in follower:
            overlap, following = follower[parts[-1].number]
            parts.append(threads[following])
            exact.append(overlap.is_exact)
        if 2 * sum(exact) >= len(exact):
            tickers.append((parts, _joined([max(part.readings, key=lambda r: r.confidence).text for part in parts])))
    whole: list[tuple[list[Thread], str]] = []
    for parts, text in sorted(tickers, key=lambda ticker: -len(ticker[1])):
        homes = (home for home in whole if _in_row(parts[0], home[0][0]) and _is_part(text, home[1]))
        if (home := next(homes, None)) is not None:
            home[0].extend(parts)
        else:
            whole.append((parts, text))
    taken = {part.number for parts, _ in whole for part in parts}
    for parts, text in whole:
        parts += _rests(parts, spelling(text), [thread for thread in threads.values() if thread.number not in taken])
        taken.update(part.number for part in parts)
    return whole


def _rests(parts: list[Thread], key: str, threads: Sequence[Thread]) -> list[Thread]:
    """What else of a text was read in its row: its begin and end, as it comes and goes."""
    frames = {frame for part in parts for frame in part.frames}
    first, last = min(frames), max(frames)
    in_row = [thread for thread in threads if _in_row(thread, parts[0]) and _find(key, thread.key) is not None]
    before = sorted((thread for thread in in_row if thread.frames[0] < first), key=lambda thread: -thread.frames[-1])
    rests = []
    for thread in before + [thread for thread in in_row if thread.frames[0] >= first]:
        if first - MAX_FRAMES <= thread.frames[-1] and thread.frames[0] <= last + MAX_FRAMES:
            rests.append(thread)
            first, last = min(first, thread.frames[0]), max(last, thread.frames[-1])
    return rests


def _in_row(first: Thread, second: Thread) -> bool:
    boxes = first.box, second.box
    middles = [(box[1] + box[3]) / 2 for box in boxes]
    return abs(middles[0] - middles[1]) <= SAME_ROW * min(box[3] - box[1] for box in boxes)


def _is_part(text: str, other: str) -> bool:
    fuzz: Any = importlib.import_module("rapidfuzz.fuzz")
    return fuzz.partial_ratio(spelling(text), spelling(other)) >= 100 * ALIKE


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
        overlap = find_overlap(spelling(before), spelling(part))
        shift = overlap.shift if overlap else 0
        known = _find(spelling(text), spelling(part)[:-1])
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
    """Where a part lies in a text; of a longer part the first and last letter may be cut."""
    place, cut = key.find(part), 0
    if place < 0 and len(part) > LEAST_SHARED:
        place, cut = key.find(part[1:-1]), 1
    return None if place < 0 else max(0, place - cut)


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
