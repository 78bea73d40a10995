"""Slips of typing in queries: the same for the same seed."""

import random
import re

__all__ = ["misspell"]

WORD_LENGTH = 4  # shorter words stay as they are
MAX_SLIPS = 2
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def misspell(query: str, rng: random.Random) -> str:
    """A query with a slip in one or two of its words of four letters and more, names in capitals first.

    A slip drops a letter, doubles it, swaps it with the next, or takes another in its place; never the first one.
    """
    words = [match.span() for match in re.finditer(r"[^\W\d_]+", query) if len(match[0]) >= WORD_LENGTH]
    rng.shuffle(words)
    words.sort(key=lambda span: not query[span[0]].isupper())
    for start, end in sorted(words[: rng.randint(1, MAX_SLIPS)], reverse=True):
        query = query[:start] + _slip(query[start:end], rng) + query[end:]
    return query


def _slip(word: str, rng: random.Random) -> str:
    place = rng.randrange(1, len(word))
    before, letter, after = word[:place], word[place], word[place + 1 :]
    kind = rng.choice(("drop", "double", "swap", "other"))
    if kind == "swap" and after:
        return before + after[0] + letter + after[1:]
    if kind == "double":
        return before + letter + letter + after
    if kind == "other":
        other = rng.choice(LETTERS)
        return before + (other.upper() if letter.isupper() else other) + after
    return before + after
