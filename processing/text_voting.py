"""The best spelling of a text: its readings vote on each of its letters, and on what stands between them (ours).

One reading takes a letter for another, one loses a space, one is cut: each letter of the text, with its case, is that
of most readings, weighed; and so are the spaces and signs between letters.
"""

import importlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Vote", "best_spelling", "letters_of"]


class Vote(NamedTuple):
    """A reading that votes.

    Args:
        text (`str`): what was read.
        weight (`float`): how much it counts.
        is_piece (`bool`): whether it shows the text in part: it says nothing of what comes before and after it.
    """

    text: str
    weight: float
    is_piece: bool = False


def best_spelling(votes: Iterable[Vote], pivot: str) -> str:
    """The spelling that most readings agree on, letter by letter.

    Args:
        votes (`Iterable[Vote]`): not none.
        pivot (`str`): the reading, or what several were joined to, that the others are compared with.
    """
    weights: dict[tuple[str, bool], float] = defaultdict(float)
    for vote in votes:
        weights[vote.text, vote.is_piece] += vote.weight
    if len(weights) == 1:
        return next(iter(weights))[0] if not next(iter(weights))[1] else pivot
    ballot = _Ballot(pivot)
    for (text, is_piece), weight in weights.items():
        ballot.add(text, weight, is_piece)
    return ballot.result()


def letters_of(text: str) -> tuple[str, list[str]]:
    """The letters and digits of a text, and what stands before, between and after them."""
    letters, gaps = [], [""]
    for character in text:
        if character.isalnum():
            letters.append(character)
            gaps.append("")
        else:
            gaps[-1] += character
    return "".join(letters), gaps


class _Ballot:
    """Votes on each letter of a pivot, on letters put before it, and on the signs before it."""

    def __init__(self, pivot: str):
        self._letters, self._gaps = letters_of(pivot)
        self._plain = _folded(self._letters)
        size = len(self._letters) + 1  # one more, for what comes after the last letter
        self._letter_votes, self._extra_votes, self._gap_votes = (
            [defaultdict(float) for _ in range(size)] for _ in range(3)
        )

    def add(self, text: str, weight: float, is_piece: bool) -> None:
        letters, gaps = letters_of(text)
        partner, extras = self._align(letters, gaps, is_piece)
        if not partner:
            return
        first, last = (min(partner), max(partner)) if is_piece else (0, len(self._letters) - 1)
        for place in range(first, last + 1):
            source = partner.get(place)
            self._letter_votes[place]["" if source is None else letters[source]] += weight
            self._extra_votes[place][extras.get(place, "") if place > first or not is_piece else ""] += weight
            if source is not None and (place > first or first == 0):
                self._gap_votes[place][gaps[source]] += weight
        if last == len(self._letters) - 1:
            self._extra_votes[-1]["" if is_piece else extras.get(last + 1, "")] += weight
            self._gap_votes[-1][gaps[-1]] += weight

    def result(self) -> str:
        """What has most votes; of equal ones what the pivot has, but rather a letter or space than none: it is lost."""
        spelled = ""
        for place, gap in enumerate(self._gaps):
            extra = _winner(self._extra_votes[place], max(self._extra_votes[place], key=len, default=""))
            letter = _winner(self._letter_votes[place], self._letters[place]) if place < len(self._letters) else ""
            spaced = max((other for other in self._gap_votes[place] if " " in other), key=len, default=gap)
            gap = _winner(self._gap_votes[place], spaced)
            spelled += extra + gap + letter if letter or place == len(self._letters) else extra
        return " ".join(spelled.split())

    def _align(self, letters: str, gaps: list[str], is_piece: bool) -> tuple[dict[int, int], dict[int, str]]:
        """For places of the pivot those of a reading's letters; and the letters that it has more, by where."""
        key, begin, end = _folded(letters), 0, len(self._plain)
        if is_piece:  # its letters lie together, wherever else in a long text there are such letters
            found = importlib.import_module("rapidfuzz.fuzz").partial_ratio_alignment(key, self._plain)
            begin, end = found.dest_start, found.dest_end
        partner, extras = {}, {}
        for tag, source, until, start, stop in _levenshtein().opcodes(key, self._plain[begin:end]):
            partner.update(zip(range(begin + start, begin + stop), range(source, until), strict=False))
            if tag == "delete":
                extras[begin + start] = "".join(gaps[place] + letters[place] for place in range(source, until))
        return partner, extras


def _winner(votes: dict[str, float], preferred: str) -> str:
    most = max(votes.values(), default=0.0) - 1e-9
    if votes.get(preferred, 0.0) >= most:
        return preferred
    return next(candidate for candidate, weight in votes.items() if weight >= most)


def _folded(letters: str) -> str:
    """Without case, letter for letter."""
    return "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in letters)


# transformers scans the imports of code that a checkpoint brings: what this needs is imported when it is used
def _levenshtein() -> Any:
    return importlib.import_module("rapidfuzz.distance").Levenshtein
