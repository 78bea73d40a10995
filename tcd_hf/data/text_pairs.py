"""Generated training pairs: a sentence that mentions texts of a video, and the OCR caption that holds them and others.

A pair belongs to a *group* of siblings that tell the same scene with other names and numbers: they share the wording of
the query and most distractors of the caption, so that in one batch only the mentioned texts tell siblings apart.
(Source: ours.)
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .ocr_noise import OCRNoise
from .query_templates import ACTIONS, CLAUSES, EVERYWHERE, OPENINGS, PLACES, SEARCHES, SUBJECTS, TAILS
from .text_material import text_material

SEPARATORS = (" ", " ", " ", " ", " ", ", ", ", ", ". ", " | ", " - ")
NOISE_LEVELS = (0.0, 0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
# How often each kind of text is what a query mentions; a video shows them in about the same shares.
KIND_WEIGHTS = {
    "words": 26,
    "brand": 24,
    "name": 11,
    "title": 9,
    "place": 8,
    "number": 6,
    "score": 5,
    "time": 3,
    "price": 3,
    "plate": 3,
    "contact": 3,
    "other_script": 2,
}


@dataclass(frozen=True)
class TextPair:
    """A query and a caption that belong together.

    Attributes:
        query: sentence as a person writes it.
        caption: texts as they were read, `""` where a video shows none.
        kind: kind of the first text mentioned, a key of `KIND_WEIGHTS`, or `"none"` where none is mentioned (the
            caption is empty then).
        group: pairs of one group are siblings.
        written: the texts of the caption as they stand in the video, before they were read with slips.
    """

    query: str
    caption: str
    kind: str
    group: int
    written: str = ""


class TextPairGenerator:
    """An endless source of `TextPair`s, the same for the same arguments.

    Args:
        seed: of the sequence of pairs.
        held_out: draw texts from the words kept for validation, which no training text contains (sentences are shared).
        siblings: pairs in a group.
        no_text_share: share of groups whose queries mention no text and whose captions are empty.
        kind_weights: how often each kind is mentioned, in place of `KIND_WEIGHTS`; what is left out never is.
    """

    def __init__(
        self,
        seed: int = 0,
        held_out: bool = False,
        siblings: int = 4,
        no_text_share: float = 0.04,
        kind_weights: Mapping[str, float] = KIND_WEIGHTS,
    ):
        if siblings < 1:
            raise ValueError(f"A group needs at least one pair, got siblings={siblings}.")
        if unknown := set(kind_weights) - set(KIND_WEIGHTS):
            raise ValueError(f"kind_weights: no kind of text is called {sorted(unknown)}; there are {[*KIND_WEIGHTS]}.")
        self.siblings = siblings
        self.no_text_share = no_text_share
        self.rng = random.Random(seed)
        self.material = text_material(held_out=held_out)
        self.fillers = text_material(held_out=False).common  # sentences are not what is held out
        self._kinds, self._weights = list(kind_weights), list(kind_weights.values())
        self._makers = {
            "words": self.material.phrase,
            "name": self.material.person,
            "place": self.material.place,
            "brand": self.material.brand,
            "title": self.material.title,
            "number": self.material.number,
            "plate": self.material.plate,
            "price": self.material.price,
            "time": self.material.date_or_time,
            "score": self.material.score,
            "contact": self.material.contact,
            "other_script": self.material.other_script,
        }

    def __iter__(self) -> Iterator[TextPair]:
        group = 0
        while True:
            yield from self.group(group)
            group += 1

    def take(self, count: int) -> list[TextPair]:
        """Returns the next `count` pairs (the last group may be cut)."""
        pairs: list[TextPair] = []
        while len(pairs) < count:
            pairs += self.group(len(pairs))
        return pairs[:count]

    def take_strays(self, count: int) -> list[str]:
        """Returns captions of videos that hardly show text: a number, a common word, a scrap. No query asks for them.

        A cosine likes short captions; a model that never meets these takes any "4" for the answer to a query with a 4.
        """
        return [self._stray() for _ in range(count)]

    def _stray(self) -> str:
        rng = self.rng
        kinds = rng.choices(
            ("number", "everywhere", "time", "word", "plate"), (4, 4, 1, 2, 1), k=rng.choice((1, 1, 1, 2, 3))
        )
        makers = {**self._makers, "everywhere": lambda rng: rng.choice(EVERYWHERE), "word": self.material.word}
        scrap = " ".join(OCRNoise(0.3)(" ".join(makers[kind](rng) for kind in kinds).split(), rng))
        return scrap[: rng.randrange(1, 8)] if rng.random() < 0.4 else scrap

    def group(self, number: int) -> list[TextPair]:
        """Returns one group of siblings, `number` being its name."""
        rng = self.rng
        if rng.random() < self.no_text_share:
            return [TextPair(self._sentence([]), "", "none", number) for _ in range(self.siblings)]
        kinds = rng.choices(self._kinds, self._weights, k=rng.choice((1, 1, 1, 2, 2, 3)))
        frame = self._sentence(kinds)
        distractors = self.distractors(rng.choice((0, 1, 2, 3, 4, 6, 8, 10)))
        texts = [self._makers[kind](rng) for kind in kinds]
        pairs = []
        for _ in range(self.siblings):
            query = self._fill(frame, texts)
            caption, written = self.caption(texts, distractors)
            pairs.append(TextPair(query, caption, kinds[0], number, written))
            changed = rng.randrange(len(texts))  # the next sibling differs in one text at least
            texts = [
                self._makers[kind](rng) if place == changed or rng.random() < 0.6 else text
                for place, (kind, text) in enumerate(zip(kinds, texts, strict=True))
            ]
        return pairs

    # query ---------------------------------------------------------------------------------------------------------
    def _sentence(self, kinds: list[str]) -> str:
        """A sentence with one `{}` for each mention."""
        rng = self.rng
        clauses = [rng.choice(CLAUSES[kind]).replace("{x}", "{}") for kind in kinds]
        if kinds and rng.random() < 0.12:
            return " ".join([rng.choice(SEARCHES).replace("{x}", "{}"), *["{}"] * (len(kinds) - 1)])
        if len(clauses) > 1:
            clauses = [f"{rng.choice(('and ', 'and ', '', ', '))}{c}" if i else c for i, c in enumerate(clauses)]
        body = f"{rng.choice(SUBJECTS)} {rng.choice(ACTIONS)} {rng.choice(PLACES)}"
        for _ in range(rng.choice((0, 0, 1, 2, 3))):  # words of the sentence that the video does not show
            body += f" {rng.choice(('', 'the', 'a', 'and', 'of', 'with'))} {rng.choice(self.fillers)}"
        chance = rng.random()
        if not clauses or chance >= 0.35:
            parts = [rng.choice(OPENINGS), body, *clauses, rng.choice(TAILS)]
        elif chance >= 0.2:
            parts = [*clauses, "while", body]
        else:
            parts = [*clauses, rng.choice(TAILS)]
        return " ".join(" ".join(parts).split())

    def _fill(self, frame: str, texts: list[str]) -> str:
        query = frame.format(*(self._mention(text) for text in texts))
        if self.rng.random() < 0.4:
            query = query[0].upper() + query[1:] + self.rng.choice(("", ".", "."))
        return query

    def _mention(self, text: str) -> str:
        """The text as a person repeats it: part of it perhaps, in the case that sentence wants."""
        rng = self.rng
        if rng.random() < 0.4:  # spoken as a sentence would
            text = text.replace(" - ", " to ")
            if text[0] == "$":
                text = f"{text[1:]} dollars"
        words = text.split()
        if len(words) > 1 and rng.random() < 0.3:
            start = rng.randrange(len(words))
            words = words[start : rng.randrange(start, len(words)) + 1]
        mention, chance = " ".join(words), rng.random()
        if rng.random() < 0.03:
            mention = OCRNoise(0.5).damage(mention, rng).strip() or mention  # people mistype too
        return (
            mention
            if chance < 0.45
            else mention.lower()
            if chance < 0.8
            else mention.title()
            if chance < 0.92
            else mention.upper()
        )

    # caption -------------------------------------------------------------------------------------------------------
    def distractors(self, count: int) -> list[str]:
        """Returns `count` other texts of a scene."""
        rng = self.rng
        kinds = rng.choices([*self._kinds, "everywhere", "subtitle"], [*self._weights, 40, 12], k=count)
        makers = {**self._makers, "everywhere": lambda rng: rng.choice(EVERYWHERE), "subtitle": self._subtitle}
        return [makers[kind](rng) for kind in kinds]

    @staticmethod
    def _subtitle(rng: random.Random) -> str:
        """A sentence of plain words that somebody says."""
        parts = (rng.choice(SUBJECTS), rng.choice(ACTIONS), rng.choice(PLACES), rng.choice(TAILS))
        return " ".join(" ".join(parts[rng.randrange(2) :]).split())

    def caption(self, texts: Sequence[str], distractors: Sequence[str]) -> tuple[str, str]:
        """Returns what is read while the texts show, in any order and with slips; and the same as it is written."""
        rng = self.rng
        shown = [*texts, *(text for text in distractors if rng.random() < 0.8)]
        if distractors and rng.random() < 0.5:
            shown += self.distractors(rng.choice((1, 2, 3)))
        if rng.random() < 0.15:
            shown.append(rng.choice(shown))  # read twice, the second time with other slips
        rng.shuffle(shown)
        noise = OCRNoise(rng.choice(NOISE_LEVELS))
        separator = rng.choice(SEPARATORS)
        upper = rng.random() < 0.3
        read = (" ".join(noise(text.split(), rng)) for text in shown)
        read, written = separator.join(text for text in read if text), separator.join(shown)
        return (read.upper(), written.upper()) if upper else (read, written)
