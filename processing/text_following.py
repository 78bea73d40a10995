"""Texts followed through the time of a segment, each with one best spelling (TCD section 3.1; the rules are ours).

1. Equal readings are followed from frame to frame (`text_threads.py`); of a line that runs through a strip the whole
   line is one reading (`running_lines.py`).
2. Numbers that count are one text, with its range (`text_counters.py`), parts of what runs through a strip are another
   (`text_tickers.py`). Of what else was read in one place, pieces of a text and slips of the reading become part of it;
   what is sure and different is a text of its own (`text_comparison.py`).
3. The readings of a text vote on its spelling, letter by letter (`text_voting.py`).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from .ocr_engines import TextReading
from .running_lines import join_running_lines
from .text_comparison import frames_apart, is_piece, is_slip, similarity
from .text_counters import find_counters
from .text_threads import Sighting, Thread, spelling, spin_threads
from .text_tickers import covered_words, find_tickers
from .text_voting import Vote, best_spelling

__all__ = ["FollowedText", "Sighting", "follow_texts", "spelling"]

NAMED_VALUES = 3  # of a counter, up to which all are named

_Belongs = dict[int, tuple[int, bool]]  # to which thread a thread belongs, and whether as a piece of it

BLUR = 0.2  # what a reading loses at most of its weight where a frame is less sharp than another
STRAY_DIGIT = 0.5  # what a reading counts in which a digit stands for a letter
SHORT_TICKER = 100  # letters; a window that shows a part of a longer text names this part


@dataclass(eq=False)
class FollowedText:
    """One text, in all frames that show it.

    Args:
        text (`str`): its best spelling.
        spell (`Callable`, *optional*): for a text of which windows show different parts, such as a counter: the text
            that given readings of a window, in the order of time, show.
    """

    text: str
    spell: Callable[[Sequence[TextReading]], str] | None = field(default=None, repr=False)

    def shown_by(self, readings: Sequence[TextReading]) -> str:
        """The text as these readings of it show it, `list[TextReading]` in the order of time: best spelled."""
        return self.text if self.spell is None else self.spell(readings)


def follow_texts(sightings: Sequence[Sighting]) -> list[Sighting]:
    """Says which readings are of one text, however far apart, and how it is spelled.

    A counter reads "first - last", both as they were read: whoever looks for the time of either finds it, as a word and
    as a phrase. Three values, as a clock shows in a window of two seconds, are named all.

    Args:
        sightings (`Sequence[Sighting]`): of all read frames of a segment, in the order of time.

    Returns:
        `list[Sighting]`: the same with their `texts`; the readings of a line that runs through a strip are joined.
    """
    sightings = join_running_lines(sightings)
    threads, rows = spin_threads(sightings)
    text_of: dict[int, FollowedText] = {}
    for counter, steady in find_counters(threads, sightings):
        text_of |= dict.fromkeys((thread.number for thread in counter), _counting_text(counter, steady))
    others = {thread.number: thread for thread in threads if thread.number not in text_of}
    belongs = _find_pieces(others, sightings)
    parts = {part.number: ticker for ticker in find_tickers(others, belongs.keys()) for part in ticker[0]}
    belongs = {number: parent for number, parent in belongs.items() if number not in parts}
    belongs = _find_slips(others, belongs, parts.keys(), sightings)

    members: dict[int, list[tuple[Thread, bool]]] = defaultdict(list)  # and whether it shows the text in part
    for thread in others.values():
        root, is_part = _root(thread.number, belongs)
        first = parts[root][0][0].number if root in parts else root
        members[first].append((thread, is_part or root in parts))
    for first, group in members.items():
        text = _running_text(group, parts[first][1]) if first in parts else _plain_text(group, threads[first])
        text_of |= dict.fromkeys((thread.number for thread, _ in group), text)
    return [
        replace(sighting, texts=[text_of[thread.number] for thread in row])
        for sighting, row in zip(sightings, rows, strict=True)
    ]


def _find_pieces(threads: dict[int, Thread], sightings: Sequence[Sighting]) -> _Belongs:
    """For each piece of a longer text the thread that shows more of it, the nearest in time; and `True`."""
    belongs = {}
    for number, thread in threads.items():
        longer = [
            threads[other]
            for other, same_place in thread.places.items()
            if other in threads
            and len(threads[other].key) > len(thread.key)
            and is_piece(thread, threads[other], sightings, same_place)
        ]
        if longer:
            whole = min(longer, key=lambda other: (frames_apart(thread, other), -other.weight))
            belongs[number] = (whole.number, True)
    return belongs


def _find_slips(
    threads: dict[int, Thread], pieces: _Belongs, running: Collection[int], sightings: Sequence[Sighting]
) -> _Belongs:
    """Adds for each slip the thread whose text it is a reading of, the more similar and the surer; and `False`."""
    belongs = dict(pieces)
    settled = {*pieces, *running}
    for thread in sorted(threads.values(), key=lambda thread: -thread.weight):
        if thread.number in settled:
            continue
        surer = [
            threads[other]
            for other, same_place in thread.places.items()
            if same_place
            and other in settled
            and _root(other, belongs)[0] != thread.number
            and is_slip(thread, threads[other], sightings)
        ]
        if surer:
            best = max(surer, key=lambda other: (similarity(thread, other), other.weight))
            belongs[thread.number] = (best.number, False)
        else:
            settled.add(thread.number)
    return belongs


def _root(number: int, belongs: _Belongs) -> tuple[int, bool]:
    """The thread that all of a text belongs to, and whether a piece lies on the way there."""
    is_part = False
    while number in belongs:
        number, shows_part = belongs[number]
        is_part |= shows_part
    return number, is_part


def _plain_text(members: list[tuple[Thread, bool]], root: Thread) -> FollowedText:
    return FollowedText(best_spelling(_votes(members), _surest(root)))


def _counting_text(members: list[Thread], steady: set[str]) -> FollowedText:
    spelled = {thread.key: best_spelling(_votes([(thread, False)]), _surest(thread)) for thread in members}

    def spell(readings: Sequence[TextReading]) -> str:
        keys = [spelling(reading.text) for reading in readings]
        shown = [spelled[key] for key in keys if key in steady] or [spelled[keys[0]]]
        values = list(dict.fromkeys(shown))
        return " - ".join(values if len(values) <= NAMED_VALUES else (values[0], values[-1]))

    spots = (spot for thread in members for spot in zip(thread.frames, thread.readings, strict=True))
    in_order = sorted(spots, key=lambda spot: spot[0])
    return FollowedText(spell([reading for _, reading in in_order]), spell)


def _running_text(members: list[tuple[Thread, bool]], joined: str) -> FollowedText:
    text = re.sub(r"^[^\w$£€(]+|[^\w.!?)]+$", "", best_spelling(_votes(members), joined))  # signs between sentences
    if len(spelling(text)) <= SHORT_TICKER:
        return FollowedText(text)
    return FollowedText(text, lambda readings: covered_words(text, [reading.text for reading in readings]))


def _surest(thread: Thread) -> str:
    return max(thread.readings, key=lambda reading: reading.confidence).text


def _votes(members: list[tuple[Thread, bool]]) -> list[Vote]:
    """The readings, weighed by their confidence, squared, and less where the frame is not as sharp as others."""
    sharpest = max(sharpness for thread, _ in members for sharpness in thread.sharpnesses) or 1.0
    return [
        Vote(reading.text, _weight(reading) * (1 - BLUR + BLUR * sharpness / sharpest), is_part)
        for thread, is_part in members
        for reading, sharpness in zip(thread.readings, thread.sharpnesses, strict=True)
    ]


def _weight(reading: TextReading) -> float:
    has_stray_digit = re.search(r"[^\W\d]\d[^\W\d]", reading.text) is not None  # between letters: H0TEL
    return reading.confidence**2 * (STRAY_DIGIT if has_stray_digit else 1.0)
