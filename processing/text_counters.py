"""Clocks and counters: numbers that change in one place too fast to be texts of their own (ours)."""

import bisect
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from .text_comparison import digits_of
from .text_threads import Sighting, Thread

__all__ = ["find_counters"]

CLOCK = re.compile(r"\d{1,2}[:.]\d\d(?!\d)")
CLOCK_VALUES, CLOCK_PACE = 3, 3.0  # different values at least, and seconds that each lasts at most, on average
OTHER_VALUES, OTHER_PACE = 5, 1.5  # of other numbers: the steps of a guide count too, but slowly
STEADY = 0.8  # share of the readings that count up, or down, from which the others are slips


def find_counters(threads: Sequence[Thread], sightings: Sequence[Sighting]) -> list[tuple[list[Thread], set[str]]]:
    """Threads that are values of one clock or counter.

    They took each other's place, differ in digits only, no two are seen at once, and none came from another place.

    Returns:
        For each counter its threads, and the spellings that count: without slips such as 10:08 between 10:02 and 10:04.
    """
    seen: dict[int, set[str]] = defaultdict(set)
    for thread in threads:
        for frame in thread.frames if digits_of(thread.key) else ():
            seen[frame].add(thread.key)
    counters, grouped = [], set()
    for thread in threads:
        if thread.number not in grouped and digits_of(thread.key):
            group = _values_in_place(thread, threads)
            grouped.update(member.number for member in group)
            # from another place, or to one, as in a table that is scrolled
            moved = sum(t.key in seen[t.frames[0] - 1] or t.key in seen[t.frames[-1] + 1] for t in group)
            if 2 * moved <= len(group) and (steady := _steady(group, sightings)) is not None:
                counters.append((group, steady))
    return counters


def _values_in_place(thread: Thread, threads: Sequence[Thread]) -> list[Thread]:
    """The threads that follow each other in one place and differ in digits only."""
    label, group, queue = _label(thread.key), {thread.number: thread}, [thread]
    while queue:
        for number, same_place in queue.pop().places.items():
            other = threads[number]
            if same_place and number not in group and digits_of(other.key) and _label(other.key) == label:
                group[number] = other
                queue.append(other)
    return list(group.values())


def _label(key: str) -> str:
    return "" if key.isdigit() else "".join(letter for letter in key if not letter.isdigit())


def _steady(group: Sequence[Thread], sightings: Sequence[Sighting]) -> set[str] | None:
    """The spellings that count, of a group that is a counter; else `None`."""
    if len({thread.key for thread in group}) < CLOCK_VALUES:
        return None
    seen = sorted((frame, thread.key) for thread in group for frame in thread.frames)
    frames, keys = [frame for frame, _ in seen], [key for _, key in seen]
    steps = [(key, later) for key, later in pairwise(keys) if key != later]
    is_typed = 2 * sum(later.startswith(key) for key, later in steps) > len(steps)
    if len(set(frames)) < len(frames) or is_typed:
        return None
    clocks = sum(bool(CLOCK.search(thread.readings[0].text)) for thread in group)
    least, pace = (CLOCK_VALUES, CLOCK_PACE) if 2 * clocks > len(group) else (OTHER_VALUES, OTHER_PACE)
    values = [int(digits_of(key)) for key in keys]
    counted = max(_longest_rise(values), _longest_rise([-value for value in values]), key=len)
    if len(counted) < STEADY * len(values):
        counted = range(len(values))  # speeds and the like go up and down
    steady = {keys[place] for place in counted}
    seconds = sightings[frames[-1]].start - sightings[frames[0]].start
    return steady if len(steady) >= least and seconds <= pace * (len(steady) - 1) + 1e-6 else None


def _longest_rise(values: Sequence[int]) -> list[int]:
    """Places of a longest part of a sequence, in order, that never falls."""
    ends: list[int] = []  # places of the smallest values that rises of each length end with
    before: list[int] = []
    for place, value in enumerate(values):
        length = bisect.bisect_right([values[end] for end in ends], value) if ends else 0
        before.append(ends[length - 1] if length else -1)
        ends[length : length + 1] = [place]
    rise = [ends[-1]]
    while before[rise[-1]] >= 0:
        rise.append(before[rise[-1]])
    return rise[::-1]
