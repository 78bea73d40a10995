"""Which of the texts that were read speak for a query that was typed: those a search would give as evidence."""

from collections.abc import Sequence

from tcd_hf.index.hits import EvidenceFinder
from tcd_hf.index.lexical import fold
from tcd_hf.index.query_syntax import allowed_windows, parse_query
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["TextMatcher"]


class TextMatcher:
    """Finds the texts of windows that speak for a query, best first. It remembers texts: make one for all windows.

    Args:
        query (`str`): as typed, with quotes, exclusions and `OR`. For one that cannot be searched for, none speaks.
    """

    def __init__(self, query: str):
        try:
            self._query = parse_query(query, "query")
        except ValueError:  # told where one searches
            self._query = None
        else:
            self._find = EvidenceFinder(self._query.text, self._query.phrases)

    def __call__(self, caption: WindowCaption) -> list[str]:
        """All matching texts of a window; none of one that the query excludes."""
        texts = [track.text for track in caption.tracks]
        if self._query is None or not texts:
            return []
        return self._find(texts, None) if self._allows(texts) else []

    def _allows(self, texts: Sequence[str]) -> bool:
        folded = [text for text in map(fold, texts) if text]
        return bool(allowed_windows(self._query, [folded]).any())
