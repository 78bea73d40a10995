"""Lexical scores of a gallery that is in memory, where no index is wanted."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tcd_hf.index.lexical import TEXT_SCHEMA, LexicalStatistics, SegmentTexts, text_columns
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["LexicalScorer"]


class LexicalScorer:
    """Scores queries against the window captions of a gallery by the spelling they share (ours).

    A video scores as its best window, see [`SegmentTexts`]: text shown together counts more than text scattered over
    the video, and a long video gains nothing from its length. Rare is what few videos show, however long they show it.

    Args:
        captions (`Sequence[Sequence[str | WindowCaption]]`):
            For each video its windows: captions with their tracks, or strings, each one text and `""` for a window
            without any. Videos may differ in their number of windows. A gallery that is empty or without any text is
            fine: everything scores 0.
    """

    def __init__(self, captions: Sequence[Sequence[str | WindowCaption]]):
        rows = [text_columns([as_caption(window) for window in video]) for video in captions]
        self._statistics = LexicalStatistics()
        self._statistics.add(pa.Table.from_pylist(rows, pa.schema(TEXT_SCHEMA)))
        self._texts = SegmentTexts([row["texts"] for row in rows])

    def score(self, queries: Sequence[str]) -> np.ndarray:
        """Scores every video for every query.

        Returns:
            `np.ndarray` of shape `(num_queries, num_videos)`, float32: score in [0, 1] of the best window.
        """
        scores = np.zeros((len(queries), len(self._texts)), np.float32)
        for row, query in enumerate(queries):
            scores[row] = [windows.max() for windows in self._texts.scores(query, self._statistics)]
        return scores


def as_caption(window: str | WindowCaption) -> WindowCaption:
    """A caption, or a string as one."""
    return WindowCaption(0.0, 0.0, window) if isinstance(window, str) else window
