"""Words that are those of a query but for one slip: of the finger that typed them, or of the eye that read them (ours).

A slip is one letter too many, one that is missing, another one in its place, or two that changed places. Found is what
leaves the first or the last two letters of the word as they are: all slips in words of five letters or more. Of a
shorter word, most of whose slips are other words (STOP and shop), only one letter too many is one.
"""

import numpy as np

__all__ = ["LONG_WORD", "find_slips"]

LONG_WORD = 5  # letters, from which on every slip is one
SPACE = ord(" ")


def find_slips(characters: np.ndarray, word: str, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Where a word stands, whether with a slip or without.

    Args:
        characters (`np.ndarray` of shape `(num_characters,)`, unsigned): code points of folded texts with spaces
            before, between and after them.
        word (`str`): folded, of three letters at least.
        begins (`np.ndarray` of `int`): positions of the spaces before words that begin with its first two letters.
        ends (`np.ndarray` of `int`): of those after words that end with its last two.

    Returns:
        `np.ndarray` of `int`: positions of the spaces before it, ascending.
    """
    codes, found = np.array(list(map(ord, word)), np.uint32), []
    shortest = len(word) - 1 if len(word) >= LONG_WORD else len(word)
    for length in range(shortest, len(word) + 2):
        after, before = begins + length + 1, ends - length - 1
        begun = begins[after < len(characters)]
        begun = begun[characters[begun + length + 1] == SPACE]
        ended = before[before >= 0]
        ended = ended[characters[ended] == SPACE]
        starts = np.concatenate([begun, ended])
        words = characters[starts[:, None] + np.arange(1, length + 1)]
        is_it = (words == codes).all(axis=1) if length == len(word) < LONG_WORD else _differ_by_a_slip(words, codes)
        found.append(starts[is_it])
    return np.unique(np.concatenate(found))


def _differ_by_a_slip(words: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Which of several words, `(num_words, length)`, are at most one slip from another, `(length ± 1,)`."""
    shared = min(words.shape[1], len(word))
    first = _leading(words[:, :shared] == word[:shared])
    last = _leading(words[:, ::-1][:, :shared] == word[::-1][:shared])
    is_it = first + last >= max(words.shape[1], len(word)) - 1
    if words.shape[1] == len(word):
        rows = np.flatnonzero(first + last == len(word) - 2)
        place = first[rows]
        swapped = (words[rows, place] == word[place + 1]) & (words[rows, place + 1] == word[place])
        is_it[rows] = swapped
    return is_it & (words != SPACE).all(axis=1)


def _leading(same: np.ndarray) -> np.ndarray:
    """How many are true before the first that is not, row by row."""
    return np.logical_and.accumulate(same, axis=1).sum(axis=1)
