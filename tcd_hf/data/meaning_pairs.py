"""Generated pairs for meaning: a sentence that says what a text in a video means, without its words, and a caption.

The caption holds the text among others and is read with slips, as those of `text_pairs`. What means what comes from
`Concept`s: those of `meaning_material`, written by hand, or any others (a dictionary's words and their definitions).

Concepts are split, not sentences: a held-out concept is never trained on, nor any other that has a word of its texts,
so the other split measures what a model understands, not what it has learnt by heart. (Source: ours.)
"""

import random
import re
import zlib
from collections.abc import Sequence

import numpy as np

from .meaning_material import FRAMES, SIGN_CONCEPTS, Concept
from .query_templates import OPENINGS, PLACES
from .text_pairs import TextPair, TextPairGenerator

__all__ = ["MeaningPairGenerator", "meaning_recall", "split_concepts"]

HELD_OUT_ONE_IN = 3
# Words that say nothing about what a text means: two concepts may both have them.
COMMON_WORDS = frozenset({"only", "road", "house", "home", "here", "open", "office", "centre", "live", "fresh", "food",
                          "must", "your", "this", "that", "with"})  # fmt: skip


def content_words(text: str) -> set[str]:
    """The words of a text that carry its meaning, lower-cased: those of four letters and more."""
    return set(re.findall(r"[^\W\d_]{4,}", text.lower())) - COMMON_WORDS


def split_concepts(concepts: Sequence[Concept], held_out: bool) -> list[Concept]:
    """Returns the concepts of a split, in order.

    One in three is held out, by a hash of its first text, the same on every machine. A concept of training that shares
    a word of its texts with a held-out one, of these or of the hand-written ones, is in neither split.
    """

    def is_held_out(concept: Concept) -> bool:
        return zlib.crc32(concept.texts[0].lower().encode()) % HELD_OUT_ONE_IN == 0

    if held_out:
        return [concept for concept in concepts if is_held_out(concept)]
    kept_back = {
        word
        for concept in (*concepts, *SIGN_CONCEPTS)
        if is_held_out(concept)
        for text in concept.texts
        for word in content_words(text)
    }
    return [
        concept
        for concept in concepts
        if not is_held_out(concept) and not any(content_words(text) & kept_back for text in concept.texts)
    ]


class MeaningPairGenerator:
    """An endless source of `TextPair`s whose query means a text of the caption; the same for the same arguments.

    A pair's `kind` is its concept's, its `group` the concept's number. No concept comes twice before all have come.

    Args:
        seed: of the sequence of pairs.
        held_out: draw from the concepts kept for validation; the other texts of the captions are of that split too.
        concepts: what means what, of both splits.

    Raises:
        ValueError: if the split has no concept.
        ImportError: without the extra `[train-mini]`.
    """

    def __init__(self, seed: int = 0, held_out: bool = False, concepts: Sequence[Concept] = SIGN_CONCEPTS):
        self.concepts = split_concepts(concepts, held_out)
        if not self.concepts:
            split = "held-out split" if held_out else "training split"
            raise ValueError(f"Of these {len(concepts)} concepts none is in the {split}: give more of them.")
        self.rng = random.Random(seed)
        self.scenes = TextPairGenerator(seed, held_out=held_out)
        self._coming: list[int] = []

    def take(self, count: int) -> list[TextPair]:
        """Returns the next `count` pairs."""
        return [self._pair(self._next_concept()) for _ in range(count)]

    def _next_concept(self) -> int:
        if not self._coming:
            self._coming = list(range(len(self.concepts)))
            self.rng.shuffle(self._coming)
        return self._coming.pop()

    def _pair(self, number: int) -> TextPair:
        concept, rng = self.concepts[number], self.rng
        texts = rng.sample(concept.texts, min(len(concept.texts), rng.choice((1, 1, 2))))
        distractors = self.scenes.distractors(rng.choice((0, 1, 2, 3, 4, 6)))
        caption, written = self.scenes.caption([self._as_shown(text) for text in texts], distractors)
        return TextPair(self._query(concept), caption, concept.kind, number, written)

    def _query(self, concept: Concept) -> str:
        """One of the meanings in a sentence: bare, in a frame of its kind, or with more around it."""
        rng = self.rng
        query = rng.choice(FRAMES[concept.kind]).format(m=rng.choice(concept.meanings))
        chance = rng.random()
        if chance < 0.2:
            query = f"{query} {rng.choice(PLACES)}"
        elif chance < 0.35 and concept.kind != "notice":
            query = f"{rng.choice(OPENINGS)} {query}"
        query = " ".join(query.split())
        return query[0].upper() + query[1:] + rng.choice(("", ".")) if rng.random() < 0.5 else query

    def _as_shown(self, text: str) -> str:
        chance = self.rng.random()
        return text if chance < 0.6 else text.title() if chance < 0.8 else text.lower()


def meaning_recall(similarity: np.ndarray, pairs: Sequence[TextPair]) -> float:
    """Share of queries whose best caption is of their own concept.

    Args:
        similarity: `(num_pairs, num_pairs)`, of the pairs' queries (rows) to their captions. A row whose best value
            stands at a caption of another concept too counts as a miss.
        pairs: of one generator. More than it has concepts make several captions right, and the task easier.
    """
    groups = np.array([pair.group for pair in pairs])
    same = groups[:, None] == groups
    right = np.where(same, similarity, -np.inf).max(1)
    wrong = np.where(same, -np.inf, similarity).max(1)
    return float((right > wrong).mean())
