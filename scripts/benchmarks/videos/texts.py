"""Generated texts for cards: what is searched for, and what nobody searches for."""

import random
import re
from collections.abc import Callable, Sequence
from functools import cached_property

from scripts.benchmarks.videos.cards import Card
from tcd_hf.data.query_templates import ACTIONS, CLAUSES, EVERYWHERE, PLACES, SUBJECTS
from tcd_hf.data.text_material import text_material

__all__ = ["Texts"]

MAX_TEXTS = 8  # of a card that is no target; on average half of them, as in real clips
SHARED_WORD = 0.05  # of the other texts: they share a word with one that is searched for
KINDS = ("words", "name", "place", "brand", "title", "number", "plate", "price", "time", "score", "contact")
STRING_KINDS = ("two names", "price", "plate", "score", "headline")


class Texts:
    """A source of generated texts, the same for the same seed.

    Args:
        seed: of the sequence.
        unlike: texts that are searched for. No other text contains one of them; some share a word with one.
    """

    def __init__(self, seed: int, unlike: Sequence[str] = ()):
        self.rng = random.Random(seed)
        self.unlike = list(unlike)
        self._forbidden = {spell_out(text) for text in unlike}
        self._words_of_targets = [word for text in unlike for word in text.split() if word.isalpha()]

    @cached_property
    def makers(self) -> dict[str, Callable[[random.Random], str]]:
        material = text_material(held_out=False)
        return {
            "words": material.phrase,
            "name": material.person,
            "place": material.place,
            "brand": material.brand,
            "title": material.title,
            "number": material.number,
            "plate": material.plate,
            "price": material.price,
            "time": material.date_or_time,
            "score": material.score,
            "contact": material.contact,
            "two names": lambda rng: f"{_one_word(material.first, rng)} {_one_word(material.last, rng)}",
            "headline": lambda rng: " ".join(material.word(rng) for _ in range(rng.randrange(4, 8))).upper(),
            "everywhere": lambda rng: rng.choice(EVERYWHERE),
        }

    def other(self) -> str:
        """A text that nobody searches for."""
        while True:
            text = self._any()
            if self._words_of_targets and self.rng.random() < SHARED_WORD:
                text = f"{self.makers['words'](self.rng)} {self.rng.choice(self._words_of_targets)}"
                text = text.title() if self.rng.random() < 0.5 else text
            spelled = spell_out(text)
            if not any(target in spelled for target in self._forbidden):
                return text

    def others(self, most: int = MAX_TEXTS, least: int = 1) -> list[str]:
        return [self.other() for _ in range(self.rng.randint(least, most))]

    def filler(self) -> Card:
        """A card with one to eight texts."""
        return Card.still(self.others())

    def strings(self, count: int) -> list[str]:
        """Texts to be searched for exactly as shown: as many names, prices, plates, score lines and headlines."""
        chosen: dict[str, str] = {}
        while len(chosen) < count:
            text = self.makers[STRING_KINDS[len(chosen) % len(STRING_KINDS)]](self.rng)
            spelled = spell_out(text)
            if len(spelled.split()) > 1 and not any(spelled in other or other in spelled for other in chosen):
                chosen[spelled] = text
        return list(chosen.values())

    def sentences(self, count: int) -> list[tuple[list[str], list[str]]]:
        """The texts of a card and two sentences that name some of them, where there are no annotated clips."""
        cards = []
        for _ in range(count):
            kinds = self.rng.sample(KINDS, 3)
            texts = [self.makers[kind](self.rng) for kind in kinds]
            queries = []
            for named in (texts[:2], texts[2:]):
                clauses = [self.rng.choice(CLAUSES[kinds[texts.index(text)]]).replace("{x}", text) for text in named]
                scene = (self.rng.choice(part) for part in (SUBJECTS, ACTIONS, PLACES))
                queries.append(" ".join(" ".join([*scene, " and ".join(clauses)]).split()))
            cards.append((texts, queries))
        return cards

    def _any(self) -> str:
        return self.makers[self.rng.choice((*KINDS, *STRING_KINDS, "everywhere", "everywhere"))](self.rng)


def _one_word(pool: Sequence[str], rng: random.Random) -> str:
    while True:
        if (word := rng.choice(pool)).isalpha():
            return word


def spell_out(text: str) -> str:
    """Words between single spaces, spaces around: a text that contains another does so in whole words."""
    words = re.findall(r"[^_\W]+", text.casefold())
    return " " + " ".join(words) + " "
