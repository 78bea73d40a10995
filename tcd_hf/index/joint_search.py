"""A search in several indexes: each gives its best videos, by scores that compare, and the best of all are taken."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from tcd_hf.index.asking import Asker, check_queries
from tcd_hf.index.hits import Hit
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.moments import Moment
from tcd_hf.index.query_syntax import cut_query
from tcd_hf.index.retrieval import Retriever, best_of_videos
from tcd_hf.index.scored_rows import IndexScores

if TYPE_CHECKING:
    from tcd_hf.index.searching import SearchableIndex

__all__ = ["JointRetriever"]

Answer = TypeVar("Answer")


class JointRetriever:
    """Answers queries from several indexes as a [`Retriever`] does from one.

    Besides the query and the row, a score depends on nothing but how rare terms are. These are counted in all of the
    indexes together, so that a score is what it would be in one index of all videos. A video that several have is as
    good as the best that one of them has of it.

    Args:
        parts (`Sequence[SearchableIndex]`): the indexes, of the same model.
        statistics ([`LexicalStatistics`]): of the texts in all of them.

    Raises:
        ValueError: all are empty.
    """

    def __init__(self, parts: "Sequence[SearchableIndex]", statistics: LexicalStatistics):
        if not statistics.num_rows:
            raise ValueError("The indexes are empty: add videos before searching.")
        self._parts = parts
        self._statistics = statistics
        self._asker = Asker(parts[0].model.eval(), parts[0].processor)

    def search(self, queries: Any, top_k: int, *args: Any) -> Any:
        """The best videos of each query, best first; ties in the order of the indexes. See [`Retriever.search`]."""
        if isinstance(queries, str):
            return self.search([queries], top_k, *args)[0]
        asked = self._asker.prepare(queries, top_k, *args)
        best: list[list[Hit]] = [[] for _ in queries]
        for part in self._parts:
            # What is no better than all that was found before is not even looked at closely.
            above = [hits[-1].score if len(hits) == top_k else -np.inf for hits in best]
            found = self._ask(part, lambda retriever, above=above: retriever.answer(asked, above))
            best = [
                _best_hits([*hits, *(replace(hit, index=part.uri) for hit in more)], top_k)
                for hits, more in zip(best, found, strict=True)
            ]
        return best

    def moments(self, query: str, path: str, *args: Any) -> list[Moment]:
        """All moments of one video, see [`Retriever.moments`]; of the index that has the best one, if several have it.

        Raises:
            ValueError: an empty query, or none has such a video.
        """
        having = [part for part in self._parts if self._ask(part, lambda retriever: retriever.has(path))]
        if not having:
            raise ValueError(f"The indexes have no video {path!r}: see their `paths`.")
        found = [self._ask(part, lambda retriever: retriever.moments(query, path, *args)) for part in having]
        return max(found, key=lambda moments: max((moment.score for moment in moments), default=-np.inf))

    def score(self, queries: Sequence[str]) -> IndexScores:
        """Scores every query with every video, in the order of the `paths` of the indexes, each path once.

        Raises:
            ValueError: an empty query.
        """
        check_queries(queries)
        queries = [cut_query(query) for query in queries]
        embeds = self._asker.embed(queries)

        def ask(retriever: Retriever) -> tuple[list[str], IndexScores] | None:
            return _scores_of(retriever, queries, embeds)

        found = [answer for part in self._parts if (answer := self._ask(part, ask)) is not None]
        numbers: dict[str, int] = {}
        videos = [numbers.setdefault(path, len(numbers)) for paths, _ in found for path in paths]
        columns = {
            field.name: [getattr(scores, field.name) for _, scores in found]
            for field in fields(IndexScores)  # a part of the score is there for all or for none
        }
        parts: dict[str, Any] = {
            name: None if own[0] is None else np.concatenate(own, axis=1) for name, own in columns.items()
        }
        return best_of_videos(IndexScores(**parts), np.array(videos), len(numbers))

    def _ask(self, part: "SearchableIndex", ask: Callable[[Retriever], Answer]) -> Answer:
        """Asks one index, which counts terms as all do."""
        return part._with_retriever(lambda retriever: ask(retriever.counting(self._statistics)))


def _scores_of(
    retriever: Retriever, queries: Sequence[str], embeds: torch.Tensor
) -> tuple[list[str], IndexScores] | None:
    """The paths and the scores of the videos of one index; `None` if it is empty."""
    if not retriever.recall.num_rows:
        return None
    return retriever.recall.paths.to_pylist(), retriever.score(queries, embeds)


def _best_hits(hits: list[Hit], top_k: int) -> list[Hit]:
    """The best of hits, one of a path; of equal ones the first."""
    best: dict[str, Hit] = {}
    for hit in sorted(hits, key=lambda hit: -hit.score):
        best.setdefault(hit.path, hit)
    return list(best.values())[:top_k]
