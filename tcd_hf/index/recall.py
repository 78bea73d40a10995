"""First stage of a search: which rows are worth scoring, by one vector per row and by the spelling of its texts."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch

from tcd_hf.index.damage import may_be_damage
from tcd_hf.index.held_vectors import HALF_ROUNDING, HeldVectors, read_in_background
from tcd_hf.index.lexical import query_spelling
from tcd_hf.index.row_indices import (
    LARGE_TABLE,
    REFINE_FACTOR,
    TEXT_COLUMN,
    bytes_in_memory,
    has_coarse_index,
    parts_to_search,
)
from tcd_hf.index.schema import COARSE_COLUMN

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["COARSE_COLUMN", "DEFAULT_MEMORY_BUDGET", "Recall", "first_of_each", "largest"]

logger = logging.getLogger(__name__)
pc: Any = pyarrow.compute  # makes its functions when it is imported

DEFAULT_MEMORY_BUDGET = 4 << 30
BLOCK_ELEMENTS = 1 << 24  # (query, video) scores held at once: 64 MB
ROWS_PER_BATCH = 1 << 18  # that are read at once; a thousand, LanceDB's own number, takes ten times as long
DEEPER = 4  # times as many rows are looked at where those looked at are of too few videos
ROWS_PER_VIDEO = 8  # of what is recalled by one kind: the best of a video; the others are likely to be alike


class Recall:
    """Candidates among the rows of a table, which are named by LanceDB's row ids.

    Coarse vectors are held in memory and searched exactly, by one matrix product, while they fit the budget; beyond it
    LanceDB searches them on disk: by [`create_coarse_index`]'s index, or exactly and slowly without one. So are the
    vectors of captions, where the table has few enough of them, see [`HeldVectors`]. Of a large table, whose vectors
    take seconds to be read, the index is searched, where there is one, until they are in memory.

    Args:
        table (`lancedb.table.Table`): of segments of videos. It is read when first needed and must stay at its version.
        memory_budget (`int`): bytes that vectors may take.

    Attributes:
        num_rows (`int`): of the table; segments of videos.
    """

    # What `_load` reads.
    _row_ids: np.ndarray
    _sorted: np.ndarray
    _videos: np.ndarray
    _paths: pa.Array

    def __init__(self, table: "Table", memory_budget: int):
        self.table = table
        self.num_rows = table.count_rows()
        self.dim = table.schema.field(COARSE_COLUMN).type.list_size
        self._memory_budget = memory_budget
        self._fits = bytes_in_memory(self.num_rows, self.dim) <= memory_budget
        self._held: HeldVectors | None = None
        self._loading = threading.Lock()
        self._loaded = self._without_text_index = False
        self._filtered: tuple[str | None, np.ndarray] = (None, np.zeros(0, np.int64))

    def positions(self, row_ids: np.ndarray) -> np.ndarray:
        """Where rows stand in the table: the order in which they were added."""
        self._load()
        return self._sorted[np.searchsorted(self._row_ids, row_ids, sorter=self._sorted)]

    @property
    def paths(self) -> pa.Array:
        """The paths of the videos, in the order in which they were added."""
        self._load()
        return self._paths

    def videos(self, row_ids: np.ndarray) -> np.ndarray:
        """Which video each row is of, as a place in [`~Recall.paths`]."""
        positions = self.positions(row_ids)  # reads the table
        return self._videos[positions]

    def path(self, row_id: int) -> str:
        """The path of the video that a row belongs to."""
        return self.paths[int(self.videos(np.array([row_id], np.uint64))[0])].as_py()

    def rows_of(self, videos: np.ndarray, where: str | None = None) -> np.ndarray:
        """Ids of all rows of some videos that pass a filter, in the order of the table.

        Args:
            videos (`np.ndarray` of shape `(num_videos,)`): places in [`~Recall.paths`].
            where (`str`, *optional*): a filter on the columns of the table.
        """
        self._load()
        is_meant = np.zeros(len(self._paths), bool)
        is_meant[videos] = True
        positions = np.flatnonzero(is_meant[self._videos])
        if where is not None:
            positions = np.intersect1d(positions, self._positions_of(where), assume_unique=True)
        return self._row_ids[positions]

    def vectors(self, row_ids: np.ndarray) -> pa.FixedSizeListArray | None:
        """The coarse vectors of rows, as the column `coarse` has them; `None` while they are not in memory."""
        positions = self.positions(row_ids)  # reads the table
        return None if self._held is None else self._held.of(positions)

    def times(self, row_ids: np.ndarray) -> np.ndarray:
        """When the segments of rows begin and end, in seconds of their files: `(num_rows, 2)` float64."""
        return self._times[self.positions(row_ids)]

    def nearest(
        self, queries: np.ndarray, count: int, where: str | None = None, num_videos: int = 1
    ) -> list[np.ndarray]:
        """Ids of the rows whose coarse vectors have the largest dot products with a query, for each query.

        Args:
            queries (`np.ndarray` of shape `(num_queries, dim)`, float32)
            count (`int`): most rows per query, best first; of equals the ones added first.
            where (`str`, *optional*): a filter on the columns of the table.
            num_videos (`int`, *optional*, defaults to 1): if these are of fewer videos, of each video only the best
                `ROWS_PER_VIDEO` are taken, and as many more rows as it takes.
        """
        self._load()
        held = self._held  # one look: it may come meanwhile
        if held is None:
            return [
                self._deepened(partial(self._nearest_by_index, query, where=where), count, num_videos)
                for query in queries
            ]
        allowed = None if where is None else self._positions_of(where)
        nearest = []
        queries_per_block = max(1, BLOCK_ELEMENTS // self.num_rows)
        for start in range(0, len(queries), queries_per_block):
            block = queries[start : start + queries_per_block]
            products, rounding = held.products(torch.from_numpy(block))
            for query, scores in zip(block, products, strict=True):
                slack = rounding * float(np.linalg.norm(query))
                best = partial(self._best, scores, partial(held.exact, query), slack=slack, allowed=allowed)
                nearest.append(self._deepened(best, count, num_videos))
        return nearest

    def nearest_captions(
        self, text_embeds: np.ndarray, count: int, where: str | None = None, num_videos: int = 1
    ) -> list[np.ndarray]:
        """Ids of the rows with the caption that is nearest in meaning to a text, for each text; none where the vectors
        of captions are not in memory.

        Args:
            text_embeds (`np.ndarray` of shape `(num_texts, dim)`, float32): L2-normalised.
            count (`int`), where (`str`, *optional*), num_videos (`int`, *optional*, defaults to 1): as of
                [`~Recall.nearest`].
        """
        self._load()
        captions = None if self._held is None else self._held.captions
        if captions is None:
            return [np.zeros(0, np.uint64) for _ in text_embeds]
        with_text = captions.with_text
        if where is not None:
            with_text = np.intersect1d(with_text, self._positions_of(where), assume_unique=True)
        found = []
        for text in text_embeds:
            exact = partial(captions.exact, text)
            best = partial(self._best, captions.products(text), exact, slack=HALF_ROUNDING, allowed=with_text)
            found.append(self._deepened(best, count, num_videos))
        return found

    def full_text(self, query: str, count: int, where: str | None = None, num_videos: int = 1) -> np.ndarray:
        """Ids of rows whose texts share rare 3-grams or words with a query (BM25), best first.

        Filler words of the query count little. Any string is fine: nothing in it is syntax.

        Args:
            query (`str`), count (`int`): at most so many rows, see [`~Recall.nearest`].
            where (`str`, *optional*), num_videos (`int`, *optional*, defaults to 1): likewise.
        """
        terms = _full_text_query(query)
        if terms is None:
            return np.zeros(0, np.uint64)

        self._load()
        return self._deepened(partial(self._best_texts, terms, where=where), count, num_videos)

    def _best_texts(self, terms: Any, count: int, where: str | None) -> np.ndarray:
        """Ids of the rows that the full-text index names; without it, if it is damaged."""
        search = self.table.search(terms, query_type="fts").select(["_rowid", "_score"])
        if where is not None:
            search = search.where(where, prefilter=True)
        if not self._without_text_index:
            try:
                found = search.limit(count).to_arrow()["_rowid"].to_numpy()
                if self._has(found):
                    return found
            except Exception as error:
                if not may_be_damage(error):
                    raise
            self._without_text_index = True
            logger.warning(
                "The full-text index is damaged: texts are looked through one by one, which takes longer. The next "
                "`add`, or --repair, makes it anew."
            )
        return self._scan_texts(terms.query.split(), count, where)

    def _has(self, row_ids: np.ndarray) -> bool:
        """Whether these are rows of the table. `np.isin` would sort all rows for each query: seconds for millions."""
        if not self.num_rows:
            return not len(row_ids)
        places = np.searchsorted(self._row_ids, row_ids, sorter=self._sorted).clip(max=self.num_rows - 1)
        return bool((self._row_ids[self._sorted[places]] == row_ids).all())

    def _scan_texts(self, terms: Sequence[str], count: int, where: str | None) -> np.ndarray:
        """What the full-text index is for, without it: ids of rows that have terms, those with many rare ones first."""
        query = self.table.search().select(["_rowid", TEXT_COLUMN])
        rows = (query if where is None else query.where(where)).to_arrow()
        texts = pc.binary_join_element_wise("", rows[TEXT_COLUMN], "", " ")  # a space before each term and behind it
        scores = np.zeros(len(rows))
        for term in dict.fromkeys(terms):
            has_term = pc.match_substring(texts, f" {term} ").to_numpy()
            scores += has_term * np.log1p(len(rows) / max(1, has_term.sum()))
        best = largest(scores, count)
        return rows["_rowid"].to_numpy()[best[scores[best] > 0]]

    def union(
        self,
        queries: np.ndarray,
        text_embeds: np.ndarray,
        texts: Sequence[str],
        count: int,
        where: str | None = None,
        num_videos: int = 1,
    ) -> list[np.ndarray]:
        """Row ids, in ascending order, of what [`~Recall.nearest`], [`~Recall.nearest_captions`] or
        [`~Recall.full_text`] name for each query."""
        self._load()  # once, not in both threads
        how = count, where, num_videos
        with ThreadPoolExecutor(1) as pool:  # the full-text index is searched while vectors are multiplied
            spelled = pool.map(lambda text: self.full_text(text, *how), texts)
            near = zip(self.nearest(queries, *how), self.nearest_captions(text_embeds, *how), spelled, strict=True)
            return [np.unique(np.concatenate(named)) for named in near]

    def _deepened(self, best: Callable[[int], np.ndarray], count: int, num_videos: int) -> np.ndarray:
        """The `count` best rows, or so many more that they are of `num_videos` videos, if there are as many."""
        # A little deeper at once, as it is usual that the best rows are of one video, and asking twice takes twice as
        # long.
        depth = count if num_videos == 1 else DEEPER * count
        while True:
            row_ids = best(depth)
            videos = self.videos(row_ids)
            if len(np.unique(videos[:count])) >= num_videos or len(row_ids) <= count:
                return row_ids[:count]
            if len(row_ids) < depth or depth >= self.num_rows or len(np.unique(videos)) >= num_videos:
                return row_ids[_best_of_many(videos, count, num_videos)]
            depth *= DEEPER

    def _best(
        self,
        scores: np.ndarray,
        exact: Callable[[np.ndarray], np.ndarray],
        count: int,
        slack: float,
        allowed: np.ndarray | None,
    ) -> np.ndarray:
        """Ids of the rows with the largest dot products. Those that may be among them, as the scores err by less than
        half of `slack`, are computed once more, row by row: equal videos must tie, which a product of matrices may
        round differently."""
        scores = scores if allowed is None else scores[allowed]
        least = np.partition(scores, -count)[-count] if count < len(scores) else -np.inf
        places = np.flatnonzero(scores >= least - slack)
        places = places if allowed is None else allowed[places]
        return self._row_ids[places[largest(exact(places), count)]]

    def _nearest_by_index(self, query: np.ndarray, count: int, where: str | None) -> np.ndarray:
        # By angle, as the index is made: vectors of videos have length 1, so the order is that of the dot products.
        search: Any = self.table.search(query, vector_column_name=COARSE_COLUMN, query_type="vector")
        search = search.distance_type("cosine").nprobes(parts_to_search(self.num_rows)).refine_factor(REFINE_FACTOR)
        search = search.select(["_rowid", "_distance"])
        if where is not None:
            search = search.where(where, prefilter=True)
        try:
            return search.limit(count).to_arrow()["_rowid"].to_numpy()
        except Exception as error:
            if not may_be_damage(error):
                raise
            logger.warning(
                "The index of vectors is damaged: all vectors are compared, which takes longer. --repair makes it anew."
            )
            return search.bypass_vector_index().limit(count).to_arrow()["_rowid"].to_numpy()

    def _positions_of(self, where: str) -> np.ndarray:
        """The positions of the rows that a filter lets through, in order. Those of the last filter are remembered, as
        each kind of recall asks for them."""
        if self._filtered[0] != where:
            found = self.table.search().select(["_rowid"]).where(where).to_arrow()
            self._filtered = where, np.sort(self.positions(found["_rowid"].to_numpy()))
        last, positions = self._filtered
        return positions if last == where else self._positions_of(where)  # another thread asks for others

    @cached_property
    def _times(self) -> np.ndarray:
        """The times of all rows; they are read when first needed, as few searches need them."""
        rows = self.table.search().select(["_rowid", "start", "end"]).to_arrow()
        times = np.empty((self.num_rows, 2))
        times[self.positions(rows["_rowid"].to_numpy())] = np.stack([rows["start"], rows["end"]], axis=1)
        return times

    def _load(self) -> None:
        with self._loading:
            if self._loaded:
                return
            self._load_rows()
            if self._fits and self.num_rows >= LARGE_TABLE and has_coarse_index(self.table):
                read_in_background(self.table, self._memory_budget, self._keep)
            elif self._fits:
                self._keep(HeldVectors(self.table, self._memory_budget))
            self._loaded = True

    def _load_rows(self) -> None:
        """Reads which video each row is of."""
        row_ids, start, paths = np.empty(self.num_rows, np.uint64), 0, []
        for batch in self.table.search().select(["_rowid", "path"]).to_batches(ROWS_PER_BATCH):
            row_ids[start : (start := start + len(batch))] = batch["_rowid"].to_numpy()
            paths.append(batch["path"])
        encoded = pa.chunked_array(paths, pa.string()).dictionary_encode().combine_chunks()  # the texts are not copied
        self._paths, self._videos = encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)
        self._sorted = np.argsort(row_ids, kind="stable")
        self._row_ids = row_ids

    def _keep(self, held: HeldVectors) -> None:
        self._held = held


def _full_text_query(query: str) -> Any:
    """What a query looks for in the full-text index; `None` for one without a letter or digit."""
    from lancedb.query import MatchQuery

    telling, filler = query_spelling(query)
    if not telling:
        return None
    # One query of all: a filler word counts little as it is one token, a telling word several rarer ones. A second
    # query beside it, of less weight, would make LanceDB score all rows that have any token: 14 times as slow.
    # And one of a class, not of a string: quotes, signs and brackets would be operators there.
    match_query: Any = MatchQuery  # a checker takes what has a default for required
    return match_query(f"{telling} {filler}".strip(), TEXT_COLUMN)


def _best_of_many(videos: np.ndarray, count: int, num_videos: int) -> np.ndarray:
    """Places of the first rows, at most `ROWS_PER_VIDEO` of one video: `count`, or more for `num_videos` videos."""
    places = first_of_each(videos, ROWS_PER_VIDEO)
    firsts = np.sort(np.unique(videos[places], return_index=True)[1])[:num_videos]
    return places[: max(count, firsts[-1] + 1)]


def first_of_each(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the first `count` occurrences of each value, ascending."""
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    begins = np.flatnonzero(np.diff(sorted_values, prepend=sorted_values[:1] - 1))
    rank = np.arange(len(values)) - np.repeat(begins, np.diff(begins, append=len(values)))
    return np.sort(order[rank < count])


def largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` largest scores, best first; of equal ones the first."""
    if count < len(scores):
        threshold = np.partition(scores, -count)[-count]
        places = np.flatnonzero(scores >= threshold)
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")][:count]
