"""Lexical score of queries on OCR captions: TF-IDF over characters, because OCR slips break words, and over words."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["FILLER_WORDS", "LexicalScorer", "LexicalScores"]

BLOCK_ELEMENTS = 1 << 22  # (query, window) scores held densely at once: 16 MB
NUM_BUCKETS = 1 << 20  # n-grams are numbered by hashing; a gallery has some 10,000 to 1,000,000 different ones

_FILLER = (
    "a an and are as at be by for from has have he her his in into is it its of off on or our out over she that the "
    "their them they this to two up was where which who with you your"
)
FILLER_WORDS = frozenset(_FILLER.split())
"""English words that a query is built with and that tell no video from another."""


class LexicalScores(NamedTuple):
    """What `LexicalScorer.score` returns.

    Attributes:
        similarity (`np.ndarray` of shape `(num_queries, num_videos)`, float32): score in [0, 1] of the best window.
        best_window (`np.ndarray` of shape `(num_queries, num_videos)`, int64): that window; 0 where all score 0.
    """

    similarity: np.ndarray
    best_window: np.ndarray


class LexicalScorer:
    """Scores queries against the window captions of a gallery by the spelling they share (ours).

    Every window caption has two TF-IDF vectors: of its character 3- to 5-grams, taken inside words padded with a space
    on either side, so that strings of two characters (a price, a plate) are n-grams too; and of its whole words, since
    a long word has so many n-grams that a short name next to it would hardly count. Case, accents and full-width forms
    do not matter, and `FILLER_WORDS` of a query are left out, unless it has no others. Rare is what few videos show,
    however long they show it.

    A window scores the mean of both cosines, a video that of its best window: text shown together counts more than text
    scattered over the video, and a long video gains nothing from its length. What no caption has still counts in the
    query's norm, so a query that the gallery's texts say little about scores low everywhere, and leaves the ranking to
    the model.

    Args:
        captions (`Sequence[Sequence[str]]`):
            For each video its window captions, `""` for a window without text. Videos may differ in their number of
            windows. A gallery that is empty or without any text is fine: everything scores 0.
        word_weight (`float`, defaults to 0.5):
            Weight of the words' cosine in the mean, in [0, 1]; 0 is characters alone.
    """

    def __init__(self, captions: Sequence[Sequence[str]], word_weight: float = 0.5):
        from scipy import sparse

        if not 0 <= word_weight <= 1:
            raise ValueError(f"word_weight must lie in [0, 1], got {word_weight}.")
        self.num_videos = len(captions)
        self.num_windows = max((len(windows) for windows in captions), default=0)
        # Padded to a rectangle: a missing window is one without text, and both have an all-zero vector.
        documents = [text for windows in captions for text in [*windows, *[""] * (self.num_windows - len(windows))]]
        self._vectorizer = None
        self._windows = sparse.csr_array((len(documents), 0), dtype=np.float32)
        if any(text.strip() for text in documents):
            self._vectorizer = _make_vectorizer(word_weight).fit([" ".join(windows) for windows in captions])
            self._windows = sparse.csr_array(self._vectorizer.transform(documents))

    def score(self, queries: Sequence[str]) -> LexicalScores:
        """Scores every video for every query; memory beyond the result is bounded whatever their numbers."""
        similarity = np.zeros((len(queries), self.num_videos), dtype=np.float32)
        best_window = np.zeros((len(queries), self.num_videos), dtype=np.int64)
        if self._vectorizer is None or not queries:
            return LexicalScores(similarity, best_window)
        query_vectors = self._embed(queries)
        queries_per_block = max(1, BLOCK_ELEMENTS // self._windows.shape[0])
        for start in range(0, len(queries), queries_per_block):
            rows = slice(start, start + queries_per_block)
            windows = (query_vectors[rows] @ self._windows.T).toarray()
            windows = windows.reshape(-1, self.num_videos, self.num_windows)
            similarity[rows] = windows.max(axis=2).clip(0, 1)  # a cosine of 1 + 1e-7 is rounding
            best_window[rows] = windows.argmax(axis=2)
        return LexicalScores(similarity, best_window)

    def window_scores(self, query: str, video: int) -> np.ndarray:
        """Scores of one video's windows, in [0, 1], `(num_windows,)` float32 (the gallery's largest number)."""
        if not 0 <= video < self.num_videos:
            raise ValueError(f"video must lie in 0..{self.num_videos - 1}, got {video}.")
        if self._vectorizer is None:
            return np.zeros(self.num_windows, dtype=np.float32)
        rows = self._windows[video * self.num_windows : (video + 1) * self.num_windows]
        return (self._embed([query]) @ rows.T).toarray()[0].clip(0, 1)

    def _embed(self, queries: Sequence[str]):
        return self._vectorizer.transform([_without_filler(query) for query in queries])


def _make_vectorizer(word_weight: float):
    """Both vectors side by side, each of length 1 times the root of its weight: their product is the weighted mean."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.pipeline import FeatureUnion, make_pipeline

    common = {
        "strip_accents": "unicode",
        "n_features": NUM_BUCKETS,
        "alternate_sign": False,
        "norm": None,
        "dtype": np.float32,
    }
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **common)
    words = HashingVectorizer(analyzer="word", token_pattern=r"(?u)\b\w+\b", **common)
    return FeatureUnion(
        [
            ("characters", make_pipeline(characters, TfidfTransformer(sublinear_tf=True))),
            ("words", make_pipeline(words, TfidfTransformer(sublinear_tf=True))),
        ],
        transformer_weights={"characters": (1 - word_weight) ** 0.5, "words": word_weight**0.5},
    )


def _without_filler(query: str) -> str:
    telling = [word for word in query.split() if word.strip(".,;:!?\"'()").casefold() not in FILLER_WORDS]
    return " ".join(telling) or query
