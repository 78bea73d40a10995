"""Lexical score of queries on what was read in windows: the spelling they share, text by text.

A row of an index keeps the folded texts of its windows, and their terms for full-text search ([`text_columns`]); a
gallery keeps how many of its rows show each term ([`LexicalStatistics`]). A score needs no more than these.
"""

import zlib
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tcd_hf.index.spelling import (
    FILLER_WORDS,
    TermFinder,
    Terms,
    capital_words,
    fold,
    fold_query,
    gram_token,
    query_spelling,
    slipping_words,
    spell,
    telling_words,
    terms_of,
    word_token,
)
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = [
    "FILLER_WEIGHT",
    "FILLER_WORDS",
    "TEXT_SCHEMA",
    "LexicalStatistics",
    "SegmentTexts",
    "fold",
    "query_spelling",
    "spell",
    "text_columns",
]

pc: Any = pyarrow.compute  # makes its functions when it is imported
FILLER_WEIGHT = 0.2  # of a filler word, relative to any other that is as rare
CAPITAL_WEIGHT = 2.0  # of a word that a query writes in capitals, likewise
MIN_IDF = 0.01  # what every row shows tells no rows apart, but still texts
UNSHOWN_SHARE = 0.5  # of the rarest term's rarity, for one that no row shows: it tells no rows apart either
SLIP_SHARE = 0.7  # of a word that is shown with a slip in it
WORD_SHARE = 0.5  # of the score; the other half are parts of words, because readings and typing slip
# BM25's length normalisation, with a fixed mean length, so that a score means the same in every collection.
SATURATION, LENGTH_SHARE, MEAN_LETTERS = 1.2, 0.75, 48
MAX_RUN = 4  # neighbouring texts that are looked at together: a sign is often read as several
NUM_BUCKETS = 1 << 21  # terms are numbered by hashing; a gallery has some 10,000 to 1,000,000 different ones
ROWS_PER_BLOCK = 512  # whose texts are looked through at once

TEXT_SEPARATOR, WINDOW_SEPARATOR, SAME_WINDOW = "\t", "\n", "="
TEXT_SCHEMA = [pa.field("texts", pa.string()), pa.field("term_text", pa.string())]
"""Columns of a row's texts. `texts`: the folded texts of its windows in order, a tab between texts and a line break
between windows; a window with the same texts as the one before is a single `"="`. `term_text`: what full-text search
looks in, the different terms of all of them ([`spell`])."""


def text_columns(captions: Sequence[WindowCaption]) -> dict[str, str]:
    """Values of [`TEXT_SCHEMA`] for a row with these windows.

    A window's texts are those of its tracks, or its caption where it has none.
    """
    windows = [[track.text for track in caption.tracks] or [caption.text] for caption in captions]
    folded = {text: fold(text) for window in windows for text in window}
    lines, before = [], ""
    for window in windows:
        line = TEXT_SEPARATOR.join(folded[text] for text in window if folded[text])
        lines.append(SAME_WINDOW if line and line == before else line)
        before = line
    distinct = dict.fromkeys(folded.values())
    return {"texts": WINDOW_SEPARATOR.join(lines), "term_text": spell(" ".join(distinct))}


class LexicalStatistics:
    """How many rows there are, and how many of them show each term: what makes a term rare.

    Terms are numbered by hashing: the few that share a number share their frequency.

    Attributes:
        num_rows (`int`)
        document_frequency (`np.ndarray` of shape `(NUM_BUCKETS,)`, int32)
        version (`int`): of the table whose rows they are of; 0 where there is none. Who counts rows that a commit
            wrote or removed counts the commit, too.
    """

    def __init__(self, version: int = 0):
        self.version = version
        self.num_rows = 0
        self.document_frequency = np.zeros(NUM_BUCKETS, np.int32)

    def add(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Counts rows, given with the column `term_text`. However long and often a text is shown, it counts once."""
        self._count(rows, 1)

    def subtract(self, rows: pa.Table | pa.RecordBatch) -> None:
        """The inverse of [`~LexicalStatistics.add`], for rows that are no longer there."""
        self._count(rows, -1)

    @classmethod
    def merged(cls, parts: "Sequence[LexicalStatistics]") -> "LexicalStatistics":
        """Those of the rows of several galleries together."""
        merged = cls()
        for part in parts:
            merged.num_rows += part.num_rows
            merged.document_frequency += part.document_frequency
        return merged

    def idf(self, tokens: Sequence[str]) -> np.ndarray:
        """Weights of terms, BM25's `ln(1 + (num_rows - df + 0.5) / (df + 0.5))` but at least `MIN_IDF`.

        A term that no row has tells no rows apart, only how much of the query is in texts at all. It weighs
        `UNSHOWN_SHARE` of one that a single row has, so that a sentence of which one rare word is shown is found by it.

        Args:
            tokens (`Sequence[str]`): terms as [`spell`] writes them.

        Returns:
            `np.ndarray` of shape `(num_tokens,)`, float64.
        """
        frequency = self.document_frequency[_buckets(tokens)]
        shown = frequency.astype(np.float64).clip(1, max(1, self.num_rows))
        rarity = np.log1p((self.num_rows - shown + 0.5) / (shown + 0.5)) * np.where(frequency, 1, UNSHOWN_SHARE)
        return rarity.clip(MIN_IDF)

    def to_table(self) -> pa.Table:
        """The terms that occur: columns `term` and `document_frequency`; `num_rows` is in the schema's metadata."""
        terms = np.flatnonzero(self.document_frequency).astype(np.uint32)
        columns = {"term": terms, "document_frequency": self.document_frequency[terms]}
        return pa.table(columns).replace_schema_metadata({"num_rows": str(self.num_rows)})

    @classmethod
    def from_table(cls, table: pa.Table) -> "LexicalStatistics":
        """The inverse of [`~LexicalStatistics.to_table`]."""
        statistics = cls()
        statistics.num_rows = int(table.schema.metadata[b"num_rows"])
        statistics.document_frequency[table["term"].to_numpy()] = table["document_frequency"].to_numpy()
        return statistics

    def _count(self, rows: pa.Table | pa.RecordBatch, sign: int) -> None:
        for start in range(0, len(rows), ROWS_PER_BLOCK):
            column = rows.slice(start, ROWS_PER_BLOCK)["term_text"]
            column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            counted = pc.value_counts(pc.split_pattern(column, " ").flatten())
            tokens, counts = counted.field("values").to_pylist(), counted.field("counts").to_numpy()
            is_token = np.array([bool(token) for token in tokens], bool)  # a row without text has ""
            buckets = _buckets([token for token in tokens if token])
            np.add.at(self.document_frequency, buckets, sign * counts[is_token].astype(np.int32))
        self.num_rows += sign * len(rows)


class SegmentTexts:
    """The texts of several rows, ready to be scored.

    The lexical score of a document (a set of terms) for a query is the share of the query's terms that it has, weighed
    by their rarity, one half by whole words and one half by their parts ([`terms_of`]). It is lowered for documents
    that are longer than what they have of the query, as BM25 lowers it for long ones: the text of the query alone
    scores 1, the same among many others less. What no row has still counts among the query's terms, though less: a
    query that the texts say little about scores low everywhere. Words that tell little ([`telling_words`]), and terms
    that are only in these, count little; words that the query writes in capitals ([`capital_words`]) count more. A word
    that is shown with a slip in it counts `SLIP_SHARE` of what it would ([`slipping_words`], [`find_slips`]).

    A window scores as its best document: each of its texts, each run of up to `MAX_RUN` neighbouring texts, and all of
    them together. A sign is thus found whatever else is on screen.

    Args:
        rows (`Sequence[str]`): values of the column `texts`.
    """

    def __init__(self, rows: Sequence[str]):
        self._rows = list(rows)
        joined = "".join(WINDOW_SEPARATOR + row for row in [*self._rows, ""])
        if joined.isascii():
            characters = np.frombuffer(joined.encode(), np.uint8).copy()
        else:
            characters = np.array([joined]).view(np.uint32)  # much faster than encode
        spaces = np.flatnonzero(characters <= ord(" "))
        is_separator = characters[spaces] < ord(" ")
        # Text t lies between the separators t and t + 1, which are spaces like those between words from here on.
        self._separators = spaces[is_separator]
        begins_window = characters[self._separators[:-1]] == ord(WINDOW_SEPARATOR)
        characters[self._separators] = ord(" ")
        self._characters, self._low_bytes = characters, characters.astype(np.uint8, copy=False)
        # How many letters there are before each separator, so that those of a run of texts are a difference.
        self._letters = self._separators - np.flatnonzero(is_separator)
        self._window_starts = np.flatnonzero(begins_window)
        self._window_of_text = np.cumsum(begins_window) - 1
        self._windows: dict[int, list[list[str]]] = {}
        self._row_starts = [0, *accumulate(row.count(WINDOW_SEPARATOR) + 1 for row in self._rows)]

    @classmethod
    def from_column(cls, column: pa.ChunkedArray | pa.Array) -> "SegmentTexts":
        """Takes them from the column `texts` of rows."""
        return cls(column.to_pylist())

    def __len__(self) -> int:
        return len(self._rows)

    def windows(self, row: int) -> list[list[str]]:
        """The folded texts of each window of a row, in order. It remembers them."""
        if row in self._windows:
            return self._windows[row]
        windows = self._windows[row] = []
        for window in self._rows[row].split(WINDOW_SEPARATOR):
            same, texts = window == SAME_WINDOW, window.split(TEXT_SEPARATOR) if window else []
            windows.append(windows[-1] if same else texts)
        return windows

    def scores(self, query: str, statistics: LexicalStatistics) -> list[np.ndarray]:
        """Scores every window of every row.

        Args:
            query (`str`): what is looked for.
            statistics ([`LexicalStatistics`]): of the whole gallery: what is rare in it.

        Returns:
            `list[np.ndarray]`: for each row `(num_windows,)` float32, in [0, 1]. Equal windows score exactly equal,
            whatever rows are scored together.
        """
        asked = _Asked(query, statistics)
        scores = np.zeros(self._row_starts[-1], np.float32)
        texts, terms = self._find(asked)
        if len(texts):
            best = self._score_captions(asked, texts, terms)
            runs = np.maximum.reduceat(self._score_runs(asked, texts, terms), self._window_starts)
            scores = np.maximum(best, runs).clip(0, 1).astype(np.float32)[self._sources]
        return [scores[start:stop] for start, stop in pairwise(self._row_starts)]

    @cached_property
    def _sources(self) -> np.ndarray:
        """For each window the one that its texts are written in."""
        begins = self._separators[self._window_starts]
        is_same = self._characters[begins + 1] == ord(SAME_WINDOW) if len(begins) else np.zeros(0, bool)
        return np.maximum.accumulate(np.where(is_same, 0, np.arange(len(begins))))

    def _find(self, asked: "_Asked") -> tuple[np.ndarray, np.ndarray]:
        """Where the terms of a query are: pairs of a text and a term, some of them more than once."""
        if not self._rows or not len(asked.weights):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        places, terms = asked.finder.find(self._characters, self._low_bytes)
        # A place is that of a term's first letter, or of the space before it.
        return np.searchsorted(self._separators, places, side="right") - 1, terms

    def _score_runs(self, asked: "_Asked", texts: np.ndarray, terms: np.ndarray) -> np.ndarray:
        """`(num_texts,)` float64: the best of the runs that begin with each text."""
        num_texts = len(self._window_of_text)
        packed = asked.pack(texts, terms, num_texts)
        has_term = np.zeros(num_texts, bool)
        has_term[texts] = True
        best, union = np.zeros(num_texts), packed
        for length in range(1, min(MAX_RUN, num_texts) + 1):
            count = num_texts - length + 1
            union = union[:count] | packed[length - 1 :]
            # A run that begins or ends with a text that adds nothing is worse than the one without it.
            ends = slice(length - 1, None)
            in_window = self._window_of_text[:count] == self._window_of_text[ends]
            starts = np.flatnonzero(has_term[:count] & has_term[ends] & in_window)
            letters = self._letters[starts + length] - self._letters[starts]
            best[starts] = np.maximum(best[starts], asked.score(union[starts], letters))
        return best

    def _score_captions(self, asked: "_Asked", texts: np.ndarray, terms: np.ndarray) -> np.ndarray:
        """`(num_windows,)` float64: the texts of each window together."""
        starts = self._window_starts
        packed = asked.pack(self._window_of_text[texts], terms, len(starts))
        bounds = self._letters[np.append(starts, len(self._window_of_text))]
        return asked.score(packed, np.diff(bounds))


class _Asked:
    """A query made ready.

    Attributes:
        weights (`np.ndarray` of shape `(num_terms,)`, float64): of its terms, as [`TermFinder`] numbers them; those of
            words, with slips and without, and of all others have the same sum, and all together 1. Empty for a query
            without letters.
        finder ([`TermFinder`]): of its terms.
    """

    def __init__(self, query: str, statistics: LexicalStatistics):
        folded = fold_query(query)
        terms, capitals = terms_of(folded), capital_words(query)
        slipping = slipping_words(terms.words, capitals)
        self.weights = _weigh(terms, capitals, slipping, statistics)
        self.finder = TermFinder(terms, slipping)
        # Of a word, as many grams as letters: the share of the grams that are found is that of the letters.
        letters = np.zeros(len(self.weights))
        letters[: len(terms.grams)] = (len(folded) - folded.count(" ")) / max(1, len(terms.grams))
        self._byte_weights = _byte_weights(self.weights)
        self._byte_letters = _byte_weights(letters)

    def pack(self, documents: np.ndarray, terms: np.ndarray, num_documents: int) -> np.ndarray:
        """Which terms each document has: `(num_documents, ceil(num_terms / 8))` uint8, a term a bit.

        Args:
            documents (`np.ndarray` of shape `(num_matches,)`): numbers of documents.
            terms (`np.ndarray` of shape `(num_matches,)`): a term that is in each of them.
            num_documents (`int`)
        """
        has_term = np.zeros((num_documents, 8 * len(self._byte_weights)), bool)
        has_term.reshape(-1)[documents * has_term.shape[1] + terms] = True
        return np.packbits(has_term, axis=1)

    def score(self, packed: np.ndarray, letters: np.ndarray) -> np.ndarray:
        """Scores documents.

        Args:
            packed (`np.ndarray` of shape `(num_documents, num_bytes)`): their terms, see [`pack`].
            letters (`np.ndarray` of shape `(num_documents,)`): how many each has.

        Returns:
            `np.ndarray` of shape `(num_documents,)`, float64.
        """
        # Byte after byte, not by a matrix product, whose rounding depends on what is multiplied along.
        coverage, found = np.zeros(len(packed)), np.zeros(len(packed))
        for weights, letters_of, byte in zip(self._byte_weights, self._byte_letters, packed.T, strict=True):
            coverage += weights[byte]
            found += letters_of[byte]
        return coverage * np.minimum(1, _length_fit(letters) / _length_fit(found))


def _weigh(terms: Terms, capitals: set[str], slipping: Sequence[str], statistics: LexicalStatistics) -> np.ndarray:
    """Weights of the terms of a query, see [`_Asked`]; `slipping` are some of its words, in their order."""
    if not terms.words:
        return np.zeros(0)
    factors = dict.fromkeys(terms.words, FILLER_WEIGHT)
    factors.update(dict.fromkeys(telling_words(terms.words), 1.0))
    factors.update({word: CAPITAL_WEIGHT for word in terms.words if word in capitals and factors[word] == 1})
    factor_of_part: dict[str, float] = {}
    # What several words share counts as in the one that counts most
    for word in sorted(terms.words, key=factors.__getitem__):
        of_word = terms_of(word)
        factor_of_part.update(dict.fromkeys([*of_word.grams, *of_word.pairs, *of_word.letters], factors[word]))

    parts = [*terms.grams, *terms.pairs, *terms.letters]
    # Squared, as in a cosine: what is rare counts by its rarity in the query and in the text.
    part_weights = statistics.idf([gram_token(part) for part in parts]) ** 2
    part_weights *= [factor_of_part[part] for part in parts]
    word_weights = statistics.idf([word_token(word) for word in terms.words]) ** 2
    word_weights *= [factors[word] for word in terms.words]
    part_weights *= (1 - WORD_SHARE) / part_weights.sum()
    word_weights *= WORD_SHARE / word_weights.sum()
    slips = np.isin(terms.words, slipping)
    return np.concatenate(
        [part_weights, word_weights - SLIP_SHARE * word_weights * slips, SLIP_SHARE * word_weights[slips]]
    )


def _byte_weights(weights: np.ndarray) -> np.ndarray:
    """For each byte of packed terms, the sum of the weights of those whose bits are set: `(num_bytes, 256)`."""
    padded = np.zeros((-(-len(weights) // 8), 1, 8))
    padded.reshape(-1)[: len(weights)] = weights
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    return (padded * bits).sum(axis=2)


def _length_fit(letters: np.ndarray | int) -> np.ndarray | float:
    """BM25's factor for the length of a document in which each term is once."""
    return 1 / (1 + SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * letters / MEAN_LETTERS))


def _buckets(tokens: Sequence[str]) -> np.ndarray:
    return np.array([zlib.crc32(token.encode()) % NUM_BUCKETS for token in tokens], np.int64)
