"""What optical character recognition does to a text on its way to a caption.

Video text is read from small, moving, oblique and half hidden letters. `OCRNoise` imitates the slips that survive in a
window caption: characters taken for look-alikes, lost accents, dropped or doubled characters, stray strokes, words
split, run together, cut off or missed. (Source: ours.)
"""

import random
import unicodedata
from collections.abc import Sequence

LOOK_ALIKES = {
    "0": "OoQD",
    "O": "0QDC",
    "o": "0cea",
    "Q": "O0",
    "D": "O0",
    "1": "lIi|",
    "l": "1I|it",
    "I": "1l|",
    "i": "l1j",
    "j": "i",
    "L": "1I",
    "t": "f+l",
    "f": "t",
    "T": "7I",
    "5": "Ss",
    "S": "5s8",
    "s": "5",
    "8": "B3S",
    "B": "8R3",
    "3": "8B",
    "2": "Zz",
    "Z": "2",
    "z": "2",
    "6": "bG",
    "G": "6C",
    "b": "6h",
    "h": "bn",
    "9": "gq",
    "g": "9q",
    "q": "g9",
    "7": "T1/",
    "4": "A",
    "A": "4",
    "a": "oe",
    "e": "co",
    "c": "eo",
    "C": "GOc",
    "E": "FB",
    "F": "EP",
    "P": "FR",
    "R": "PB",
    "n": "ru",
    "u": "vn",
    "v": "uy",
    "U": "VO",
    "V": "UY",
    "y": "v",
    "Y": "V",
    "H": "NM",
    "N": "HM",
    "M": "NH",
    "K": "X",
    "X": "K",
    "&": "8",
    "$": "S",
    "£": "E",
    "€": "E",
    "'": "’`",
    "-": "_.",
}
STRAY_STROKES = "||IIl1i'.-/"
LOOK_ALIKE_GROUPS = {"rn": "m", "m": "rn", "cl": "d", "d": "cl", "vv": "w", "w": "vv", "ri": "n", "li": "h", "nn": "m"}


class OCRNoise:
    """Damages a list of words as an OCR engine would.

    Args:
        level: share of words that are damaged on average; a word is hit at most twice. 0 leaves everything as it is.
    """

    def __init__(self, level: float):
        if not 0.0 <= level <= 1.0:
            raise ValueError(f"level is a share of words: it must lie in 0-1, got {level}.")
        self.level = level
        self._operations = (self._confuse, self._confuse, self._confuse, self._confuse_group, self._drop, self._double,
                            self._insert, self._split, self._truncate, self._strip_accents)  # fmt: skip

    def __call__(self, words: Sequence[str], rng: random.Random) -> list[str]:
        """Returns the words as they were read: damaged, merged with their neighbour, or missing.

        Args:
            words: the words as they are written, in reading order.
            rng: source of chance; the same state gives the same words.
        """
        read: list[str] = []
        for word in words:
            chance = rng.random()
            if chance < 0.2 * self.level and len(words) > 1:
                continue  # not detected at all
            if rng.random() < self.level:
                word = self.damage(word, rng)
                if rng.random() < 0.3:
                    word = self.damage(word, rng)
            if read and chance > 1.0 - 0.6 * self.level:
                read[-1] += word  # the space was too narrow
            elif word:
                read.append(word)
        return read

    def damage(self, word: str, rng: random.Random) -> str:
        """Returns the word after one slip; a single character can only be confused."""
        if len(word) < 2:
            return self._confuse(word, rng)
        return rng.choice(self._operations)(word, rng)

    @staticmethod
    def _confuse(word: str, rng: random.Random) -> str:
        places = [place for place, character in enumerate(word) if character in LOOK_ALIKES]
        if not places:
            return word
        place = rng.choice(places)
        return word[:place] + rng.choice(LOOK_ALIKES[word[place]]) + word[place + 1 :]

    @staticmethod
    def _confuse_group(word: str, rng: random.Random) -> str:
        groups = [group for group in LOOK_ALIKE_GROUPS if group in word]
        if not groups:
            return word
        group = rng.choice(groups)
        return word.replace(group, LOOK_ALIKE_GROUPS[group], 1)

    @staticmethod
    def _drop(word: str, rng: random.Random) -> str:
        place = rng.randrange(len(word))
        return word[:place] + word[place + 1 :]

    @staticmethod
    def _double(word: str, rng: random.Random) -> str:
        place = rng.randrange(len(word))
        return word[: place + 1] + word[place:]

    @staticmethod
    def _insert(word: str, rng: random.Random) -> str:
        """A stroke that is none: the edge of a box around the letters, a scratch, a shadow."""
        place = rng.randrange(1, len(word))
        return word[:place] + rng.choice(STRAY_STROKES) + word[place:]

    @staticmethod
    def _split(word: str, rng: random.Random) -> str:
        place = rng.randrange(1, len(word))
        return word[:place] + " " + word[place:]

    @staticmethod
    def _truncate(word: str, rng: random.Random) -> str:
        """Cut off at the edge of the frame or of something in front: at most half of the word."""
        keep = rng.randrange((len(word) + 1) // 2, len(word))
        return word[:keep] if rng.random() < 0.5 else word[-keep:]

    @staticmethod
    def _strip_accents(word: str, rng: random.Random) -> str:
        return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
