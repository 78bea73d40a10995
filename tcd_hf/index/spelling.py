"""What of a text's spelling counts: folding of what readings and typing disagree on, and the terms of what is left."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tcd_hf.index.slips import LONG_WORD, find_slips

__all__ = [
    "FILLER_WORDS",
    "TermFinder",
    "Terms",
    "capital_words",
    "fold",
    "fold_query",
    "gram_token",
    "query_spelling",
    "slipping_words",
    "spell",
    "telling_words",
    "terms_of",
    "word_token",
]

_FILLER = (
    "a an and are as at be by for from has have he her his in into is it its of off on or our out over she that the "
    "their them they this to two up was where which who with you your"
)
FILLER_WORDS = frozenset(_FILLER.split())
"""English words that a query is built with and that by themselves tell few videos from others, folded."""

# Letters that Unicode does not take apart into a plain letter and a mark.
_PLAIN_LETTERS = dict(zip("łøđðħŧŋıĸ", "loddhtnik", strict=True)) | {"þ": "th", "æ": "ae", "œ": "oe"}
# Letters whose capitals (signs are written in capitals) are drawn as Latin ones, so that readings mix them up.
_LOOK_ALIKES = dict(zip("авекмнорстухѕіјһԛԝү", "abekmhopctyxsijhqwy", strict=True))
_LOOK_ALIKES |= dict(zip("αβεζηικμνορτυχ", "abezhikmnoptyx", strict=True))
# Marks that are accents or points on letters that can do without them. Other marks, such as the voiced marks of kana
# or the vowel signs of India, are letters of their own.
_ACCENTS = (
    (0x0300, 0x036F),
    (0x0483, 0x0489),
    (0x0591, 0x05C7),
    (0x0610, 0x061A),
    (0x0640, 0x0640),
    (0x064B, 0x065F),
    (0x0670, 0x0670),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F),
)
NAME_LENGTH = 3  # letters of a name, at least, that is still told with a slip in it
MAX_QUERY_LENGTH = 1000  # characters, of which a sentence has fewer; what is longer takes long, and finds no more
BITS = np.uint64(21)  # of a character; three of them fit 64
SPREAD = np.uint8(37)  # makes one byte of two: an odd factor spreads them best
_APOSTROPHES = "'’‘ʼ`´′"
_IN_NUMBERS = ".,:"
_LETTERS_AS_WORDS = "々〆〇\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_LETTER_AS_WORD = re.compile(f"[{_LETTERS_AS_WORDS}]")
_FIRM = re.compile(f"[{_LETTERS_AS_WORDS}\\d.]")  # with any of these, another letter makes another word


class Terms(NamedTuple):
    """The different terms of a folded text, each in the order of its first position.

    Attributes:
        grams (`list[str]`): three letters in a row inside words that have a space on either side; a word of one letter
            is one.
        pairs (`list[str]`): the telling pairs inside words, those that are not two letters a to z: a price or a plate
            that a reading ran together with other words ("gateb4"), and scripts that write no spaces.
        letters (`list[str]`): single letters of such scripts (Han, Hiragana, Katakana), which are words of their own.
        words (`list[str]`): the whole words.
    """

    grams: list[str]
    pairs: list[str]
    letters: list[str]
    words: list[str]


@lru_cache(1 << 14)  # neighbouring windows show the same texts
def fold(text: str) -> str:
    """What a text is compared by: without case, accents, width, look-alike letters and signs.

    Words are runs of letters and digits, with single spaces between them. A number keeps its inner separators, all of
    them as `"."` (`"1,30"` gives `"1.30"`, `"17:27"` gives `"17.27"`). An apostrophe between letters falls away, as it
    often does in readings: `"let's"` gives `"lets"`. Nothing else is left than letters, digits, `"."` and spaces.
    """
    if text.isascii():
        text = text.lower()
    else:
        # Taken apart again after casefold, which makes letters that can be.
        text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    text = text.translate(_FOLDED)
    if "'" in text:
        text = re.sub(r"(?<=[^\W\d])'+(?=[^\W\d])", "", text).replace("'", " ")
    if "." in text:
        text = re.sub(r"(?<!\d)\.|\.(?!\d)", " ", text)
    return " ".join(unicodedata.normalize("NFC", text).split())


def fold_query(query: str) -> str:
    """The query folded; of a very long one the beginning, so that what a search costs is bounded."""
    return fold(query)[:MAX_QUERY_LENGTH].strip()


def spell(text: str) -> str:
    """The different terms of a text as tokens, for a full-text index that cuts at spaces.

    A space inside a 3-gram is written as `"_"`, and words are marked at both ends: `"B4"` gives `"_b4 b4_ b4 _b4_"`.
    """
    return " ".join(dict.fromkeys(token for word in dict.fromkeys(fold(text).split()) for token in _word_tokens(word)))


def query_spelling(query: str) -> tuple[str, str]:
    """The tokens of a query, for recall from a full-text index of [`spell`]ed texts.

    Returns:
        `tuple[str, str]`: all tokens of its telling words, and its filler words as whole words only, which are too
        frequent to be looked for by their parts. A query without other words has its filler words in the first.
    """
    words = list(dict.fromkeys(fold_query(query).split()))
    telling = telling_words(words)
    filler = [word_token(word) for word in words if word not in telling]
    return spell(" ".join(telling)), " ".join(filler)


def telling_words(words: Sequence[str]) -> list[str]:
    """Those of the folded words of a query that count in full: all but fillers, or all where there are only fillers."""
    return [word for word in words if word not in FILLER_WORDS] or list(words)


def capital_words(query: str) -> set[str]:
    """The words, folded, that a query writes in capitals among others that it does not: `"a STOP sign"` names a text as
    it is shown. Words of one letter are none, and a query all in capitals has none."""
    if not any(letter.islower() for letter in query):
        return set()
    words = (word for word in query.split() if word.isupper() and sum(map(str.isalpha, word)) > 1)
    return set(fold(" ".join(words)).split())


def slipping_words(words: Sequence[str], names: Collection[str]) -> list[str]:
    """Those of the folded words of a query that are still told with a slip in them: of the telling ones the longer, and
    names of three letters and more. Not those with a digit, as another number is another thing, and not those of
    Chinese and Japanese, where a letter is a word.

    Args:
        words (`Sequence[str]`): of the query; their order is kept.
        names (`Collection[str]`): those that name a text as it is shown, see [`capital_words`].
    """
    return [
        word
        for word in telling_words(words)
        if len(word) >= (NAME_LENGTH if word in names else LONG_WORD) and not _FIRM.search(word)
    ]


def terms_of(folded: str) -> Terms:
    """The terms of a folded text."""
    words = list(dict.fromkeys(folded.split()))
    parts = [_parts(word) for word in words]
    grams, pairs, letters = (list(dict.fromkeys(term for part in parts for term in part[kind])) for kind in range(3))
    return Terms(grams, pairs, letters, words)


class TermFinder:
    """Finds the terms of a query in many texts at once.

    Terms are numbered from 0: grams, pairs, letters, words, and some of the words once more, with or without a slip.

    First over all characters, each taken as one of 16 classes, so that two of them are a byte and tables of 256 say
    where a term may be; then exactly, over these few positions.

    Args:
        terms ([`Terms`]): of the query.
        slipping (`Sequence[str]`, *optional*): those of its words that are looked for with slips, too. What is shown
            counts for one of its words alone: for itself, or for the first of which it is a slip.
    """

    def __init__(self, terms: Terms, slipping: Sequence[str] = ()):
        parts = [*terms.grams, *terms.pairs, *terms.letters]
        numbers = {part: number for number, part in enumerate(parts)}
        self._words = [
            (number, [numbers[gram] for gram in _parts(word)[0]])
            for number, word in enumerate(terms.words, start=len(parts))
        ]
        self._slips = [
            (number, word, terms.words.index(word), _of_like_length(terms.words, word))
            for number, word in enumerate(slipping, start=len(parts) + len(terms.words))
        ]
        self._codes = {kind: _sorted_codes(numbers, getattr(terms, kind)) for kind in ("grams", "pairs", "letters")}

        classes = np.zeros(256, np.uint8)  # by the last 8 bits of a character
        for position, letter in enumerate(dict.fromkeys("".join(terms.words))):
            classes[ord(letter) & 0xFF] = 2 + position % 14
        classes[ord(" ")] = 1

        def pair(text: str) -> int:
            first, second = (int(classes[ord(letter) & 0xFF]) for letter in text)
            return 16 * first + second

        begins, ends, telling, grams, letters = (np.zeros(256, np.uint8) for _ in range(5))
        begins[[pair(gram[:2]) for gram in terms.grams]] = 1
        ends[[pair(gram[1:]) for gram in terms.grams]] = 1
        telling[[pair(text) for text in terms.pairs]] = 1
        grams[[(int(SPREAD) * pair(gram[:2]) + pair(gram[1:])) % 256 for gram in terms.grams]] = 1
        letters[[ord(letter) & 0xFF for letter in terms.letters]] = 1
        self._classes = classes.tobytes()
        self._pair_flags = (begins + 2 * ends + 4 * telling).tobytes()
        self._gram_flags, self._letter_flags = grams.tobytes(), letters.tobytes()

    def find(self, characters: np.ndarray, low_bytes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Finds every occurrence.

        Args:
            characters (`np.ndarray` of shape `(num_characters,)`, unsigned): code points of folded texts with spaces
                before, between and after them.
            low_bytes (`np.ndarray` of shape `(num_characters,)`, uint8): the last 8 bits of each.

        Returns:
            `tuple[np.ndarray, np.ndarray]`: positions of the first characters of terms, for those that begin with a
            space that of the space; and the terms' numbers. In no order.
        """
        classes = _look_up(self._classes, low_bytes)
        pairs = 16 * classes[:-1] + classes[1:]
        flags = _look_up(self._pair_flags, pairs)
        positions = np.flatnonzero((flags[:-1] & (flags[1:] >> 1) & 1).view(bool))
        hashes = SPREAD * pairs[positions] + pairs[1:][positions]  # modulo 256
        positions = positions[_look_up(self._gram_flags, hashes).view(bool)]
        found = {"grams": self._check(characters, positions, "grams")}
        if len(self._codes["pairs"][0]):
            positions = np.flatnonzero(((flags >> 2) & 1).view(bool))
            found["pairs"] = self._check(characters, positions, "pairs")
        if len(self._codes["letters"][0]):
            positions = np.flatnonzero(_look_up(self._letter_flags, low_bytes).view(bool))
            found["letters"] = self._check(characters, positions, "letters")
        words = [_follow(*found["grams"], grams, number) for number, grams in self._words]
        slips = self._find_slips(characters, *found["grams"], [places for places, _ in words]) if self._slips else []
        positions, numbers = map(np.concatenate, zip(*found.values(), *words, *slips, strict=True))
        return positions, numbers

    def _find_slips(
        self, characters: np.ndarray, positions: np.ndarray, grams: np.ndarray, exact: list[np.ndarray]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Where words stand with a slip or without, given where all grams are, and each word without a slip."""
        found, taken = [], [np.zeros(0, np.int64)]  # by words before
        for number, word, place, alike in self._slips:
            first, *_, last = self._words[place][1]
            with_slip = find_slips(characters, word, positions[grams == first], positions[grams == last] + 2)
            others = np.concatenate([*taken, *(exact[other] for other in alike)])
            taken.append(with_slip[~np.isin(with_slip, others)])
            found.append((taken[-1], np.full(len(taken[-1]), number)))
        return found

    def _check(self, characters: np.ndarray, positions: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Those of the positions at which there is a term of a kind, and its number."""
        codes, numbers = self._codes[kind]
        length = {"grams": 3, "pairs": 2, "letters": 1}[kind]
        found = np.zeros(len(positions), np.uint64)
        for offset in range(length):
            found = found << BITS | characters[offset:][positions].astype(np.uint64)
        rows = np.minimum(np.searchsorted(codes, found), len(codes) - 1)
        is_term = codes[rows] == found
        return positions[is_term], numbers[rows[is_term]]


def _of_like_length(words: list[str], word: str) -> list[int]:
    """Places of the other words, which may stand where a slip of a word does."""
    return [place for place, other in enumerate(words) if other != word and abs(len(other) - len(word)) <= 1]


def _sorted_codes(numbers: dict[str, int], parts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The characters of terms as one integer each, in ascending order, and their numbers."""
    codes = np.zeros(len(parts), np.uint64)
    for row, part in enumerate(parts):
        for letter in part:
            codes[row] = codes[row] << BITS | np.uint64(ord(letter))
    order = np.argsort(codes)
    return codes[order], np.array([numbers[part] for part in parts], np.int64)[order]


def _look_up(table: bytes, values: np.ndarray) -> np.ndarray:
    return np.frombuffer(values.tobytes().translate(table), np.uint8)  # several times as fast as indexing


def _follow(positions: np.ndarray, grams: np.ndarray, word: list[int], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Where all grams of a word, from the space before it to the one after it, stand one after another.

    Args:
        positions, grams (`np.ndarray` of shape `(num_grams,)`): what was found, in ascending order of positions.
        word (`list[int]`): the numbers of the word's grams.
        number (`int`): that of the word.
    """
    starts = np.flatnonzero(grams[: max(0, len(grams) - len(word) + 1)] == word[0])
    for offset, gram in enumerate(word[1:], start=1):
        follows = starts + offset
        starts = starts[(grams[follows] == gram) & (positions[follows] == positions[starts] + offset)]
    return positions[starts], np.full(len(starts), number)


def gram_token(gram: str) -> str:
    """A 3-gram as [`spell`] writes it."""
    return gram.replace(" ", "_")


def word_token(word: str) -> str:
    """A whole word as [`spell`] writes it."""
    return f"_{word}_"


def _parts(word: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The grams, telling pairs and single letters of a word."""
    padded = f" {word} "
    grams = tuple(padded[position : position + 3] for position in range(len(word)))
    if word.isascii() and word.isalpha():
        return grams, (), ()
    pairs = (word[position : position + 2] for position in range(len(word) - 1))
    telling = tuple(pair for pair in pairs if "." not in pair and not (pair.isascii() and pair.isalpha()))
    return grams, telling, tuple(_LETTER_AS_WORD.findall(word))


@lru_cache(1 << 16)  # rows repeat the words of their language
def _word_tokens(word: str) -> tuple[str, ...]:
    grams, pairs, letters = _parts(word)
    return (*map(gram_token, grams), *pairs, *letters, word_token(word))


class _FoldedCharacters(dict):
    """What each character of a decomposed, casefolded text becomes, for `str.translate`; found when first met."""

    def __missing__(self, code: int) -> str:
        character, category = chr(code), unicodedata.category(chr(code))
        if any(first <= code <= last for first, last in _ACCENTS) or category == "Cf":
            folded = ""
        elif category == "Nd":
            folded = str(unicodedata.decimal(character))
        elif character in _APOSTROPHES:
            folded = "'"
        elif character in _IN_NUMBERS:
            folded = "."
        elif character.isalnum() or category in ("Mn", "Mc"):
            folded = _PLAIN_LETTERS.get(character) or _LOOK_ALIKES.get(character) or character
        else:
            folded = " "
        self[code] = folded
        return folded


_FOLDED = _FoldedCharacters()
