"""What is written in the synthetic world and how its queries speak, in three splits that share neither. (Source: ours.)

Every word of three letters or digits and more belongs to one split by its hash, as in `text_material`; only words of
closed classes (Street, Ltd, Monday, km) are common to all. Sentence forms are dealt out by their place in the list. The
words for what is seen (colours, shapes, motions) are the same everywhere: nobody learns those from spelling.

Needs the extra `[train-mini]`.
"""

import random
import re
import zlib

from .query_templates import CLAUSES, EVERYWHERE, OPENINGS
from .text_material import (
    COMPANY_ENDS,
    DAYS,
    HELD_OUT_ONE_IN,
    LETTERS,
    MONTHS,
    STREET_ENDS,
    TITLE_FORMS,
    UNITS,
    is_held_out,
    text_material,
)

__all__ = ["SPLITS", "SplitTexts", "is_shared", "query_forms", "spell_motion", "spell_thing", "split_of", "words_of"]

SPLITS = ("train", "validation", "test")
WORD = re.compile(r"[^\W_]{3,}")
SHARED_FORMS = (*COMPANY_ENDS, *STREET_ENDS, *DAYS, *MONTHS, *UNITS, *TITLE_FORMS, *EVERYWHERE)
SHARED_WORDS = "United City Rovers Tigers Kings off dollars euro USD yuan rupees cents"
SHARED = {word.lower() for text in (*SHARED_FORMS, SHARED_WORDS) for word in WORD.findall(text)}
KIND_WEIGHTS = {
    "words": 24,
    "brand": 24,
    "name": 14,
    "place": 10,
    "title": 8,
    "plate": 6,
    "price": 5,
    "number": 4,
    "time": 3,
    "score": 2,
}
BARE_KINDS = ("price", "number", "time")  # too short to be found by: they get a word in front
MIN_LETTERS, MAX_LENGTH = 7, 22


# words ---------------------------------------------------------------------------------------------------------------
def words_of(text: str) -> list[str]:
    """The words that decide a text's split, lower-cased: runs of three letters or digits and more."""
    return [word.lower() for word in WORD.findall(text)]


def is_shared(word: str) -> bool:
    """Whether a lower-cased word occurs in every split."""
    return word in SHARED


def split_of(word: str) -> str:
    """The split of a word that is not shared: seven eighths train, the rest validation and test by halves."""
    if not is_held_out(word):
        return "train"
    return SPLITS[1 + zlib.crc32(word.lower().encode()) // HELD_OUT_ONE_IN % 2]


class SplitTexts:
    """Scene texts of one split.

    Args:
        split: one of `SPLITS`.
    """

    def __init__(self, split: str):
        self.split = split
        self.material = text_material(held_out=split != "train")
        self._makers = {
            "words": self.material.phrase,
            "brand": self.material.brand,
            "name": self.material.person,
            "place": self.material.place,
            "title": self.material.title,
            "plate": self.material.plate,
            "price": self.material.price,
            "number": self.material.number,
            "time": self.material.date_or_time,
            "score": self.material.score,
        }

    def draw(self, rng: random.Random) -> tuple[str, str]:
        """Returns the kind of a text, a key of `query_templates.CLAUSES`, and the text: long enough to be unique."""
        (kind,) = rng.choices(list(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))
        while True:
            text = self._makers[kind](rng)
            if kind in BARE_KINDS:
                text = f"{self.material.word(rng).capitalize()} {text}"
            elif kind == "words" and rng.random() < 0.5:
                text = text.title() if rng.random() < 0.5 else text.upper()
            if self._allows(text) and self._is_rare(kind, text) and len(text) <= MAX_LENGTH:
                return ("words" if kind in BARE_KINDS else kind), text

    def alter(self, text: str, rng: random.Random) -> str:
        """Returns the text with one of its words replaced, digits by digits and capitals by capitals."""
        words = text.split()
        while True:
            place = rng.randrange(len(words))
            altered = " ".join([*words[:place], self._replace(words[place], rng), *words[place + 1 :]])
            if altered.lower() != text.lower() and len(altered) <= MAX_LENGTH and self._allows(altered):
                return altered

    def _replace(self, word: str, rng: random.Random) -> str:
        if any(map(str.isdigit, word)) or (word.isupper() and len(word) < 4):
            other = {str.isdigit: "0123456789", str.isupper: LETTERS}
            return "".join(next((rng.choice(o) for is_one, o in other.items() if is_one(c)), c) for c in word)
        drawn = self.material.word(rng) if rng.random() < 0.5 else self.material.invented(rng)
        return drawn.upper() if word.isupper() else drawn.capitalize() if word[0].isupper() else drawn

    @staticmethod
    def _is_rare(kind: str, text: str) -> bool:
        """Whether no other clip shows the text: one plain word comes up again and again."""
        words = words_of(text)
        if any(map(str.isdigit, text)):
            return sum(map(str.isalnum, text)) >= MIN_LETTERS
        own = [word for word in words if not is_shared(word)]
        return len(words) > 1 and len(own) >= (1 if kind in ("brand", "place") else 2)

    def _allows(self, text: str) -> bool:
        own = [word for word in words_of(text) if not is_shared(word)]
        latin = all(character <= "\xff" for character in text)  # what every font has
        return bool(own) and latin and all(split_of(word) == self.split for word in own)


# what is seen --------------------------------------------------------------------------------------------------------
SHAPE_WORDS = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "diamond": ("diamond",),
    "cross": ("cross", "plus sign"),
    "ring": ("ring", "hoop"),
    "moon": ("crescent", "moon"),
    "flower": ("flower", "blossom"),
}
SIZE_WORDS = {"small": ("small", "little"), "medium": ("",), "big": ("big", "large")}
MOTION_WORDS = {
    "left": ("moving left", "drifting to the left"),
    "right": ("moving right", "drifting to the right"),
    "up": ("moving up", "rising"),
    "down": ("moving down", "sinking"),
    "circle": ("going round in a circle", "circling"),
    "bounce": ("bouncing", "hopping up and down"),
    "sway": ("swaying from side to side", "moving to and fro"),
    "grow": ("growing", "getting bigger"),
    "shrink": ("shrinking", "getting smaller"),
    "still": ("standing still", "that does not move"),
}


def spell_thing(color: str, shape: str, rng: random.Random, size: str = "medium") -> str:
    """A noun phrase without motion, such as `"a little red star"`."""
    phrase = " ".join([rng.choice(SIZE_WORDS[size]), color, rng.choice(SHAPE_WORDS[shape])]).strip()
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def spell_motion(motion: str, rng: random.Random) -> str:
    """What follows the noun phrase, such as `"drifting to the left"`."""
    return rng.choice(MOTION_WORDS[motion])


# sentences -----------------------------------------------------------------------------------------------------------
# `{a}` is an object, `{b}` a second one, `{x}` a text. What a form says is true of the clip and of no other.
VISUAL_FORMS = """
{a} and {b} | {a} next to {b} | {a} with {b} | there are {a} and {b} | {a}, also {b} | {a} beside {b} |
one can see {a} and {b} | {b} together with {a} | {b} and {a} | {a} in the picture, and {b} |
a video with {a} and {b} | find {a} and {b} | {a} along with {b} in view | {a}, and near it {b} |
an animation of {a} and {b} | {b} is there, and so is {a} | the picture has {a} and {b} | {b} is shown beside {a} |
{a} shares the picture with {b} | {b} accompanies {a} | look for {a} and for {b} | {a} plus {b} |
where {a} appears along with {b} | not only {a} but also {b}
"""
BOTH_FORMS = """
{a} and the text {x} | {a} and a sign that says {x} | {a} with the words {x} | {x} written near {a} |
{a} in a scene with the text {x} | there is {a} and it says {x} | the sign {x} and {a} | {a}, the caption says {x} |
the words {x} and {a} | {a} where the screen shows {x} | it reads {x} and one sees {a} | find {a} with {x} |
a video of {a} labelled {x} | {x}, with {a} in the scene | the text {x} along with {a} | {a} and {x} |
{a} shown with the name {x} | {x} can be read, and {a} can be seen | besides {a} there is the notice {x} |
a clip that has {a} and mentions {x} | the lettering {x} accompanies {a} | {a} combined with the title {x} |
we read {x} and notice {a} | the picture of {a} bears the inscription {x}
"""
TEMPORAL_FORMS = """
{a} is on screen while the text {x} shows | while it says {x}, {a} is seen | {a} appears when the sign reads {x} |
during the caption {x} there is {a} | at the moment {x} is shown, {a} is visible | {a} at the same time as {x} |
when the words {x} are visible one sees {a} | {a} is around while {x} can be read |
as {x} is displayed, {a} is there too |
{x} is written while {a} is there | the text {x} appears together with {a} at once | {a} during {x} |
as long as it says {x}, {a} stays | {a} is in view while one reads {x} | with {x} on screen, {a} shows up |
the moment with both {a} and {x} | {a} just when {x} is up | {x} shows for as long as {a} does |
simultaneously {a} and the text {x} | {a} is present throughout the words {x} |
{x} stands there beside {a} all that time |
{a} and {x} in one and the same shot | {x} is readable at the time of {a} | {a} coincides with the sign {x}
"""


def _deal(forms: list[str], split: str) -> list[str]:
    """The forms that a split has: of every six, four go to train, one to validation, one to test."""
    owners = ("train", "train", "train", "train", "validation", "test")
    return [form for number, form in enumerate(forms) if form and owners[number % len(owners)] == split]


def _phrases(text: str) -> list[str]:
    return [" ".join(form.split()) for form in text.split("|")]


def query_forms(kind: str, split: str, text_kind: str = "words") -> list[str]:
    """The sentence forms of a split.

    Args:
        kind: `"text"`, `"visual"`, `"both"` or `"temporal"`.
        split: one of `SPLITS`.
        text_kind: of the text that a text query names, a key of `query_templates.CLAUSES`.

    Returns:
        Forms with `{a}`, `{b}`, `{x}` as the kind has them.
    """
    if kind == "text":
        clauses = _deal(CLAUSES[text_kind], split)
        openings = _deal(list(filter(None, OPENINGS)), split)
        return clauses + [f"{opening} {clause}" for opening in openings for clause in clauses]
    return _deal(_phrases({"visual": VISUAL_FORMS, "both": BOTH_FORMS, "temporal": TEMPORAL_FORMS}[kind]), split)
