"""Search in an index: recall by cheap scores, then the exact score of what was recalled."""

import copy
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.choices import DEFAULT_LEXICAL_WEIGHT, DEFAULT_MOMENTS, DEFAULT_WITHIN, QuerySyntax, SearchMode
from tcd_hf.index.asking import Asked, Asker, check_queries
from tcd_hf.index.damage import reading_rows
from tcd_hf.index.fusing import Fusion
from tcd_hf.index.hit_making import HitMaker
from tcd_hf.index.hits import EvidenceFinder, Hit
from tcd_hf.index.lexical import LexicalStatistics, SegmentTexts
from tcd_hf.index.meant import MeaningFinder
from tcd_hf.index.moments import Moment
from tcd_hf.index.ordered import check_within
from tcd_hf.index.ordered_search import OrderedSearch
from tcd_hf.index.query_syntax import allowed_windows, cut_query, parse_query
from tcd_hf.index.recall import DEEPER, DEFAULT_MEMORY_BUDGET, ROWS_PER_VIDEO, Recall, first_of_each, largest
from tcd_hf.index.schema import (
    CAPTIONS_COLUMN,
    IndexMetadata,
)
from tcd_hf.index.scored_rows import (
    IndexScores,
    ScoredRows,
    Search,
    best_of_each,
    moments_in,
    windows_to_follow,
)
from tcd_hf.index.storage import sql_list
from tcd_hf.index.stored_rows import StoredRows
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["IndexScores", "Retriever", "best_of_videos"]


class Retriever:
    """Answers queries from the table of an index.

    Args:
        model (`TCDModel`): scores queries and segments. Used on the device it is on, in eval mode.
        processor (`TCDProcessor`): makes the model's inputs from queries.
        table (`lancedb.table.Table`): segments of videos. It must stay at its version: after changes, make a new
            retriever.
        metadata ([`IndexMetadata`]): what the table's columns hold.
        statistics ([`LexicalStatistics`]): of the texts in the table.
        lexical_weight (`float`, defaults to 0.5): `w` of the search score, see [`Fusion`].
        memory_budget (`int`, defaults to 4 GiB): bytes that coarse vectors may take in memory, see [`Recall`].
    """

    def __init__(
        self,
        model: TCDModel,
        processor: TCDProcessor,
        table: "Table",
        metadata: IndexMetadata,
        statistics: LexicalStatistics,
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
    ):
        self.model = model.eval()
        self.asker = Asker(self.model, processor)
        self.metadata = metadata
        self.recall = Recall(table, memory_budget)
        self.rows = StoredRows(self.model, table, metadata, statistics, Fusion.of(model.config, lexical_weight))
        self.find_meant = MeaningFinder(self.model, processor)
        self.maker = HitMaker(self.recall, self.rows, self.find_meant)
        self._other: Retriever | None = None

    def counting(self, statistics: LexicalStatistics) -> "Retriever":
        """This retriever with other statistics, such as those of several indexes; it is remembered."""
        other = self._other  # one look: other threads may replace it meanwhile
        if other is None or other.rows.statistics is not statistics:
            other = copy.copy(self)
            other._other = None  # not the one before, which would stay in memory
            other.rows = self.rows.counting(statistics)
            other.maker = HitMaker(self.recall, other.rows, self.find_meant)
            self._other = other
        return other

    @overload
    def search(self, queries: str, *args: Any, **kwargs: Any) -> list[Hit]: ...

    @overload
    def search(self, queries: Sequence[str], *args: Any, **kwargs: Any) -> list[list[Hit]]: ...

    def search(
        self,
        queries: str | Sequence[str],
        top_k: int = 10,
        recall_k: int = 50,
        mode: SearchMode = "two-stage",
        where: str | None = None,
        moments: int = DEFAULT_MOMENTS,
        between: tuple[float, float] | None = None,
        syntax: QuerySyntax = "plain",
        within: float = DEFAULT_WITHIN,
    ) -> list[Hit] | list[list[Hit]]:
        """The best videos of each query, best first; ties in the order added.

        A video is as good as its best segment. Whatever the mode, the parts of a hit's score (`text_video`,
        `text_ocr`, `text_hybrid`, `lexical`) are computed exactly. The mode says which segments are looked at, and what
        `Hit.score` is:

        - `"two-stage"`: those that the coarse vectors, the vectors of their captions or the full-text index recall are
          scored exactly, and only they are returned; `score` is the search score.
        - `"full"`: all are scored exactly, block by block; `score` is the search score.
        - `"coarse"`: `score` is the dot product of the coarse vectors, and the ranking is theirs.
        - `"lexical"`: `score` is the lexical score of what the full-text index recalls; videos that share nothing with
          the query are not returned.

        Args:
            queries (`str` or `list[str]`): what to look for, in at most 1000 characters: a longer one is cut, with a
                warning.
            top_k (`int`, defaults to 10): hits per query; fewer if fewer videos are in question.
            recall_k (`int`, defaults to 50): segments that each recall may name, at least `top_k`; more where these
                are of fewer than `top_k` videos.
            mode (`str`, defaults to `"two-stage"`): one of the above.
            where (`str`, *optional*): only segments that pass, an SQL expression on the columns of the table, such as
                `"duration < 60 AND path LIKE '%/news/%'"`, see [`check_condition`].
            moments (`int`, defaults to 3): further moments of a hit, at most.
            between (`tuple[float, float]`, *optional*): only moments that are, in part, between two times of their
                video, in seconds; infinite ones leave a side open. A moment is then looked for in the segments that
                are in this time, and shown as far as these go.
            syntax (`str`, defaults to `"plain"`): `"query"` reads quotes, `-word`, `OR` and `>>`, see [`parse_query`].
            within (`float`, defaults to 60.0): of `first >> then`, most seconds from the end of the first moment to the
                begin of the second; infinity asks for the order alone. See [`OrderedSearch`].

        Returns:
            `list[Hit]` for a string, `list[list[Hit]]` for a list.

        Raises:
            ValueError: an empty index or query, a number out of range, an unknown mode or syntax, a filter that is no
                such expression, a time range that is none, or `>>` in a mode that does not score moments.
        """
        if isinstance(queries, str):
            return self.search([queries], top_k, recall_k, mode, where, moments, between, syntax, within)[0]
        self._check_not_empty()
        return self.answer(self.asker.prepare(queries, top_k, recall_k, mode, where, moments, between, syntax, within))

    def answer(self, asked: Asked, above: Sequence[float] | None = None) -> list[list[Hit]]:
        """The best videos of each query, best first; none of an empty table. See [`~Retriever.search`].

        Args:
            asked ([`Asked`]): the queries.
            above (`Sequence[float]`, *optional*): for each query a score: what does not exceed it need not be found.
        """
        above = [-np.inf] * len(asked.searches) if above is None else above
        if not self.recall.num_rows:
            return [[] for _ in asked.searches]
        single = [parts[0] for parts in asked.searches if len(parts) == 1]
        with reading_rows():
            full = bool(single) and single[0].mode == "full"
            candidates = iter(self._find_best(single) if full else map(self._recall, single))
            return [
                self.maker.hits(parts[0], next(candidates), least)
                if len(parts) == 1
                else OrderedSearch(self, parts, asked.within, asked.where).hits(least)
                for parts, least in zip(asked.searches, above, strict=True)
            ]

    def moments(
        self, query: str, path: str, syntax: QuerySyntax = "plain", within: float = DEFAULT_WITHIN
    ) -> list[Moment]:
        """All moments of one video that match a query, in the order of time; where no text of it does, the window that
        the model finds best.

        Args:
            query (`str`), syntax (`str`, defaults to `"plain"`), within (`float`, defaults to 60.0): what to look for,
                see [`~Retriever.search`].
            path (`str`): of the video, as in the table.

        Raises:
            ValueError: an empty index or query, or no such video.
        """
        check_within(within)
        self._check_not_empty()
        parsed = parse_query(query, syntax)
        where = f"path IN {sql_list([path])}"
        columns = [*self.rows.columns, CAPTIONS_COLUMN, "start", "end", "_rowid"]
        with reading_rows():
            rows = self.rows.table.search().select(columns).where(where).to_arrow()
        if not len(rows):
            raise ValueError(f"The index has no video {path!r}: see its `paths`.")
        searches = self.asker.searches([parsed], None, 1, 1, len(rows) * self.metadata.num_frames, "full", None)
        with reading_rows():
            self.rows.verify(rows["_rowid"].to_numpy())
            if parsed.then:
                moments = OrderedSearch(self, searches, within).moments(rows)
            else:
                scored = self.rows.score(searches[0].texts, searches[0].text_embeds, rows, searches[0])
                find_evidence = EvidenceFinder(parsed.text, parsed.phrases)
                moments = moments_in(searches[0], scored, np.arange(len(rows)), rows, find_evidence, self.rows.fusion)
                moments = self._with_meaning(searches[0], scored, moments, rows)
            return sorted(moments, key=lambda moment: moment.start)

    def has(self, path: str) -> bool:
        """Whether the table has a video of this path."""
        with reading_rows():
            return self.rows.table.count_rows(f"path IN {sql_list([path])}") > 0

    def _with_meaning(self, search: Search, scored: ScoredRows, moments: list[Moment], rows: pa.Table) -> list[Moment]:
        """The moments of one video; its only one, where no text of it is spelled alike, with evidence by meaning."""
        if not moments or moments[0].evidence or self.rows.fusion.is_weak(moments[0].score):
            return moments
        texts, ranked_by = best_of_each(scored.scores.score)
        asked = search.text_embeds.cpu().numpy()[texts[ranked_by.argmax()]]
        captions = rows[CAPTIONS_COLUMN].to_pylist()
        windows = windows_to_follow(search, captions, self.metadata.num_frames, moments[0].start)
        return self.find_meant(moments[:1], [asked], [windows]) + moments[1:]

    def score(self, queries: Sequence[str], text_embeds: torch.Tensor | None = None) -> IndexScores:
        """Scores every query with every video, in the order of [`~Recall.paths`].

        Args:
            queries (`Sequence[str]`): what to look for.
            text_embeds (`torch.Tensor` of shape `(num_queries, dim)`, *optional*): theirs, if these are known.

        Raises:
            ValueError: an empty index or query.
        """
        self._check_not_empty()
        check_queries(queries)
        queries = [cut_query(query) for query in queries]
        text_embeds = self.asker.embed(queries) if text_embeds is None else text_embeds
        with reading_rows():
            blocks = list(self.rows.blocks())
            scores = [self.rows.score(queries, text_embeds, rows).scores for rows in blocks]
        parts = {}
        for field in fields(IndexScores):
            columns = [getattr(block, field.name) for block in scores]
            parts[field.name] = None if columns[0] is None else np.concatenate(columns, axis=1)
        videos = self.recall.videos(np.concatenate([rows["_rowid"].to_numpy() for rows in blocks]))
        return best_of_videos(IndexScores(**parts), videos, len(self.recall.paths))

    def _check_not_empty(self) -> None:
        if not self.recall.num_rows:
            raise ValueError("The index is empty: add videos before searching.")

    def _recall(self, search: Search) -> np.ndarray:
        """Row ids, in ascending order: those that get a score of their own."""
        num_videos = enough = min(search.top_k, len(self.recall.paths))
        depth = min(max(search.top_k, search.recall_k), self.recall.num_rows)
        while True:
            named = self._named(search, depth, num_videos)
            row_ids = np.unique(np.concatenate(named)) if named else np.zeros(0, np.uint64)
            if not search.query.excluded and not search.query.phrases:
                return row_ids
            # The filter lets rows through whose windows each lack something.
            texts: Any = SegmentTexts.from_column(self.rows.take(row_ids, ["texts"])["texts"]) if len(row_ids) else []
            possible = [allowed_windows(search.query, texts.windows(row)).any() for row in range(len(row_ids))]
            row_ids = row_ids[np.array(possible, bool)]
            exhausted = num_videos == 1 and all(len(rows) < depth for rows in named)
            if exhausted or depth >= self.recall.num_rows or len(np.unique(self.recall.videos(row_ids))) >= enough:
                return row_ids
            depth, num_videos = depth * DEEPER, 1  # from now on all rows of a video, not only its best

    def _named(self, search: Search, depth: int, num_videos: int) -> list[np.ndarray]:
        """Row ids that the recall of the mode names, for each alternative."""
        if search.mode == "lexical":
            return [self.recall.full_text(text, depth, search.where, num_videos) for text in search.texts]
        coarse_queries = self.rows.coarse_queries(search.text_embeds)
        if search.mode == "coarse":
            return self.recall.nearest(coarse_queries, depth, search.where, num_videos)
        text_embeds = search.text_embeds.cpu().numpy()
        return self.recall.union(coarse_queries, text_embeds, search.texts, depth, search.where, num_videos)

    def _find_best(self, searches: Sequence[Search]) -> list[np.ndarray]:
        """Row ids of the best rows of each search's `top_k` best videos. No more are kept from block to block."""
        best = [(np.zeros(0, np.float32), np.zeros(0, np.uint64))] * len(searches)
        for where in dict.fromkeys(search.where for search in searches):
            asked = [place for place, search in enumerate(searches) if search.where == where]
            for rows in self.rows.blocks(where):
                block_ids = rows["_rowid"].to_numpy()
                for place in asked:
                    search = searches[place]
                    scored = self.rows.score(search.texts, search.text_embeds, rows, search)
                    scores = np.append(best[place][0], scored.scores.score.max(axis=0))
                    best[place] = self._keep_best(scores, np.append(best[place][1], block_ids), search.top_k)
        return [np.sort(row_ids) for _, row_ids in best]

    def _keep_best(self, scores: np.ndarray, row_ids: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """The best rows of the `top_k` best videos, best first."""
        places = largest(scores, np.isfinite(scores).sum())
        videos = self.recall.videos(row_ids[places])
        leaders = videos[first_of_each(videos, 1)][:top_k]
        places = places[first_of_each(videos, ROWS_PER_VIDEO)]
        places = places[np.isin(self.recall.videos(row_ids[places]), leaders)]
        return scores[places], row_ids[places]


def best_of_videos(scores: IndexScores, videos: np.ndarray, num_videos: int) -> IndexScores:
    """Scores of videos, those of the best of their columns, of equal ones the first.

    Args:
        scores ([`IndexScores`]): `(num_queries, num_columns)` each.
        videos (`np.ndarray` of shape `(num_columns,)`): which video each column is of, a number below `num_videos`.
        num_videos (`int`)
    """
    best = np.stack([_best_rows(row, videos, num_videos) for row in scores.score])
    return scores.pick(np.arange(len(best))[:, None], best)


def _best_rows(scores: np.ndarray, videos: np.ndarray, num_videos: int) -> np.ndarray:
    """The place of the best row of each video, of equal ones the first."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    return order[np.argsort(videos[order], kind="stable")[np.searchsorted(np.sort(videos), np.arange(num_videos))]]
