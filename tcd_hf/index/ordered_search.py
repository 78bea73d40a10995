"""Search for what follows on one another, `first >> then`: of each part the moments, of these the chains."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tcd_hf.choices import DEFAULT_WITHIN
from tcd_hf.index.fusing import Fusion
from tcd_hf.index.hits import EvidenceFinder, Hit
from tcd_hf.index.moments import Moment, clip_moments
from tcd_hf.index.ordered import find_chains, join_chain
from tcd_hf.index.schema import CAPTIONS_COLUMN
from tcd_hf.index.scored_rows import IndexScores, ScoredRows, Search, best_of_each, make_hit, moments_in, window_scores

if TYPE_CHECKING:
    from tcd_hf.index.retrieval import Retriever

__all__ = ["ORDERED_MODES", "OrderedSearch"]

ORDERED_MODES = ("two-stage", "full")
# Times `recall_k`: texts that stand in many videos are in order in few, so recall must go deeper than for one text.
# Names are cheap; of the rows named those are scored around which all parts are named.
NAMED_SHARE, SCORED_SHARE = 20, 10
WORTH_SHARE = 0.5  # of the best lexical score in a video; to read the captions of rows below it takes long
MAX_MOMENTS = 1000  # of a part in one video, its best: they are compared pair by pair
ROWS_AT_ONCE = 256  # of whole videos, whose captions are in memory


class OrderedSearch:
    """Answers one query in several parts.

    A hit is the best chain of moments of a video, see [`find_chains`], and is ranked by the mean of their scores, each
    of which is the search score of its window. A video without a chain is none. Where no text of a video speaks for a
    part, each of its windows is a moment: what is seen may follow, too. It is weak if one of its moments is, however
    well the others match; no texts are looked for that mean a part.

    - In mode `"full"` all segments are scored, and videos are looked at, best first by the mean of the best scores of
      each part, until no further one can be among the hits. Of a video moments are looked for in those segments alone
      whose lexical score is at least half of the best one's, as in other searches: nothing else is missed.
    - In mode `"two-stage"` each recall names `20 * recall_k` segments for each part. Of these, and of those that lie
      so near that they may hold what goes before or follows, up to `10 * recall_k` are scored and looked at in the same
      way; those first in whose reach all parts are named best. What lies outside of them is missed.

    Args:
        retriever (`Retriever`): recalls and scores rows.
        searches (`Sequence[Search]`): of the parts, in order.
        within (`float`, defaults to 60.0): see [`find_chains`].
        where (`str`, *optional*): what the rows of every part must pass.
    """

    def __init__(
        self,
        retriever: "Retriever",
        searches: Sequence[Search],
        within: float = DEFAULT_WITHIN,
        where: str | None = None,
    ):
        self.retriever, self.recall = retriever, retriever.recall
        self.searches = searches
        self.within = within
        self.where = where
        self._finders = [EvidenceFinder(search.query.text, search.query.phrases) for search in searches]
        self._columns = [*retriever.rows.columns, "start", "end"]

    def hits(self, above: float = -np.inf) -> list[Hit]:
        """The best videos, best first; ties in the order added. Those that do not exceed a score need not be looked
        for."""
        row_ids, scores = self._score_rows()
        top_k = self.searches[0].top_k
        videos, of_row = np.unique(self.recall.videos(row_ids), return_inverse=True)
        best = np.full((len(self.searches), len(videos)), -np.inf)
        for own, of_part in zip(best, scores, strict=True):
            np.maximum.at(own, of_row, of_part)
        bounds = best.mean(axis=0)  # no chain is better
        order = np.argsort(-bounds, kind="stable")[: np.isfinite(bounds).sum()]
        rows_of = np.split(row_ids[np.argsort(of_row, kind="stable")], np.cumsum(np.bincount(of_row))[:-1])
        hits: list[Hit] = []
        for group in _groups(order, [len(rows) for rows in rows_of]):
            if max(above, hits[top_k - 1].score if len(hits) >= top_k else -np.inf) >= bounds[group[0]]:
                break
            hits += self._hits_of([rows_of[video] for video in group])
            hits.sort(key=lambda hit: -hit.score)
        return hits[:top_k]

    def moments(self, rows: pa.Table) -> list[Moment]:
        """All chains of one video, best first, each as one moment.

        Args:
            rows (`pa.Table`): of the video, with captions, times and the columns for scoring.
        """
        chains = find_chains(self._moments_of_parts(rows, self._score(rows), np.arange(len(rows))), self.within)
        return [join_chain(chain) for chain in chains]

    def _score_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the candidates, and their scores for each part: `(num_rows,)` uint64, `(num_parts, num_rows)`."""
        row_ids, scores = [np.zeros(0, np.uint64)], [np.zeros((len(self.searches), 0), np.float32)]
        for rows in self._blocks():
            found = np.stack([scored.scores.score.max(axis=0) for scored in self._score(rows)])
            possible = np.isfinite(found).any(axis=0)
            row_ids.append(rows["_rowid"].to_numpy()[possible])
            scores.append(found[:, possible])
        return np.concatenate(row_ids), np.concatenate(scores, axis=1)

    def _blocks(self) -> Iterator[pa.Table]:
        """The rows that are candidates, with what they are scored by."""
        if self.searches[0].mode == "full":
            yield from self.retriever.rows.blocks(self.where)
        else:
            row_ids = self.recall_rows()
            for start in range(0, len(row_ids), ROWS_AT_ONCE):
                yield self.retriever.rows.take(row_ids[start : start + ROWS_AT_ONCE], self._columns)

    def _score(self, rows: pa.Table) -> list[ScoredRows]:
        """Scores rows for each part."""
        return [self.retriever.rows.score(search.texts, search.text_embeds, rows, search) for search in self.searches]

    def recall_rows(self) -> np.ndarray:
        """Ids of the rows to score in mode `"two-stage"`."""
        named = [self.candidates_of(search) for search in self.searches]
        if not all(any(map(len, lists)) for lists in named):
            return np.zeros(0, np.uint64)
        videos = self.recall.videos(np.concatenate([row_ids for lists in named for row_ids in lists]))
        row_ids = self.recall.rows_of(np.unique(videos), self.where)
        positions = self.recall.positions(row_ids)
        last = max(len(row_ids) for lists in named for row_ids in lists)  # the rank of a row that is not named
        ranks = np.full((len(named), len(row_ids)), last)
        for own, lists in zip(ranks, named, strict=True):
            for of_kind in lists:
                places = np.searchsorted(positions, self.recall.positions(of_kind))
                own[places] = np.minimum(own[places], np.arange(len(places)))
        reach = self.within * (len(named) - 1)
        nearby = least_nearby(ranks, self.recall.videos(row_ids), self.recall.times(row_ids), reach)
        # A row answers one of the parts, rows nearby the others.
        costs = nearby.sum(axis=0) + (ranks - nearby).min(axis=0)
        count = min(SCORED_SHARE * self._recall_k, (costs < len(named) * last).sum())
        return row_ids[np.sort(np.argsort(costs, kind="stable")[:count])]

    def candidates_of(self, search: Search) -> list[np.ndarray]:
        """Ids of rows that each recall names for a part, best first: a list for each kind and alternative."""
        count = min(NAMED_SHARE * self._recall_k, self.recall.num_rows)
        num_videos = min(search.top_k, len(self.recall.paths))
        coarse_queries = self.retriever.rows.coarse_queries(search.text_embeds)
        spelled = [self.recall.full_text(text, count, search.where, num_videos) for text in search.texts]
        text_embeds = search.text_embeds.cpu().numpy()
        return [
            *self.recall.nearest(coarse_queries, count, search.where, num_videos),
            *self.recall.nearest_captions(text_embeds, count, search.where, num_videos),
            *spelled,
        ]

    @property
    def _recall_k(self) -> int:
        return max(self.searches[0].top_k, self.searches[0].recall_k)

    def _hits_of(self, rows_of_videos: Sequence[np.ndarray]) -> list[Hit]:
        """The hits of some videos, given by the ids of their rows."""
        row_ids = np.concatenate(rows_of_videos)
        self.retriever.rows.verify(row_ids)
        rows = self.retriever.rows.take(row_ids, [*self._columns, CAPTIONS_COLUMN])
        times = self.recall.times(row_ids)
        scored = self._score(rows)
        hits, start = [], 0
        for own in rows_of_videos:
            places = np.arange(start, start := start + len(own))
            parts = self._moments_of_parts(rows, scored, places, WORTH_SHARE)
            chains = find_chains(parts, self.within, limit=1 + self.searches[0].moments)
            if chains:
                moments = [join_chain(chain) for chain in chains]
                scores = _mean_scores(chains[0], scored, places, times)
                path = self.recall.path(int(own[0]))
                is_weak = any(self.retriever.rows.fusion.is_weak(moment.score) for moment in chains[0])
                hits.append(make_hit(path, moments[0].score, scores, moments, is_weak))
        return hits

    def _moments_of_parts(
        self,
        rows: pa.Table,
        scored: Sequence[ScoredRows],
        places: np.ndarray,
        least_share: float = 0.0,
    ) -> Iterator[list[Moment]]:
        """For each part its best moments in one video, whose rows are at these places; in those rows alone whose
        lexical score is at least a share of that of the best."""
        fusion = self.retriever.rows.fusion
        for search, of_part, find_evidence in zip(self.searches, scored, self._finders, strict=True):
            lexical = of_part.scores.lexical[:, places].max(axis=0)
            possible = places[np.isfinite(lexical)]
            worth = places[lexical >= lexical.max() * least_share] if len(possible) else possible
            moments = moments_in(search, of_part, worth, rows, find_evidence, fusion) if len(worth) else []
            if len(possible) and not any(moment.evidence for moment in moments):
                moments = _windows(search, of_part, possible, rows, fusion)
            yield moments[:MAX_MOMENTS]


def _groups(order: np.ndarray, sizes: Sequence[int]) -> Iterator[list[int]]:
    """Videos in this order, so many together that they have at most `ROWS_AT_ONCE` rows, or one."""
    group: list[int] = []
    for video in order.tolist():
        if group and sum(sizes[other] for other in [*group, video]) > ROWS_AT_ONCE:
            yield group
            group = []
        group.append(video)
    if group:
        yield group


def least_nearby(values: np.ndarray, videos: np.ndarray, times: np.ndarray, reach: float) -> np.ndarray:
    """For each row the least value of the rows of its video that begin or end at most `reach` seconds from it.

    Args:
        values (`np.ndarray` of shape `(num_kinds, num_rows)`): of rows, for each of several kinds.
        videos (`np.ndarray` of shape `(num_rows,)`), times (`np.ndarray` of shape `(num_rows, 2)`): of the rows; those
            of one video do not overlap.
        reach (`float`): seconds.

    Returns:
        `np.ndarray` of shape `(num_kinds, num_rows)`.
    """
    order = np.lexsort((times[:, 0], videos))
    sorted_videos, (starts, ends) = videos[order], times[order].T
    begin_of_video = sorted_videos * (ends.max() + 1)  # so that one search finds places in all videos
    firsts, stops = (np.searchsorted(sorted_videos, sorted_videos, side) for side in ("left", "right"))
    lows = np.searchsorted(begin_of_video + ends, begin_of_video + starts - reach, "left").clip(firsts)
    highs = np.searchsorted(begin_of_video + starts, begin_of_video + ends + reach, "right").clip(max=stops)
    spans = np.stack([lows, highs], axis=1).ravel()
    least = np.empty_like(values)
    for own, of_kind in zip(least, values[:, order], strict=True):
        padded = np.append(of_kind, of_kind[-1:])  # as a span may not begin behind the last
        own[order] = np.minimum.reduceat(padded, spans)[::2]
    return least


def _windows(search: Search, scored: ScoredRows, places: np.ndarray, rows: pa.Table, fusion: Fusion) -> list[Moment]:
    """The windows of some rows as moments without evidence, best first."""
    texts, ranked_by = best_of_each(scored.scores.score)
    scores = window_scores(search, scored, places, texts, ranked_by, fusion)
    starts, ends = (rows[name].to_numpy()[places] for name in ("start", "end"))
    borders = np.linspace(starts, ends, scores.shape[1] + 1, axis=1)
    moments = [
        Moment(start, end, score)
        for start, end, score in zip(
            borders[:, :-1].ravel().tolist(), borders[:, 1:].ravel().tolist(), scores.ravel().tolist(), strict=True
        )
        if np.isfinite(score)
    ]
    if search.between is not None:
        moments = clip_moments(moments, search.between)
    return sorted(moments, key=lambda moment: -moment.score)


def _mean_scores(
    chain: Sequence[Moment], scored: Sequence[ScoredRows], places: np.ndarray, times: np.ndarray
) -> IndexScores:
    """The mean of the scores of the moments of a chain, each of the best segment that shows it; numbers."""
    of_moments = []
    for moment, of_part in zip(chain, scored, strict=True):
        texts, ranked_by = best_of_each(of_part.scores.score)
        shows = (times[places, 0] < moment.end) & (moment.start < times[places, 1])
        best = places[np.where(shows, ranked_by[places], -np.inf).argmax()]
        of_moments.append(of_part.scores.pick(texts[best], best))
    values = {field.name: [getattr(scores, field.name) for scores in of_moments] for field in fields(IndexScores)}
    means: dict[str, Any] = {name: None if own[0] is None else np.mean(own) for name, own in values.items()}
    return IndexScores(**means)
