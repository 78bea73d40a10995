"""Search in an index: recall by cheap scores, then the exact score of what was recalled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.index.hits import DEFAULT_LEXICAL_WEIGHT, Hit, evidence_boxes, fuse_scores, matching_texts, score_windows
from tcd_hf.index.lexical import TERM_SCHEMA, LexicalStatistics, VideoTerms, cosines, query_terms
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET, Recall, largest
from tcd_hf.index.schema import COARSE_COLUMN, FEATURES_COLUMN, IndexMetadata, features_from
from tcd_hf.modeling.modeling_tcd import TCDModel, TCDVideoFeatures
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.window_ocr import WindowCaption

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["MODES", "IndexScores", "Retriever"]

MODES = ("two-stage", "full", "coarse", "lexical")
VIDEOS_PER_BLOCK = 512  # videos whose features are in memory at once while all are scored
QUERIES_PER_BATCH = 64
TERM_COLUMNS = [field.name for field in TERM_SCHEMA if field.name != "term_text"]


@dataclass(frozen=True)
class IndexScores:
    """Scores of every query with every video, each `(num_queries, num_videos)` float32.

    Attributes:
        score (`np.ndarray`): what hits are ranked by: `model` and `lexical`, fused.
        model (`np.ndarray`): the model's similarity.
        lexical (`np.ndarray`): lexical score of the best window.
        text_video (`np.ndarray`): the text-video part of the model's similarity.
        text_ocr, text_hybrid (`np.ndarray`, *optional*): its other parts; `None` for a model that does not read OCR.
    """

    score: np.ndarray
    model: np.ndarray
    lexical: np.ndarray
    text_video: np.ndarray
    text_ocr: np.ndarray | None = None
    text_hybrid: np.ndarray | None = None


class ScoredRows(NamedTuple):
    """Rows of the table with all that was computed of them: scores of queries and videos, and of single captions."""

    features: TCDVideoFeatures
    terms: VideoTerms
    caption_scores: np.ndarray
    scores: IndexScores


class Retriever:
    """Answers queries from the table of an index.

    Args:
        model (`TCDModel`): scores queries and videos. Used on the device it is on, in eval mode.
        processor (`TCDProcessor`): makes the model's inputs from queries.
        table (`lancedb.table.Table`): the videos. It must stay at its version: after changes, make a new retriever.
        metadata ([`IndexMetadata`]): what the table's columns hold.
        statistics ([`LexicalStatistics`]): of the texts in the table.
        lexical_weight (`float`, defaults to 0.5): `w` of the search score `(1 - w) * S + w * L`.
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
        if not 0 <= lexical_weight <= 1:
            raise ValueError(f"lexical_weight must lie in [0, 1], got {lexical_weight}.")
        self.model = model.eval()
        self.processor = processor
        self.table = table
        self.metadata = metadata
        self.statistics = statistics
        self.lexical_weight = lexical_weight
        self.recall = Recall(table, memory_budget)
        self._columns = [FEATURES_COLUMN, *TERM_COLUMNS]
        if model.config.interaction == "tib":  # of whose score the coarse one is a part
            self._columns.append(COARSE_COLUMN)

    def search(
        self,
        queries: str | Sequence[str],
        top_k: int = 10,
        recall_k: int = 50,
        mode: str = "two-stage",
        where: str | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """The best videos of each query, best first; ties in the order added.

        Whatever the mode, the parts of a hit's score (`text_video`, `text_ocr`, `text_hybrid`, `lexical`) are computed
        exactly. The mode says which videos are looked at, and what `Hit.score` is:

        - `"two-stage"`: those that the coarse vectors or the full-text index recall are scored exactly, and only they
          are returned; `score` is the search score.
        - `"full"`: all are scored exactly, block by block; `score` is the search score.
        - `"coarse"`: `score` is the dot product of the coarse vectors, and the ranking is theirs.
        - `"lexical"`: `score` is the lexical score of what the full-text index recalls; videos that share nothing with
          the query are not returned.

        Args:
            queries (`str` or `list[str]`): what to look for.
            top_k (`int`, defaults to 10): hits per query; fewer if fewer videos are in question.
            recall_k (`int`, defaults to 50): videos that either recall may name, at least `top_k`.
            mode (`str`, defaults to `"two-stage"`): one of the above.
            where (`str`, *optional*): only videos that pass, an SQL expression on the columns of the table, such as
                `"duration < 60 AND path LIKE '%/news/%'"`.

        Returns:
            `list[Hit]` for a string, `list[list[Hit]]` for a list.

        Raises:
            ValueError: an empty index or query, a number below 1, an unknown mode, or a filter that is no such
                expression.
        """
        if isinstance(queries, str):
            return self.search([queries], top_k, recall_k, mode, where)[0]
        for name, value in (("top_k", top_k), ("recall_k", recall_k)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}.")
        if where is not None:
            self.recall.check_filter(where)
        top_k, recall_k = min(top_k, self.recall.num_rows), min(recall_k, self.recall.num_rows)
        text_embeds = self._embed(queries)
        candidates = self._find_candidates(queries, text_embeds, top_k, recall_k, mode, where)
        return [
            self._rank(query, text_embeds[row : row + 1], candidates[row], top_k, mode)
            for row, query in enumerate(queries)
        ]

    def score(self, queries: Sequence[str]) -> IndexScores:
        """Scores every query with every video, in the order of the table.

        Raises:
            ValueError: an empty index or query.
        """
        text_embeds = self._embed(queries)
        blocks = [self._score_rows(queries, text_embeds, rows).scores for rows in self._read_blocks()]
        parts = {}
        for field in fields(IndexScores):
            columns = [getattr(block, field.name) for block in blocks]
            parts[field.name] = None if columns[0] is None else np.concatenate(columns, axis=1)
        return IndexScores(**parts)

    @torch.inference_mode()
    def _embed(self, queries: Sequence[str]) -> torch.Tensor:
        """`(num_queries, dim)` float32."""
        if isinstance(queries, str):
            raise TypeError("queries must be a list of strings, got one string: put it in a list.")
        if not queries:
            raise ValueError("queries is empty: give at least one.")
        if not self.recall.num_rows:
            raise ValueError("The index is empty: add videos before searching.")
        embeds = []
        for start in range(0, len(queries), QUERIES_PER_BATCH):
            inputs = self.processor(text=list(queries[start : start + QUERIES_PER_BATCH]), return_tensors="pt")
            embeds.append(self.model.get_text_features(**inputs.to(self.model.device)).pooler_output.float())
        return torch.cat(embeds)

    def _find_candidates(
        self,
        queries: Sequence[str],
        text_embeds: torch.Tensor,
        top_k: int,
        recall_k: int,
        mode: str,
        where: str | None,
    ) -> list[np.ndarray]:
        """Row ids per query: those that get a score of their own."""
        if mode == "full":
            return self._find_best(queries, text_embeds, top_k, where)
        count = max(top_k, recall_k)
        if mode == "lexical":
            return [self.recall.spelled_like(query, count, where) for query in queries]
        coarse_queries = self._coarse_queries(text_embeds)
        if mode == "coarse":
            return self.recall.nearest(coarse_queries, top_k, where)
        return self.recall.by_either(coarse_queries, queries, count, where)

    def _find_best(
        self, queries: Sequence[str], text_embeds: torch.Tensor, top_k: int, where: str | None
    ) -> list[np.ndarray]:
        """Row ids of each query's `top_k` best of all rows. No more than these are kept from block to block."""
        best = [(np.zeros(0, np.float32), np.zeros(0, np.uint64))] * len(queries)
        for rows in self._read_blocks(where):
            block_ids = rows["_rowid"].to_numpy()
            for row, block_scores in enumerate(self._score_rows(queries, text_embeds, rows).scores.score):
                scores, row_ids = np.append(best[row][0], block_scores), np.append(best[row][1], block_ids)
                places = largest(scores, top_k)
                best[row] = scores[places], row_ids[places]
        return [row_ids for _, row_ids in best]

    def _rank(self, query: str, text_embed: torch.Tensor, row_ids: np.ndarray, top_k: int, mode: str) -> list[Hit]:
        """Hits of one query among its candidates."""
        if not len(row_ids):
            return []
        columns = {*self._columns, COARSE_COLUMN} if mode == "coarse" else self._columns
        scored = self._score_rows([query], text_embed, self._take(row_ids, list(columns)))
        ranked_by = scored.scores.score[0]
        if mode == "lexical":
            ranked_by = scored.scores.lexical[0]
        elif mode == "coarse":
            # Row by row: a matrix product may round equal rows differently, and equal videos must tie.
            ranked_by = (scored.features.coarse_embeds.cpu().numpy() * self._coarse_queries(text_embed)).sum(axis=1)
        order = np.lexsort((self.recall.positions(row_ids), -ranked_by))[:top_k]
        if mode == "lexical":
            order = order[ranked_by[order] > 0]
        if not len(order):
            return []
        shown = self._take(row_ids[order], ["path", "captions"])
        hits = []
        for rank, (place, window) in enumerate(zip(order, self._best_windows(text_embed, scored, order), strict=True)):
            caption = WindowCaption.from_dict(shown["captions"][rank][window].as_py())
            path, score = shown["path"][rank].as_py(), float(ranked_by[place])
            hits.append(make_hit(query, path, score, scored.scores, place, caption))
        return hits

    @torch.inference_mode()
    def _score_rows(self, queries: Sequence[str], text_embeds: torch.Tensor, rows: pa.Table) -> ScoredRows:
        features = features_from(rows, self.metadata, self.model.device)
        terms = VideoTerms.from_rows(rows)
        caption_scores = cosines(query_terms(queries), terms.captions, self.statistics)
        lexical = terms.best(caption_scores)
        parts = {name: part.cpu().numpy() for name, part in self.model.score(text_embeds, features).items()}
        model = parts.pop("similarity")
        scores = IndexScores(fuse_scores(model, lexical, self.lexical_weight), model, lexical, **parts)
        return ScoredRows(features, terms, caption_scores, scores)

    @torch.inference_mode()
    def _coarse_queries(self, text_embeds: torch.Tensor) -> np.ndarray:
        return self.model.get_coarse_queries(text_embeds).float().cpu().numpy()

    def _read_blocks(self, where: str | None = None) -> Iterator[pa.Table]:
        """All rows, or those a filter lets through, in the order of the table."""
        query = self.table.search().select([*self._columns, "_rowid"])
        if where is not None:
            query = query.where(where)
        for batch in query.to_batches(VIDEOS_PER_BLOCK):
            if len(batch):
                yield pa.Table.from_batches([batch])

    def _take(self, row_ids: np.ndarray, columns: list[str]) -> pa.Table:
        """Rows in the order asked for."""
        rows = self.table.take_row_ids(row_ids.tolist()).select(columns).with_row_id().to_arrow()
        found = rows["_rowid"].to_numpy()
        if np.array_equal(found, row_ids):
            return rows
        in_order = np.argsort(found)
        return rows.take(in_order[np.searchsorted(found, row_ids, sorter=in_order)])

    def _best_windows(self, text_embed: torch.Tensor, scored: ScoredRows, places: np.ndarray) -> list[int]:
        """Of each of the videos at these places, the window that matches best."""
        features = scored.features

        def cosines_with(embeds: torch.Tensor) -> np.ndarray:
            return torch.cosine_similarity(embeds[places], text_embed, dim=-1).cpu().numpy()

        frame_cosines, lexical = cosines_with(features.fused_frame_embeds), scored.caption_scores[0]
        ocr_cosines = has_text = [None] * len(places)
        if features.ocr_mask is not None:
            ocr_cosines, has_text = cosines_with(features.fused_ocr_embeds), features.ocr_mask[places].cpu().numpy()
        window_scores = [
            score_windows(*cosines, mask, lexical[scored.terms.windows[place]], self.lexical_weight)
            for *cosines, mask, place in zip(frame_cosines, ocr_cosines, has_text, places, strict=True)
        ]
        return [int(scores.argmax()) for scores in window_scores]


def make_hit(query: str, path: str, score: float, scores: IndexScores, place: int, window: WindowCaption) -> Hit:
    """The hit at a place of one query's scores, with the evidence of its best window."""
    evidence = matching_texts(query, [track.text for track in window.tracks])

    def part(values: np.ndarray | None) -> float | None:
        return None if values is None else float(values[0, place])

    return Hit(
        path=path,
        score=score,
        text_video=part(scores.text_video),
        text_ocr=part(scores.text_ocr),
        text_hybrid=part(scores.text_hybrid),
        lexical=part(scores.lexical),
        start=window.start,
        end=window.end,
        evidence=evidence,
        boxes=evidence_boxes(evidence, window.tracks),
    )
