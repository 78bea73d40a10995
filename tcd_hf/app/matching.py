"""Which of the texts that were read speak for a query that was typed: those a search would give as evidence."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from tcd_hf.index.hits import EvidenceFinder
from tcd_hf.index.lexical import fold
from tcd_hf.index.query_syntax import Query, allowed_windows, parse_query

__all__ = ["matching_in_windows"]


def matching_in_windows(query: str, windows: Sequence[Sequence[str]]) -> list[list[str]]:
    """For each window all texts that speak for a query, best first; none for a window that the query rules out.

    Args:
        query (`str`): as typed, with quotes, exclusions, `OR` and `>>`, of which every part may be spoken for. For one
            that cannot be searched for, no text speaks.
        windows (`Sequence[Sequence[str]]`): the texts that are seen together.
    """
    try:
        parts = parse_query(query, "query").parts
    except ValueError:  # told where one searches
        return [[] for _ in windows]
    found = [_matching(part, windows) for part in parts]
    return [list(dict.fromkeys(chain(*texts))) for texts in zip(*found, strict=True)]


def _matching(query: Query, windows: Sequence[Sequence[str]]) -> list[list[str]]:
    find = EvidenceFinder(query.text, query.phrases)
    if query.is_plain:
        return [find(window, None) for window in windows]
    folded = {text: fold(text) for window in windows for text in window}
    allowed = allowed_windows(query, [[folded[text] for text in window if folded[text]] for window in windows])
    may_match: Any = allowed.any(axis=0)
    return [find(window, None) if may else [] for window, may in zip(windows, may_match, strict=True)]
