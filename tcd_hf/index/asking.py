"""Queries made ready for a search: checked, read and embedded, once for however many indexes they are put to."""

import math
from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch

from tcd_hf.choices import QuerySyntax, SearchMode
from tcd_hf.index.conditions import check_condition
from tcd_hf.index.moments import clip_moments
from tcd_hf.index.ordered import check_within
from tcd_hf.index.ordered_search import ORDERED_MODES
from tcd_hf.index.query_syntax import Query, parse_query, sql_filter_for
from tcd_hf.index.scored_rows import Search
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["Asked", "Asker", "check_queries"]

QUERIES_PER_BATCH = 64


class Asked(NamedTuple):
    """Queries made ready.

    Attributes:
        searches (`list[list[Search]]`): for each query those of its parts: one, or those of `first >> then`.
        within (`float`), where (`str`, *optional*): as of [`OrderedSearch`].
    """

    searches: list[list[Search]]
    within: float
    where: str | None


class Asker:
    """Makes queries ready.

    Args:
        model ([`TCDModel`]): embeds them, in eval mode, on the device it is on.
        processor ([`TCDProcessor`]): makes its inputs from them.
    """

    def __init__(self, model: TCDModel, processor: TCDProcessor):
        self.model, self.processor = model, processor

    def prepare(
        self,
        queries: Sequence[str],
        top_k: int,
        recall_k: int,
        mode: SearchMode,
        where: str | None,
        moments: int,
        between: tuple[float, float] | None,
        syntax: QuerySyntax,
        within: float,
    ) -> Asked:
        """Checks what is asked, and makes it ready. Arguments and errors are those of [`~Retriever.search`]."""
        for name, value, least in (("top_k", top_k, 1), ("recall_k", recall_k, 1), ("moments", moments, 0)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        if mode not in get_args(SearchMode):
            raise ValueError(f"mode must be one of {', '.join(map(repr, get_args(SearchMode)))}, got {mode!r}.")
        if where is not None:
            where = check_condition(where)
        if between is not None:
            clip_moments([], between)  # refuses what is no range
        check_within(within)
        check_queries(queries)
        parsed = [parse_query(query, syntax) for query in queries]
        if mode not in ORDERED_MODES and any(query.then for query in parsed):
            modes = " or ".join(map(repr, ORDERED_MODES))
            raise ValueError(f"'>>' compares moments, which mode {mode!r} does not score: use {modes}.")
        base = _all_of(where, _overlap_filter(between))
        made = iter(self.searches(parsed, base, top_k, recall_k, moments, mode, between))
        return Asked([[next(made) for _ in query.parts] for query in parsed], within, base)

    def searches(
        self,
        queries: Sequence[Query],
        where: str | None,
        top_k: int,
        recall_k: int,
        moments: int,
        mode: SearchMode,
        between: tuple[float, float] | None,
    ) -> list[Search]:
        """The searches of all parts of all queries, one after the other; `where` is what every row must pass."""
        parts = [part for query in queries for part in query.parts]
        embeds = self.embed([alternative.text for part in parts for alternative in part.alternatives])
        searches, start = [], 0
        for part in parts:
            own = embeds[start : (start := start + len(part.alternatives))]
            needed = _all_of(where, sql_filter_for(part))
            searches.append(Search(part, own, top_k, recall_k, moments, mode, between, needed))
        return searches

    @torch.inference_mode()
    def embed(self, queries: Sequence[str]) -> torch.Tensor:
        """`(num_queries, dim)` float32."""
        check_queries(queries)
        embeds = []
        for start in range(0, len(queries), QUERIES_PER_BATCH):
            inputs = self.processor(text=list(queries[start : start + QUERIES_PER_BATCH]), return_tensors="pt")
            embeds.append(self.model.get_text_features(**inputs.to(self.model.device)).pooler_output.float())
        return torch.cat(embeds)


def check_queries(queries: Sequence[str]) -> None:
    """Refuses a single string, and none."""
    if isinstance(queries, str):
        raise TypeError("queries must be a list of strings, got one string: put it in a list.")
    if not queries:
        raise ValueError("queries is empty: give at least one.")


def _overlap_filter(between: tuple[float, float] | None) -> str | None:
    if between is None:
        return None
    conditions = (('"start" <=', between[1]), ('"end" >=', between[0]))
    return _all_of(*(f"{condition} {time:.6f}" for condition, time in conditions if math.isfinite(time)))


def _all_of(*conditions: str | None) -> str | None:
    """Conditions in SQL that must all hold."""
    return " AND ".join(f"({condition})" for condition in conditions if condition) or None
