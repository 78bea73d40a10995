"""Tells readings of scripts that a recogniser cannot write: Korean comes out as Chinese characters, Thai as Latin.

A recogniser spells what it sees with the letters it has, and is often sure of it. What gives such a reading away is how
its probabilities are spread over letters that it did not choose: their logarithms, averaged over a text, say which way
its shapes point. A network of two small layers judges them; it is fitted to the shipped recogniser
(on rendered text of two dozen scripts). Of any other recogniser only how unsure it is
counts.
(Source: ours.)
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .unreadable_script_weights import BIAS, HIDDEN, HIDDEN_BIAS, LETTERS, OUTPUT, RECOGNISER

__all__ = ["Recognised", "UnreadableScripts", "reading_features"]

BLANK = 0  # class of a recogniser that stands for no letter
LEAST = 1e-30  # probabilities below are all the same
SURE = 0.003  # doubt, 1 - probability, that makes no difference
# Mean surprise (natural logarithm) of a recogniser at its own choices.
MAX_SURPRISE = 0.25


class Recognised(NamedTuple):
    """What was chosen in each step of a text.

    Attributes:
        classes (`np.ndarray` of shape `(steps,)`): the likeliest class.
        probabilities (`np.ndarray` of shape `(steps,)`): its probability.
        letters (`np.ndarray` of shape `(steps,)`): bool, whether a letter of the text begins there.
    """

    classes: np.ndarray
    probabilities: np.ndarray
    letters: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray) -> "Recognised":
        """What CTC reads in probabilities `(steps, classes)`."""
        classes = probabilities.argmax(axis=1)
        new = np.concatenate([[True], classes[1:] != classes[:-1]])
        return cls(classes, probabilities[np.arange(len(classes)), classes], new & (classes != BLANK))


class UnreadableScripts:
    """Whether a reading is of a script that the recogniser cannot write.

    Args:
        characters (`Sequence[str]`): the recogniser's classes in order, the blank first.
        recogniser (`str`): SHA-256 of its ONNX file: the weights fit one file alone.
    """

    def __init__(self, characters: Sequence[str], recogniser: str):
        self.columns = None
        if recogniser == RECOGNISER:
            places = {character: place for place, character in enumerate(characters)}
            self.columns = np.array([places[letter] for letter in LETTERS])

    def __call__(self, probabilities: np.ndarray) -> bool:
        """Judges one text.

        Args:
            probabilities (`np.ndarray` of shape `(steps, classes)`): of that text, without the steps of padding.
        """
        chosen = Recognised.of(probabilities)
        if not chosen.letters.any():
            return False
        if self.columns is None:
            return bool(_surprise(chosen.probabilities).mean() > MAX_SURPRISE)
        hidden = HIDDEN @ reading_features(probabilities, self.columns, chosen) + HIDDEN_BIAS
        return bool(np.maximum(hidden, 0) @ OUTPUT + BIAS > 0)


def reading_features(probabilities: np.ndarray, columns: np.ndarray, chosen: Recognised) -> np.ndarray:
    """What a reading is judged by.

    Args:
        probabilities (`np.ndarray` of shape `(steps, classes)`): of one text.
        columns (`np.ndarray` of shape `(n,)`): the classes that are looked at.
        chosen (`Recognised`): of the same probabilities; it holds a letter.

    Returns:
        `np.ndarray` of shape `(n + 6,)`: mean log-probabilities of the columns, less their mean, and six numbers that
        say how sure the recogniser is.
    """
    logarithms = np.log(np.maximum(probabilities[:, columns], LEAST)).mean(axis=0)
    surprise = _surprise(chosen.probabilities).mean()
    letters = chosen.probabilities[chosen.letters]
    sureness = [
        np.log(surprise + SURE),
        surprise,
        np.log(1 + SURE - letters.mean()),
        np.log(1 + SURE - letters.min()),
        probabilities[:, BLANK].mean(),
        chosen.letters.mean(),
    ]
    return np.concatenate([logarithms - logarithms.mean(), sureness])


def _surprise(probabilities: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(probabilities, 1e-6))
