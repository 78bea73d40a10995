"""The rows of an index: read, made sure of, and scored by texts."""

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.index.damage import RowsDamagedError
from tcd_hf.index.fusing import Fusion, nearest_window
from tcd_hf.index.lexical import LexicalStatistics, SegmentTexts
from tcd_hf.index.query_syntax import allowed_windows
from tcd_hf.index.schema import (
    COARSE_COLUMN,
    FEATURES_COLUMN,
    VERIFIED_COLUMNS,
    IndexMetadata,
    are_whole,
    features_from,
)
from tcd_hf.index.scored_rows import OUT_OF_RANGE, IndexScores, ScoredRows, Search
from tcd_hf.modeling.factorized_scoring import ClueAttention, clue_attention
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.modeling.scoring import full_precision, make_scorer, pair_scores

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["StoredRows"]

ROWS_PER_BLOCK = 512  # whose features are in memory at once while all are scored


class StoredRows:
    """The rows of a table of segments, for one model.

    Args:
        model (`TCDModel`): scores segments, in eval mode, on the device it is on.
        table (`lancedb.table.Table`): segments of videos, which stays at its version.
        metadata ([`IndexMetadata`]): what the table's columns hold.
        statistics ([`LexicalStatistics`]): of the texts in the table.
        fusion ([`Fusion`]): makes the search score.

    Attributes:
        columns (`list[str]`): those that scores are computed from.
    """

    def __init__(
        self,
        model: TCDModel,
        table: "Table",
        metadata: IndexMetadata,
        statistics: LexicalStatistics,
        fusion: Fusion,
    ):
        self.model = model
        self.table = table
        self.metadata = metadata
        self.statistics = statistics
        self.fusion = fusion
        self.columns = [FEATURES_COLUMN, "texts"]
        if model.config.interaction == "tib":  # of whose score the coarse one is a part
            self.columns.append(COARSE_COLUMN)
        self._verified: set[int] = set()  # ids of rows that were found to be what was written

    def counting(self, statistics: LexicalStatistics) -> "StoredRows":
        """These rows, scored by other statistics."""
        other = copy.copy(self)
        other.statistics = statistics
        return other

    def take(self, row_ids: np.ndarray, columns: list[str]) -> pa.Table:
        """Rows in the order asked for."""
        rows = self.table.take_row_ids(row_ids.tolist()).select(columns).with_row_id().to_arrow()
        found = rows["_rowid"].to_numpy()
        if np.array_equal(found, row_ids):
            return rows
        in_order = np.argsort(found)
        return rows.take(in_order[np.searchsorted(found, row_ids, sorter=in_order)])

    def blocks(self, where: str | None = None) -> Iterator[pa.Table]:
        """All rows, or those a filter lets through, in the order of the table."""
        query = self.table.search().select([*self.columns, "start", "end", "_rowid"])
        if where is not None:
            query = query.where(where)
        for batch in query.to_batches(ROWS_PER_BLOCK):
            if len(batch):
                yield pa.Table.from_batches([batch])

    def verify(self, row_ids: np.ndarray, rows: pa.Table | None = None) -> None:
        """Makes sure that rows that are to be shown are what was written. Each is looked at once.

        Args:
            row_ids (`np.ndarray` of shape `(num_rows,)`)
            rows (`pa.Table`, *optional*): these rows, with the columns `VERIFIED_COLUMNS`, if they are there already.

        Raises:
            RowsDamagedError: some are not; it names their videos.
        """
        places = [place for place, row in enumerate(row_ids.tolist()) if row not in self._verified]
        if not places:
            return
        unknown = row_ids[places]
        asked = self.take(unknown, list(VERIFIED_COLUMNS)) if rows is None else rows.take(places)
        whole = are_whole(asked)
        if not all(whole):
            paths = zip(asked["path"].to_pylist(), whole, strict=True)
            raise RowsDamagedError(sorted({path for path, is_whole in paths if not is_whole}))
        self._verified.update(unknown.tolist())

    @torch.inference_mode()
    def score(
        self, texts: Sequence[str], text_embeds: torch.Tensor, rows: pa.Table, search: Search | None = None
    ) -> ScoredRows:
        """Scores texts with rows.

        Args:
            texts (`Sequence[str]`), text_embeds (`torch.Tensor`): what to look for.
            rows (`pa.Table`): with the columns for scoring, and `start` and `end` if times are asked for.
            search ([`Search`], *optional*): whose alternatives the texts are: which windows it lets be moments.
        """
        features = features_from(rows, self.metadata, self.model.device)
        with full_precision(self.model.device):
            scorer = make_scorer(self.model, text_embeds, features, clues=self._clues)
            parts = dict(pair_scores(scorer, features))
            if self.fusion.needs_nearest_window and self.model.config.reads_ocr:
                parts["text_window"] = nearest_window(text_embeds, features)
        segments = SegmentTexts.from_column(rows["texts"])
        windows = [segments.scores(text, self.statistics) for text in texts]
        if search is not None and search.restricts_windows:
            windows = self._restrict(windows, segments, rows, search)
        lexical = np.array([[scores.max() for scores in row] for row in windows], np.float32).reshape(len(texts), -1)
        lexical[lexical < 0] = -np.inf
        known = {name: part.cpu().numpy() for name, part in parts.items()}
        fused = np.where(np.isfinite(lexical), self.fusion.score(known, lexical), -np.inf)
        scores = IndexScores(score=fused, lexical=lexical, **known)
        return ScoredRows(features, segments, windows, scores)

    def _restrict(
        self, windows: list[list[np.ndarray]], segments: SegmentTexts, rows: pa.Table, search: Search
    ) -> list[list[np.ndarray]]:
        """The lexical scores of windows, less for those that cannot be moments of a search, see [`ScoredRows`]."""
        restricted: list[list[np.ndarray]] = [[] for _ in windows]
        times = zip(rows["start"].to_pylist(), rows["end"].to_pylist(), strict=True) if search.between else None
        for row in range(len(segments)):
            allowed = allowed_windows(search.query, segments.windows(row))
            in_range = (
                times is None or search.between is None or _overlapping(*next(times), allowed.shape[1], search.between)
            )
            for place, mask in enumerate(allowed):
                scores = np.where(in_range, windows[place][row], np.float32(OUT_OF_RANGE))
                restricted[place].append(np.where(mask, scores, np.float32(-np.inf)))
        return restricted

    @cached_property
    @torch.inference_mode()
    def _clues(self) -> tuple[ClueAttention, ClueAttention] | None:
        """What scoring needs of the model's weights, which stay as they are."""
        return clue_attention(self.model)

    @torch.inference_mode()
    def coarse_queries(self, text_embeds: torch.Tensor) -> np.ndarray:
        """The coarse vectors of texts, `(num_texts, dim)` float32."""
        return self.model.get_coarse_queries(text_embeds).float().cpu().numpy()


def _overlapping(start: float, end: float, num_windows: int, between: tuple[float, float]) -> np.ndarray:
    """Which of the windows of a segment are, in part, between two times."""
    borders = np.linspace(start, end, num_windows + 1)
    return (borders[:-1] <= between[1]) & (between[0] <= borders[1:])
