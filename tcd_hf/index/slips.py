"""Words that are those of a query but for one slip: of the finger that typed them, or of the eye that read them (ours).

A slip is one letter too many, one that is missing, another one in its place, or two that changed places. Found is what
leaves the first or the last two letters of the word as they are: all slips in words of five letters or more.
"""

import numpy as np

__all__ = ["find_slips", "may_slip"]

MIN_LETTERS, MIN_LETTERS_OF_NAME = 5, 3  # of shorter words too many others are near
SPACE = ord(" ")


def may_slip(word: str, is_name: bool = False) -> bool:
    """Whether a folded word is still told with a slip in it.

    Args:
        word (`str`): with a digit in it it is not: another number is another thing.
        is_name (`bool`, *optional*, defaults to `False`): it names a text as it is shown, as one in capitals does.
    """
    return len(word) >= (MIN_LETTERS_OF_NAME if is_name else MIN_LETTERS) and word.isalpha()


def find_slips(characters: np.ndarray, word: str, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Where a word stands, whether with a slip or without.

    Args:
        characters (`np.ndarray` of shape `(num_characters,)`, unsigned): code points of folded texts with spaces
            before, between and after them.
        word (`str`): one that [`may_slip`].
        begins (`np.ndarray` of `int`): positions of the spaces before words that begin with its first two letters.
        ends (`np.ndarray` of `int`): of those after words that end with its last two.

    Returns:
        `np.ndarray` of `int`: positions of the spaces before it, ascending.
    """
    codes, found = np.array(list(map(ord, word)), np.uint32), []
    for length in (len(word) - 1, len(word), len(word) + 1):
        starts = np.concatenate([begins, ends - length - 1])
        starts = starts[(starts >= 0) & (starts + length + 1 < len(characters))]
        starts = starts[(characters[starts] == SPACE) & (characters[starts + length + 1] == SPACE)]
        letters = characters[starts[:, None] + np.arange(1, length + 1)]
        found.append(starts[_is_it(letters, codes)])
    return np.unique(np.concatenate(found))


def _is_it(words: np.ndarray, word: np.ndarray) -> np.ndarray:
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
