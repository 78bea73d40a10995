"""Captions cut to what a text encoder can take: the most salient texts stay, and no word is cut in two."""

import bisect
from collections.abc import Callable, Sequence

__all__ = ["fit_caption"]


def fit_caption(texts: Sequence[str], fits: Callable[[str], bool]) -> str:
    """Joins texts, most salient first, as far as they fit; the last is cut between words, not inside one.

    A word that is too long by itself, as a line of Chinese may be, is left out; if all are, the first is cut.

    Args:
        texts (`Sequence[str]`): such as the texts of a caption's tracks, or `[caption.text]`.
        fits (`Callable[[str], bool]`): whether a text is short enough, such as by its number of tokens. What fits must
            also fit with its last words left out.
    """
    words = " ".join(texts).split()
    if fits(" ".join(words)):
        return " ".join(words)
    short = [word for word in words if fits(word)]
    if not short:
        return words[0][: _longest_prefix(len(words[0]), lambda n: fits(words[0][:n]))]
    return " ".join(short[: _longest_prefix(len(short), lambda n: fits(" ".join(short[:n])))])


def _longest_prefix(length: int, fits: Callable[[int], bool]) -> int:
    # bisect: a tokenizer is asked some 7 times, not once a word
    return bisect.bisect_left(range(1, length + 1), True, key=lambda n: not fits(n))
