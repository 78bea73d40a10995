"""Whether two spellings that were read in one place are one text or two: the rule, and what it rests on (ours)."""

import bisect
import importlib
import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from .text_threads import Box, Sighting, Thread, spelling
from .text_voting import letters_of

__all__ = ["digits_of", "frames_apart", "is_piece", "is_slip", "similarity"]

SIMILAR_SPELLING = 70.0  # rapidfuzz ratio, 0-100: "PETROBRA" and "PETROBRAS" have 94, "MEDIA" and "MEDA" 89
SURE = 0.9  # confidence from which a reading is trusted in every letter; slips that replace a letter have less
LOST_SHARE = 0.3  # of the letters of a text that a reading may lose, wherever it says that it lay
LETTER = 1.2  # how exactly the end of a box tells where a text was cut, in letters
BORDER = 0.04  # distance from the border of the frame, at most a letter, at which a text is cut by it
EDGE, UNCUT = 0.01, 0.95  # the same above and below, and the share of its height that a text has which is not cut there
COVERED = 0.5  # share of a reading's box in the place of a longer text from which it is a part of that text
PASSING = 1.0  # seconds for which a text is shown at most while it is being typed
CUT_LETTERS = 4  # of a piece, at least, whose last letter may be misread
DOUBT_OF_LETTER = 0.5  # missing confidence times letters
SHORT_WORD = 3  # letters
NEAR = 10  # frames between a text and a reading that is a piece of it, at most
SEVERAL = 2  # readings that agree
OUTWEIGHED = 0.5  # weight of a longer spelling, relative to a shorter one, below which it may have letters too many

LOOK_ALIKES = frozenset(map(frozenset, ("0o", "1l", "1i", "2z", "5s", "6g", "8b")))


def is_slip(first: Thread, second: Thread, sightings: Sequence[Sighting]) -> bool:
    """Whether of two similar spellings, read in one place in different frames, one is a slip in reading the other.

    Two texts that follow each other (PLAN A, PLAN B) differ as little as a text and its slips do. What tells them
    apart, in this order:

    1. *Digits* that changed are news: clocks, scores, prices. A digit for a letter that looks like it (H0TEL), and an
       accent that is missing, are slips.
    2. *Little in common*: spellings below `SIMILAR_SPELLING` are two texts; so are a longer one and a shorter one that
       was read with the rest beside it.
    3. *Confidence*: only readings that are both sure can be two texts. Where a recogniser takes one letter for another
       it is seldom sure. Several readings that agree are surer than one: their doubt is divided by the root of their
       number. One of letters that the upper or lower border of the frame cuts is not sure.
    4. *Several letters or a whole word* differ (TUESDAY and THURSDAY, PLAN A and PLAN B): two texts, one frame is
       enough. From here on, a single letter inside a word differs.
    5. *Doubt of a letter*: what lacks in confidence, in all letters together, may be that of the one that differs.
    6. *A letter more or less* (MEDA, MEDIA) is lost at any confidence: a slip, unless one spelling follows the other
       for good and several readings agree on either.
    7. *Order in time*: A A A B B B is a change. A B A A B A, where one of the two never holds for two readings, is a
       slip if no new scene begins and ends with it: a text seldom goes away for one frame.

    Args:
        first ([`Thread`])
        second ([`Thread`])
        sightings (`Sequence[Sighting]`): those of all frames.
    """
    if digits_of(first.key) != digits_of(second.key) or _plain(first.key) == _plain(second.key):
        return _look_alike(first, second)
    if similarity(first, second) < SIMILAR_SPELLING or _shows_rest_beside(first, second, sightings):
        return False
    if max(_doubt(first), _doubt(second)) > 1 - SURE + 1e-9 or _leaves(first, second) or _leaves(second, first):
        return True
    if _levenshtein().distance(first.key, second.key) > 1 or _is_whole_word(first, second):
        return False
    if max(len(thread.key) * _doubt(thread) for thread in (first, second)) > DOUBT_OF_LETTER:
        return True
    runs = _runs(first, second)
    changed_for_good = len(runs) == 2
    several_agree = min(max(map(len, runs[side::2])) for side in (0, 1)) >= SEVERAL
    if len(first.key) != len(second.key):
        return not (changed_for_good and several_agree)
    return not (changed_for_good or several_agree or any(_is_scene(run, sightings) for run in runs[1:-1]))


def is_piece(part: Thread, whole: Thread, sightings: Sequence[Sighting], same_place: bool = True) -> bool:
    """Whether a spelling is what can be seen of a longer one, while it grows or where something cuts it.

    1. *It grows*: the begin of a text that follows in its place (typed letter by letter, sung word by word).
    2. *It is cut*, by the border of the frame or by what is before it: its box ends where the letters do that it shows.
    3. *Little is lost*: `LOST_SHARE` of the letters at most, wherever the box lies, unless it was laid out anew: what
       stays in the middle, or begins at the same edge without its first letters, was not cut (MALE, FEMALE).

    A cut inside a number is none unless it is seen: 1 and 12 are two numbers. What was read beside it, in the place of
    the rest, says that the longer one is two texts that were read as one.

    Args:
        part ([`Thread`]): the shorter one.
        whole ([`Thread`]): the longer one.
        sightings (`Sequence[Sighting]`): those of all frames.
        same_place (`bool`, *optional*, defaults to `True`): whether they were read in one place. If only in one row,
            as of a text that runs through, a piece is one that was read once and lies next to the end of the row.
    """
    offset = _offset(part, whole)
    if offset is None:
        return False
    lost = offset, len(whole.key) - offset - len(part.key)
    splits_number = _splits_number(whole, offset, offset + len(part.key))
    if not same_place:
        return len(part.frames) == 1 and len(part.key) >= 3 and min(lost) == 0 and not splits_number
    if _shows_rest_beside(part, whole, sightings):
        return False
    spot, whole_spot = _nearest(part, whole)
    box, whole_box = part.readings[spot].box, whole.readings[whole_spot].box
    cut, anew = _layout(box, whole_box, lost, len(whole.key))
    letter = min(BORDER, (box[2] - box[0]) / len(part.key))
    at_border = (box[0] <= letter and lost[0] > 0) or (box[2] >= 1 - letter and lost[1] > 0)
    if splits_number:
        return at_border or (cut and part.seconds <= PASSING and not whole.key.isdigit())
    stays = _share_inside(part.readings[0].box, part.readings[-1].box) >= COVERED
    if lost[0] == 0 and part.frames[-1] < whole.frames[0] and stays:
        return True
    one_more = sum(lost) == 1 and _doubt(whole) <= 1 - SURE  # a letter is rather lost than invented
    if (whole.weight < OUTWEIGHED * part.weight and not one_more) or not _is_mostly_near(part, whole):
        return False
    return cut or at_border or (sum(lost) <= LOST_SHARE * len(whole.key) and not anew and len(part.key) > 1)


def similarity(first: Thread, second: Thread) -> float:
    """How alike two spellings are, 0-100."""
    return _fuzz().ratio(first.key, second.key)


def frames_apart(first: Thread, second: Thread) -> int:
    """How many frames lie between the readings of either that are nearest in time."""
    i, j = _nearest(first, second)
    return abs(first.frames[i] - second.frames[j])


def digits_of(key: str) -> str:
    """The digits of a spelling."""
    return "".join(filter(str.isdigit, key)) if not key.isalpha() else ""


def _plain(key: str) -> str:
    """A spelling without accents."""
    if key.isascii():
        return key
    return "".join(c for c in unicodedata.normalize("NFD", key) if not "\u0300" <= c <= "\u036f")


def _look_alike(first: Thread, second: Thread) -> bool:
    """Whether spellings differ only in accents, and in letters of longer words that look like the digits of the other.

    Not in a number: 50 and SO are two texts.
    """
    one, other = _plain(first.key), _plain(second.key)
    if one == other:
        return True
    if len(one) != len(other) or one.isdigit() or other.isdigit():
        return False
    differ = [frozenset(pair) for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    return LOOK_ALIKES.issuperset(differ) and not _is_whole_word(first, second)


def _doubt(thread: Thread) -> float:
    """What the readings lack in confidence, 0-1, less where several agree."""
    return (1 - thread.confidence) / len(thread.readings) ** 0.5


def _leaves(thread: Thread, other: Thread) -> bool:
    """Whether what was read once reaches beyond the upper or lower border: it is lower than the other."""
    (_, top, _, bottom), (_, other_top, _, other_bottom) = thread.box, other.box
    at_border = top <= EDGE or bottom >= 1 - EDGE
    return at_border and len(thread.readings) == 1 and bottom - top < UNCUT * (other_bottom - other_top)


def _is_whole_word(first: Thread, second: Thread) -> bool:
    """Whether what differs is words of so few letters that one letter is most of them."""
    words = [thread.readings[0].text.split() for thread in (first, second)]
    if len(words[0]) != len(words[1]):
        return False
    differ = [pair for pair in zip(*(map(spelling, side) for side in words), strict=True) if pair[0] != pair[1]]
    return all(max(map(len, pair)) <= SHORT_WORD for pair in differ)


def _runs(first: Thread, second: Thread) -> list[list[int]]:
    """The frames of the two in the order of time, those that show one without the other between together."""
    seen = sorted([(frame, 0) for frame in first.frames] + [(frame, 1) for frame in second.frames])
    return [[frame for frame, _ in group] for _, group in groupby(seen, key=lambda item: item[1])]


def _is_scene(run: list[int], sightings: Sequence[Sighting]) -> bool:
    """Whether a scene begins and ends with these frames."""
    after = run[-1] + 1
    return sightings[run[0]].after_cut and (after == len(sightings) or sightings[after].after_cut)


def _offset(part: Thread, whole: Thread) -> int | None:
    """Where a spelling begins in a longer one; in one that passes or is in doubt, letters at a cut may be misread."""
    key, longer = part.key, whole.key
    if len(key) >= len(longer):
        return None
    place = longer.find(key)
    if place >= 0 or len(key) < CUT_LETTERS or not (part.seconds <= PASSING or _doubt(part) > 1 - SURE):
        return place if place >= 0 else None
    cursor = key[-1] == "1" and not key[-2].isdigit()  # after what was typed
    if (key[-1].isdigit() and not cursor) or re.search(r"[\W_]\w\W*$", part.readings[0].text):  # a word: PLAN A
        return None
    if longer.startswith(key[:-1]):
        return 0
    place = longer.find(key[1:-1]) if len(key) > CUT_LETTERS + 1 and not key[0].isdigit() else -1
    return place - 1 if place >= 1 and place + len(key) - 1 <= len(longer) else None


def _splits_number(whole: Thread, start: int, end: int) -> bool:
    """Whether one of two cuts in a spelling is inside a number: 10:42 is one, 555-1234 are two."""
    letters, gaps = letters_of(whole.readings[0].text)
    return len(letters) == len(whole.key) and any(
        0 < cut < len(letters) and letters[cut - 1 : cut + 1].isdigit() and gaps[cut] in ("", ".", ",", ":")
        for cut in (start, end)
    )


def _nearest(first: Thread, second: Thread) -> tuple[int, int]:
    """The places of the two readings, one of each thread, that are nearest in time."""
    best = (len(first.frames) - 1, len(second.frames) - 1)
    gap = abs(first.frames[-1] - second.frames[-1])
    for i, frame in enumerate(first.frames):
        place = bisect.bisect_left(second.frames, frame)
        for j in (place - 1, place):
            if 0 <= j < len(second.frames) and abs(second.frames[j] - frame) < gap:
                best, gap = (i, j), abs(second.frames[j] - frame)
    return best


def _is_mostly_near(part: Thread, whole: Thread) -> bool:
    """Whether a spelling is seen about when the other is, not as a text of its own at other times too."""
    near = 0
    for frame in part.frames:
        place = bisect.bisect_left(whole.frames, frame)
        near += any(abs(other - frame) <= NEAR for other in whole.frames[max(0, place - 1) : place + 1])
    return 2 * near >= len(part.frames)


def _layout(box: Box, whole: Box, lost: tuple[int, int], length: int) -> tuple[bool, bool]:
    """Whether the box of a piece is where its letters are in the box of the whole; whether it was laid out anew.

    Anew is what stays in the middle, or keeps an edge at which it lost letters. A box that is as wide as the whole, or
    lies elsewhere, is neither.
    """
    letter = max(1e-9, whole[2] - whole[0]) / length
    cut = whole[0] + lost[0] * letter, whole[2] - lost[1] * letter
    width = cut[1] - cut[0]
    anew = [((whole[0] + whole[2] - width) / 2, (whole[0] + whole[2] + width) / 2)]
    if lost[0]:
        anew.append((whole[0], whole[0] + width))
    if lost[1]:
        anew.append((whole[2] - width, whole[2]))

    def error(expected: tuple[float, float]) -> float:
        return max(abs(box[0] - expected[0]), abs(box[2] - expected[1])) / letter

    errors = error(cut), min(map(error, anew)), error((whole[0], whole[2]))
    best = min(errors)
    is_anew = sum(lost) > 1 and best < errors[0] and best == errors[1] <= LETTER  # of one letter boxes do not tell
    return best == errors[0] <= LETTER, is_anew


def _shows_rest_beside(first: Thread, second: Thread, sightings: Sequence[Sighting]) -> bool:
    """Whether the rest of the longer spelling was read beside the shorter one: there, the longer one is two texts."""
    part, whole = sorted((first, second), key=lambda thread: len(thread.key))
    if len(whole.key) - len(part.key) < 2:
        return False
    spot, whole_spot = _nearest(part, whole)
    box, whole_box = part.readings[spot].box, whole.readings[whole_spot].box
    others = sightings[part.frames[spot]].readings
    return any(reading.box != box and _share_inside(reading.box, whole_box) >= COVERED for reading in others)


def _share_inside(box: Box, other: Box) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return width * height / area if width > 0 and height > 0 and area > 0 else 0.0


# transformers scans the imports of code that a checkpoint brings: what this needs is imported when it is used
def _fuzz() -> Any:
    return importlib.import_module("rapidfuzz.fuzz")


def _levenshtein() -> Any:
    return importlib.import_module("rapidfuzz.distance").Levenshtein
