"""First stage of a search: which videos are worth scoring, by one vector per video and by the spelling of its texts."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from tcd_hf.index.lexical import spell, without_filler
from tcd_hf.index.schema import COARSE_COLUMN

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = [
    "COARSE_COLUMN",
    "DEFAULT_MEMORY_BUDGET",
    "TEXT_COLUMN",
    "Recall",
    "create_coarse_index",
    "create_text_index",
    "largest",
]

TEXT_COLUMN = "term_text"
DEFAULT_MEMORY_BUDGET = 4 << 30
BLOCK_ELEMENTS = 1 << 24  # (query, video) scores held at once: 64 MB
ROUNDING = 1e-5  # more than the error of a float32 product with unit vectors, relative to the query's length
REFINE_FACTOR = 2  # the index compresses vectors: so many times the vectors asked for are compared as they are


def create_text_index(table: "Table") -> None:
    """Makes the full-text index anew. Rows added later are found without it, one by one, until it is made again."""
    from lancedb.index import FTS

    # The column holds terms, cut and normalised: the index takes them as they are.
    plain = {"stem": False, "remove_stop_words": False, "lower_case": False, "ascii_folding": False}
    config = FTS(base_tokenizer="whitespace", max_token_length=None, **plain)
    table.create_index(TEXT_COLUMN, config=config, replace=True)


def create_coarse_index(table: "Table") -> None:
    """Makes the approximate index of the coarse vectors anew, which is read where they do not fit the memory budget."""
    from lancedb.index import HnswSq

    table.create_index(COARSE_COLUMN, config=HnswSq(distance_type="cosine"), replace=True)


class Recall:
    """Candidates among the rows of a table, which are named by LanceDB's row ids.

    Coarse vectors are held in memory and searched exactly, by one matrix product, while they fit the budget; beyond it
    LanceDB searches them on disk: by [`create_coarse_index`]'s index, or exactly and slowly without one.

    Args:
        table (`lancedb.table.Table`): of videos. It is read when first needed and must stay at its version.
        memory_budget (`int`): bytes that coarse vectors may take.

    Attributes:
        num_rows (`int`): of the table.
        in_memory (`bool`): whether the coarse vectors fit the budget.
    """

    def __init__(self, table: "Table", memory_budget: int):
        self.table = table
        self.num_rows = table.count_rows()
        self.dim = table.schema.field(COARSE_COLUMN).type.list_size
        self.in_memory = self.num_rows * self.dim * 4 <= memory_budget
        self._row_ids: np.ndarray | None = None
        self._sorted: np.ndarray | None = None
        self._vectors: np.ndarray | None = None

    def check_filter(self, where: str) -> None:
        """Refuses, with a `ValueError` that says what is wrong, what is no SQL expression on columns of the table."""
        try:
            self.table.search().select(["_rowid"]).where(where).limit(1).to_arrow()
        except (ValueError, RuntimeError) as error:  # the latter: types that cannot be compared
            raise ValueError(f"where={where!r} cannot be used as a filter: {error}") from error

    def positions(self, row_ids: np.ndarray) -> np.ndarray:
        """Where rows stand in the table: the order in which they were added."""
        self._load()
        return self._sorted[np.searchsorted(self._row_ids, row_ids, sorter=self._sorted)]

    def nearest(self, queries: np.ndarray, count: int, where: str | None = None) -> list[np.ndarray]:
        """Ids of the rows whose coarse vectors have the largest dot products with a query, for each query.

        Args:
            queries (`np.ndarray` of shape `(num_queries, dim)`, float32)
            count (`int`): most rows per query, best first; of equals the ones added first.
            where (`str`, *optional*): a filter on the columns of the table.
        """
        if not self.in_memory:
            return [self._nearest_by_index(query, count, where) for query in queries]
        self._load()
        allowed = None if where is None else self._positions_of(where)
        nearest = []
        queries_per_block = max(1, BLOCK_ELEMENTS // self.num_rows)
        for start in range(0, len(queries), queries_per_block):
            block = queries[start : start + queries_per_block]
            # By torch, as all else: threads of another library, still awake from here, would stand in its way.
            with torch.autocast("cpu", enabled=False):
                products = (torch.from_numpy(self._vectors) @ torch.from_numpy(block).T).T.numpy()
            nearest += [
                self._row_ids[self._best(query, scores, count, allowed)]
                for query, scores in zip(block, products, strict=True)
            ]
        return nearest

    def spelled_like(self, query: str, count: int, where: str | None = None) -> np.ndarray:
        """Ids of at most `count` rows whose texts share rare 3-grams or words with a query (BM25), best first.

        Filler words of the query do not count. Any string is fine: nothing in it is syntax.
        """
        from lancedb.query import MatchQuery

        # A query of a class, not of a string: quotes, signs and brackets would be operators there.
        terms = MatchQuery(spell(without_filler(query)), TEXT_COLUMN)
        search = self.table.search(terms, query_type="fts").select(["_rowid", "_score"])
        if where is not None:
            search = search.where(where, prefilter=True)
        return search.limit(count).to_arrow()["_rowid"].to_numpy()

    def by_either(self, queries: np.ndarray, texts: Sequence[str], count: int, where: str | None = None) -> list:
        """Row ids, in ascending order, of what [`~Recall.nearest`] or [`~Recall.spelled_like`] name for each query."""
        with ThreadPoolExecutor(1) as pool:  # the full-text index is searched while vectors are multiplied
            spelled = pool.map(lambda text: self.spelled_like(text, count, where), texts)
            return list(map(np.union1d, self.nearest(queries, count, where), spelled))

    def _best(self, query: np.ndarray, scores: np.ndarray, count: int, allowed: np.ndarray | None) -> np.ndarray:
        """Positions of the rows with the largest dot products. Those that may be among them are computed once more, row
        by row: a matrix product may round equal rows differently, and equal videos must tie."""
        scores = scores if allowed is None else scores[allowed]
        least = np.partition(scores, -count)[-count] if count < len(scores) else -np.inf
        least -= ROUNDING * np.linalg.norm(query)
        places = np.flatnonzero(scores >= least)
        places = places if allowed is None else allowed[places]
        exact = (self._vectors[places] * query).sum(axis=1)
        return places[largest(exact, count)]

    def _nearest_by_index(self, query: np.ndarray, count: int, where: str | None) -> np.ndarray:
        # By angle, as the index is made: vectors of videos have length 1, so the order is that of the dot products.
        search = self.table.search(query, vector_column_name=COARSE_COLUMN, query_type="vector")
        search = search.distance_type("cosine").refine_factor(REFINE_FACTOR).select(["_rowid", "_distance"])
        if where is not None:
            search = search.where(where, prefilter=True)
        return search.limit(count).to_arrow()["_rowid"].to_numpy()

    def _positions_of(self, where: str) -> np.ndarray:
        """Of the rows that a filter lets through, in order."""
        found = self.table.search().select(["_rowid"]).where(where).to_arrow()
        return np.sort(self.positions(found["_rowid"].to_numpy()))

    def _load(self) -> None:
        if self._row_ids is not None:
            return
        row_ids, vectors, columns = np.empty(self.num_rows, np.uint64), None, ["_rowid"]
        if self.in_memory:
            columns.append(COARSE_COLUMN)
            vectors = np.empty((self.num_rows, self.dim), np.float32)
        start = 0
        for batch in self.table.search().select(columns).to_batches():
            rows = slice(start, start := start + len(batch))
            row_ids[rows] = batch["_rowid"].to_numpy()
            if vectors is not None:
                vectors[rows] = batch[COARSE_COLUMN].flatten().to_numpy().reshape(len(batch), -1)
        self._sorted = np.argsort(row_ids, kind="stable")
        self._vectors = vectors
        self._row_ids = row_ids  # last: another thread that sees it goes on to the others


def largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` largest scores, best first; of equal ones the first."""
    if count < len(scores):
        threshold = np.partition(scores, -count)[-count]
        places = np.flatnonzero(scores >= threshold)
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")][:count]
