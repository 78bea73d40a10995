"""The bar to beat: a page of SQL. SQLite FTS5 over readings with their times, best row by bm25."""

import re
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

TOKENIZERS = {"words": "unicode61 remove_diacritics 2", "trigrams": "trigram"}
WAYS = ("words", "trigrams, whole words", "trigrams, any")
AROUND_WORDS = "\"'()[]{}.,;:!?"  # what a sentence puts around its words
ROWS_LOOKED_AT = 5000  # of which the best videos are taken


class Found(NamedTuple):
    """A place that a search shows: the file, the time in it that is shown, and how long the range around it is."""

    path: str
    time: float
    seconds: float


class SQLiteSearch:
    """Full-text search in rows `(path, start, end, text)`; times in seconds."""

    def __init__(self, rows: Iterable[tuple[str, float, float, str]]):
        self.database = sqlite3.connect(":memory:")
        rows = list(rows)
        for name, tokenizer in TOKENIZERS.items():
            self.database.execute(
                f"CREATE VIRTUAL TABLE {name} USING fts5(path UNINDEXED, start UNINDEXED, stop UNINDEXED, text, "
                f"tokenize='{tokenizer}')"
            )
            self.database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", rows)
        self.num_rows = len(rows)

    def search(self, query: str, way: str = "words", top_k: int = 10) -> list[Found]:
        """The best row of each of the best videos.

        Args:
            query: any text.
            way: `"words"`; `"trigrams, whole words"`, each word of the query anywhere inside others; or
                `"trigrams, any"` of the query's words.
            top_k: videos.
        """
        table = way.split(",")[0]
        words = [word.strip(AROUND_WORDS) for word in query.split()]
        terms = _trigrams(words) if way == "trigrams, any" else words
        if table == "trigrams":
            terms = [term for term in terms if len(term) >= 3]
        else:
            terms = [term for term in terms if re.search(r"[^_\W]", term)]
        if not terms:
            return []
        rows = self.database.execute(
            f"SELECT path, start, stop FROM {table} WHERE {table} MATCH ? ORDER BY bm25({table}), rowid LIMIT ?",
            (" OR ".join(_quoted(term) for term in dict.fromkeys(terms)), ROWS_LOOKED_AT),
        )
        best: dict[str, Found] = {}
        for path, start, end in rows:
            best.setdefault(path, Found(path, (start + end) / 2, end - start))
            if len(best) == top_k:
                break
        return list(best.values())


def rows_of_texts(paths: Iterable[str], captions: Iterable) -> list[tuple[str, float, float, str]]:
    """A row for each text as it was read in one window, with the times at which it was seen there."""
    return [
        (path, track.start, track.end, track.text)
        for path, windows in zip(paths, captions, strict=True)
        for window in windows
        for track in window.tracks
    ]


def rows_of_windows(paths: Iterable[str], captions: Iterable) -> list[tuple[str, float, float, str]]:
    """A row for all texts of a window together."""
    return [
        (path, window.start, window.end, window.text)
        for path, windows in zip(paths, captions, strict=True)
        for window in windows
        if window.text
    ]


def _trigrams(words: Iterable[str]) -> list[str]:
    return [word[i : i + 3] for word in words for i in range(max(1, len(word) - 2))]


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'
