"""Which of the texts that were read speak for a query that was typed: those a search would give as evidence."""

from collections.abc import Sequence

from tcd_hf.index.hits import EvidenceFinder
from tcd_hf.index.lexical import fold
from tcd_hf.index.query_syntax import allowed_windows, parse_query

__all__ = ["matching_in_windows"]


def matching_in_windows(query: str, windows: Sequence[Sequence[str]]) -> list[list[str]]:
    """For each window all texts that speak for a query, best first; none for a window that the query rules out.

    Args:
        query (`str`): as typed, with quotes, exclusions and `OR`. For one that cannot be searched for, no text speaks.
        windows (`Sequence[Sequence[str]]`): the texts that are seen together.
    """
    try:
        parsed = parse_query(query, "query")
    except ValueError:  # told where one searches
        return [[] for _ in windows]
    find = EvidenceFinder(parsed.text, parsed.phrases)
    if parsed.is_plain:
        return [find(window, None) for window in windows]
    folded = {text: fold(text) for window in windows for text in window}
    allowed = allowed_windows(parsed, [[folded[text] for text in window if folded[text]] for window in windows])
    return [find(window, None) if may else [] for window, may in zip(windows, allowed.any(axis=0), strict=True)]
