"""Which of the texts that were read speak for a query that was typed: those a search would give as evidence."""

from collections.abc import Sequence
from itertools import chain

from tcd_hf.index.hits import EvidenceFinder
from tcd_hf.index.lexical import fold
from tcd_hf.index.query_syntax import Query, allowed_windows, parse_query
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["matching_in_windows", "parts_of"]


def matching_in_windows(query: str, captions: Sequence[WindowCaption]) -> list[list[str]]:
    """For each window all texts that speak for a query, best first; none for a window that the query rules out.

    Args:
        query (`str`): as typed, with quotes, exclusions, `OR` and `>>`, of which every part may be spoken for. For one
            that cannot be searched for, no text speaks.
        captions (`Sequence[WindowCaption]`): of the windows.
    """
    found = [_matching(part, captions) for part in parts_of(query)]
    return [list(dict.fromkeys(chain(*texts))) for texts in zip(*found, strict=True)] or [[] for _ in captions]


def parts_of(query: str) -> tuple[Query, ...]:
    """What a query as typed looks for, one after the other; nothing where it cannot be searched for."""
    try:
        return parse_query(query, "query").parts
    except ValueError:  # told where one searches
        return ()


def _matching(query: Query, captions: Sequence[WindowCaption]) -> list[list[str]]:
    find = EvidenceFinder(query.text, query.phrases)
    texts = [[track.text for track in caption.tracks] for caption in captions]
    if query.is_plain:
        return [find(window, None) for window in texts]
    folded = {text: fold(text) for window in texts for text in window}
    allowed = allowed_windows(query, [[folded[text] for text in window if folded[text]] for window in texts])
    return [find(window, None) if may else [] for window, may in zip(texts, allowed.any(axis=0), strict=True)]
