"""Lexical score of queries on OCR captions: TF-IDF over characters, because OCR slips break words, and over words.

A caption is kept as the counts of its terms, numbered by hashing ([`term_columns`]), and a gallery as how many of its
videos show each term ([`LexicalStatistics`]). A score needs no more than these: no caption is analysed twice.
"""

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "FILLER_WORDS",
    "TERM_SCHEMA",
    "LexicalScorer",
    "LexicalStatistics",
    "TermCounts",
    "VideoTerms",
    "cosines",
    "query_terms",
    "spell",
    "term_columns",
    "without_filler",
]

BLOCK_ELEMENTS = 1 << 22  # (query, caption) scores held densely at once: 16 MB
QUERIES_PER_BLOCK = 64  # whose terms are columns of a dense matrix
NUM_BUCKETS = 1 << 20  # n-grams are numbered by hashing; a gallery has some 10,000 to 1,000,000 different ones
NUM_TERMS = 2 * NUM_BUCKETS  # character n-grams, then words
COUNT_SHIFT = NUM_TERMS.bit_length() - 1  # a term and its count share 32 bits: fewer columns are read faster
MAX_COUNT = (1 << 32 - COUNT_SHIFT) - 1
DAMPED_COUNTS = np.append(0.0, 1 + np.log(np.arange(1, MAX_COUNT + 1))).astype(np.float32)

TERM_SCHEMA = [
    pa.field("terms", pa.list_(pa.list_(pa.uint32()))),
    pa.field("term_windows", pa.list_(pa.uint16())),
    pa.field("term_text", pa.string()),
]
"""Columns of a video's terms. Of each of its different captions the terms, with their counts in the upper bits; for
every window, which of these captions it has; and what full-text search looks in ([`spell`])."""

_FILLER = (
    "a an and are as at be by for from has have he her his in into is it its of off on or our out over she that the "
    "their them they this to two up was where which who with you your"
)
FILLER_WORDS = frozenset(_FILLER.split())
"""English words that a query is built with and that tell no video from another."""


class TermCounts(NamedTuple):
    """How often each term occurs in each of several texts, as compressed rows.

    Attributes:
        ids (`np.ndarray` of shape `(num_entries,)`, uint32): terms, text after text; below `NUM_BUCKETS` the character
            n-grams, above it the words.
        counts (`np.ndarray` of shape `(num_entries,)`, unsigned integers): occurrences, at most 2,047.
        starts (`np.ndarray` of shape `(num_texts + 1,)`, int64): where each text begins; the last is `num_entries`.
    """

    ids: np.ndarray
    counts: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> "TermCounts":
        """Counts the terms of texts.

        They are the character 3- to 5-grams, taken inside words padded with a space on either side, so that words of
        two characters are n-grams too; [`telling_pairs`] inside words; and the whole words, since a long word has so
        many n-grams that a short name next to it would hardly count. Case, accents and full-width forms do not matter.
        """
        if not texts:
            return cls(np.zeros(0, np.uint32), np.zeros(0, np.uint16), np.zeros(1, np.int64))
        from scipy import sparse

        matrix = sparse.hstack([counter.transform(texts) for counter in _make_counters()], format="csr")
        counts = np.minimum(matrix.data, MAX_COUNT).astype(np.uint16)
        return cls(matrix.indices.astype(np.uint32), counts, matrix.indptr.astype(np.int64))

    def rows(self, start: int, stop: int) -> "TermCounts":
        """Those of some of the texts."""
        starts = self.starts[start : stop + 1]
        return TermCounts(self.ids[starts[0] : starts[-1]], self.counts[starts[0] : starts[-1]], starts - starts[0])


class VideoTerms(NamedTuple):
    """Terms of the captions of several videos.

    Attributes:
        captions (`TermCounts`): the different captions of every video, video after video.
        starts (`np.ndarray` of shape `(num_videos + 1,)`, int64): where the captions of each video begin.
        windows (`list[np.ndarray]`): for each video, the caption of each of its windows, as a row of `captions`.
    """

    captions: TermCounts
    starts: np.ndarray
    windows: list[np.ndarray]

    @classmethod
    def from_rows(cls, rows: pa.Table | pa.RecordBatch) -> "VideoTerms":
        """Takes them from the columns of [`TERM_SCHEMA`]."""
        captions, num_captions = _flatten(rows["terms"])
        entries, num_terms = _flatten(captions)
        entries = entries.to_numpy()
        windows, num_windows = _flatten(rows["term_windows"])
        starts = _starts(num_captions)
        windows = windows.to_numpy() + np.repeat(starts[:-1], num_windows)
        counts = TermCounts(entries % NUM_TERMS, entries >> COUNT_SHIFT, _starts(num_terms))
        return cls(counts, starts, np.split(windows, _starts(num_windows)[1:-1]))

    def best(self, scores: np.ndarray) -> np.ndarray:
        """`(num_queries, num_videos)` from scores of captions `(num_queries, num_captions)`: a video's best one."""
        return np.maximum.reduceat(scores, self.starts[:-1], axis=1)


class LexicalStatistics:
    """How many videos there are, and how many of them show each term: what makes a term rare.

    Attributes:
        num_videos (`int`)
        document_frequency (`np.ndarray` of shape `(NUM_TERMS,)`, int32)
    """

    def __init__(self):
        self.num_videos = 0
        self.document_frequency = np.zeros(NUM_TERMS, np.int32)

    def add(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Counts videos, given as rows with the column `terms`. However long a text is shown, it counts once."""
        captions, num_captions = _flatten(rows["terms"])
        entries, num_terms = _flatten(captions)
        video = np.repeat(np.repeat(np.arange(len(num_captions), dtype=np.int64), num_captions), num_terms)
        shown = np.sort(video * NUM_TERMS + entries.to_numpy() % NUM_TERMS)
        shown = shown[np.diff(shown, prepend=-1) > 0] % NUM_TERMS
        self.document_frequency += np.bincount(shown, minlength=NUM_TERMS).astype(np.int32)
        self.num_videos += len(num_captions)
        self.__dict__.pop("idf", None)

    @cached_property
    def idf(self) -> np.ndarray:
        """Weight of each term, `ln((1 + num_videos) / (1 + document_frequency)) + 1`, `(NUM_TERMS,)` float32."""
        return (np.log((1 + self.num_videos) / (1 + self.document_frequency)) + 1).astype(np.float32)

    def to_table(self) -> pa.Table:
        """The terms that occur: columns `term` and `document_frequency`; `num_videos` is in the schema's metadata."""
        terms = np.flatnonzero(self.document_frequency).astype(np.uint32)
        columns = {"term": terms, "document_frequency": self.document_frequency[terms]}
        return pa.table(columns).replace_schema_metadata({"num_videos": str(self.num_videos)})

    @classmethod
    def from_table(cls, table: pa.Table) -> "LexicalStatistics":
        """The inverse of [`~LexicalStatistics.to_table`]."""
        statistics = cls()
        statistics.num_videos = int(table.schema.metadata[b"num_videos"])
        statistics.document_frequency[table["term"].to_numpy()] = table["document_frequency"].to_numpy()
        return statistics


class LexicalScorer:
    """Scores queries against the window captions of a gallery by the spelling they share (ours).

    A window scores the mean of two TF-IDF cosines, one over character n-grams and one over words ([`TermCounts.of`]), a
    video that of its best window: text shown together counts more than text scattered over the video, and a long video
    gains nothing from its length. Rare is what few videos show, however long they show it. `FILLER_WORDS` of a query
    are left out, unless it has no others. What no caption has still counts in the query's norm, so a query that the
    gallery's texts say little about scores low everywhere, and leaves the ranking to the model.

    Args:
        captions (`Sequence[Sequence[str]]`):
            For each video its window captions, `""` for a window without text. Videos may differ in their number of
            windows. A gallery that is empty or without any text is fine: everything scores 0.
        word_weight (`float`, defaults to 0.5):
            Weight of the words' cosine in the mean, in [0, 1]; 0 is characters alone.
    """

    def __init__(self, captions: Sequence[Sequence[str]], word_weight: float = 0.5):
        if not 0 <= word_weight <= 1:
            raise ValueError(f"word_weight must lie in [0, 1], got {word_weight}.")
        self.num_videos = len(captions)
        self.word_weight = word_weight
        rows = pa.Table.from_pylist([term_columns(windows) for windows in captions], pa.schema(TERM_SCHEMA))
        self._videos = VideoTerms.from_rows(rows)
        self._statistics = LexicalStatistics()
        self._statistics.add(rows)

    def score(self, queries: Sequence[str]) -> np.ndarray:
        """Scores every video for every query; memory beyond the result is bounded whatever their numbers.

        Returns:
            `np.ndarray` of shape `(num_queries, num_videos)`, float32: score in [0, 1] of the best window.
        """
        scores = np.zeros((len(queries), self.num_videos), dtype=np.float32)
        if not self.num_videos:
            return scores
        captions = self._videos.captions
        queries_per_block = max(1, BLOCK_ELEMENTS // (len(captions.starts) - 1))
        for start in range(0, len(queries), queries_per_block):
            rows = slice(start, start + queries_per_block)
            block = cosines(query_terms(queries[rows]), captions, self._statistics, self.word_weight)
            scores[rows] = self._videos.best(block)
        return scores


def term_columns(captions: Sequence[str]) -> dict[str, Any]:
    """Values of [`TERM_SCHEMA`] for a video with these window captions, `""` for a window without text."""
    different = {text: row for row, text in enumerate(dict.fromkeys(captions))} or {"": 0}
    ids, counts, starts = TermCounts.of(list(different))
    entries = ids + (counts.astype(np.uint32) << COUNT_SHIFT)
    return {
        "terms": np.split(entries, starts[1:-1]),
        "term_windows": np.array([different[text] for text in captions], np.uint16),
        "term_text": spell(" ".join(different)),
    }


def spell(text: str) -> str:
    """The different character 3-grams, telling pairs and words of a text, for a full-text index that cuts at spaces.

    Words are marked at both ends, so that those of one or two characters are in it too: `"B4"` gives `"_b4 b4_ b4
    _b4_"`.
    """
    characters, words = _make_spellers()
    marked = [gram.replace(" ", "_") for gram in [*characters(text), *telling_pairs(text)]]
    return " ".join(dict.fromkeys([*marked, *(f"_{word}_" for word in words(text))]))


def telling_pairs(text: str) -> list[str]:
    """The pairs of letters and digits inside words that are not two letters a to z: a price or a plate that a reading
    ran together with other words ("GateB4"), and scripts that write no spaces."""
    return [pair for pair in _make_pairs()(text) if pair.isalnum() and not (pair.isascii() and pair.isalpha())]


def query_terms(queries: Sequence[str]) -> TermCounts:
    """Terms of queries, without their filler words."""
    return TermCounts.of([without_filler(query) for query in queries])


def without_filler(query: str) -> str:
    """The query without `FILLER_WORDS`, or as it is if it has no other words."""
    telling = [word for word in query.split() if word.strip(".,;:!?\"'()").casefold() not in FILLER_WORDS]
    return " ".join(telling) or query


def cosines(
    queries: TermCounts, captions: TermCounts, statistics: LexicalStatistics, word_weight: float = 0.5
) -> np.ndarray:
    """Weighted mean of the TF-IDF cosines of character n-grams and of words, sublinear in a term's count.

    Returns:
        `np.ndarray` of shape `(num_queries, num_captions)`, float32, in [0, 1].
    """
    weighed = _weigh(captions, statistics, word_weight)
    blocks = [
        _block_cosines(queries.rows(start, start + QUERIES_PER_BLOCK), captions, weighed, statistics, word_weight)
        for start in range(0, len(queries.starts) - 1, QUERIES_PER_BLOCK)
    ]
    return np.concatenate([np.zeros((0, len(captions.starts) - 1), np.float32), *blocks])


def _block_cosines(
    queries: TermCounts,
    captions: TermCounts,
    weighed: tuple[np.ndarray, np.ndarray],
    statistics: LexicalStatistics,
    word_weight: float,
) -> np.ndarray:
    """[`cosines`] of few queries, with captions that are weighed."""
    from scipy import sparse

    num_queries, num_captions = len(queries.starts) - 1, len(captions.starts) - 1
    terms, columns = np.unique(queries.ids, return_inverse=True)
    weights, scales = _weigh(queries, statistics, word_weight)
    rows = np.repeat(np.arange(num_queries), np.diff(queries.starts))
    weights = weights * scales[rows, queries.ids // NUM_BUCKETS]
    query_vectors = sparse.csr_array((weights, (rows, columns)), shape=(num_queries, len(terms))).toarray()

    # Few terms of a caption are in a query: the norm needs the weights of all, the product only those.
    weights, scales = weighed
    is_asked = np.zeros(NUM_TERMS, bool)
    is_asked[terms] = True
    shared = np.flatnonzero(is_asked[captions.ids])
    ids = captions.ids[shared]
    rows = np.searchsorted(captions.starts, shared, side="right") - 1
    weights = weights[shared] * scales[rows, ids // NUM_BUCKETS]
    shape = (num_captions, len(terms))
    caption_vectors = sparse.csr_array((weights, (rows, np.searchsorted(terms, ids))), shape=shape)
    return (caption_vectors @ query_vectors.T).T.clip(0, 1)  # a cosine of 1 + 1e-7 is rounding


def _weigh(terms: TermCounts, statistics: LexicalStatistics, word_weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the entries, and what they must be multiplied by, `(num_texts, 2)` for n-grams and words, so that the
    product of two texts is the weighted mean of their cosines. All float32."""
    from scipy import sparse

    weights = DAMPED_COUNTS[terms.counts] * statistics.idf[terms.ids]
    squares = np.square(weights, dtype=np.float64)
    shape = (len(terms.starts) - 1, 2)
    norms = sparse.csr_array((squares, terms.ids // NUM_BUCKETS, terms.starts), shape=shape).toarray() ** 0.5
    shares = np.sqrt([1 - word_weight, word_weight])
    return weights, np.divide(shares, norms, out=np.zeros(shape), where=norms > 0).astype(np.float32)


@cache
def _make_counters():
    grams = _make_vectorizer("char_wb", 3, 5).build_analyzer()
    return _make_vectorizer(lambda text: [*grams(text), *telling_pairs(text)]), _make_vectorizer("word")


@cache
def _make_spellers():
    return _make_vectorizer("char_wb", 3, 3).build_analyzer(), _make_vectorizer("word").build_analyzer()


@cache
def _make_pairs():
    return _make_vectorizer("char_wb", 2, 2).build_analyzer()


def _make_vectorizer(analyzer, *lengths: int):
    """Counts `"char_wb"` n-grams of lengths from .. to, words by `"word"`, or what a function makes of a text."""
    from sklearn.feature_extraction.text import HashingVectorizer

    details = {"char_wb": {"ngram_range": lengths}, "word": {"token_pattern": r"(?u)\b\w+\b"}}.get(analyzer, {})
    return HashingVectorizer(
        analyzer=analyzer,
        **details,
        strip_accents=None if callable(analyzer) else "unicode",
        lowercase=not callable(analyzer),
        n_features=NUM_BUCKETS,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )


def _flatten(column: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, np.ndarray]:
    """All values of a column of lists, and how many there are in each."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.flatten(), pc.list_value_length(column).to_numpy()


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
