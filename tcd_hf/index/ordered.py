"""Moments that follow on one another: what `first >> then` asks for, joined to moments of their own (ours)."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from tcd_hf.choices import DEFAULT_WITHIN
from tcd_hf.index.moments import Moment

__all__ = ["check_within", "find_chains", "join_chain"]


def check_within(within: float) -> None:
    """Refuses what is no time between two moments.

    Raises:
        ValueError: it is no number of seconds from 0 on; infinity is one.
    """
    if not within >= 0:  # not a number, too
        raise ValueError(f"within must be a number of seconds from 0 on, got {within}.")


def find_chains(
    parts: Iterable[Sequence[Moment]], within: float = DEFAULT_WITHIN, limit: int | None = None
) -> list[list[Moment]]:
    """Finds those moments of one video that follow on one another, a moment of each part, best first.

    A moment follows on another if it begins later, and at most `within` seconds after the end of the other: while that
    is still seen, too. Two that come up at once are in no order. A chain is as good as the mean of its moments; of
    equally good ones that is taken whose moments are nearest to each other. Each moment is of one chain at most for
    each part that it answers: a sign seen ten times before another makes one pair with it. Without any evidence the
    best chain is the only one, as the best moment is.

    Args:
        parts (`Iterable[Sequence[Moment]]`): for each part of an ordered query the moments that match it, in any order.
        within (`float`, defaults to 60.0): seconds; infinity asks for the order alone.
        limit (`int`, *optional*): most chains to find, at least 1. All, if not given.

    Returns:
        `list[list[Moment]]`: a moment of each part, in order, for each chain.
    """
    parts = [sorted(moments, key=lambda moment: moment.start) for moments in parts]
    if not all(parts):
        return []
    scores = [np.array([moment.score for moment in moments], float) for moments in parts]
    follows = [_follows(moments, others, within) for moments, others in pairwise(parts)]
    chains: list[list[Moment]] = []
    while limit is None or len(chains) < limit:
        positions = _best_chain(scores, follows)
        if positions is None:
            break
        chain = [moments[position] for moments, position in zip(parts, positions, strict=True)]
        if chains and not any(moment.evidence for moment in chain):
            break
        chains.append(chain)
        for own, position in zip(scores, positions, strict=True):
            own[position] = -np.inf
    return chains


def join_chain(chain: Sequence[Moment]) -> Moment:
    """The moment that a chain is: from the begin of its first to where the last of them is gone, as good as their mean,
    with the evidence and the boxes of all, one after the other."""
    return Moment(
        start=chain[0].start,
        end=max(moment.end for moment in chain),  # the first may be seen for longer than what follows on it
        score=math.fsum(moment.score for moment in chain) / len(chain),
        evidence=[text for moment in chain for text in moment.evidence],
        boxes=[box for moment in chain for box in moment.boxes],
    )


def _follows(moments: Sequence[Moment], others: Sequence[Moment], within: float) -> np.ndarray:
    """Which of the others follow on which moments: `(num_moments, num_others)` bool."""
    starts, ends = (np.array([[getattr(moment, name)] for moment in moments]) for name in ("start", "end"))
    other_starts = np.array([moment.start for moment in others])
    return (starts < other_starts) & (other_starts <= ends + within)


def _best_chain(scores: Sequence[np.ndarray], follows: Sequence[np.ndarray]) -> list[int] | None:
    """The positions of the moments of the best chain, one for each part; `None` if there is no chain left.

    Args:
        scores (`Sequence[np.ndarray]`, each of shape `(num_moments,)`): of the moments of each part in the order of
            time, `-inf` for those that are taken.
        follows (`Sequence[np.ndarray]`): for each part but the last, see [`_follows`].
    """
    totals, origins = scores[0], []
    for own, may_follow in zip(scores[1:], follows, strict=True):
        before = np.where(may_follow, totals[:, None], -np.inf)
        best = len(before) - 1 - before[::-1].argmax(axis=0)  # of equal ones the last, which is nearest
        origins.append(best)
        totals = own + before[best, np.arange(len(own))]
    positions = [int(totals.argmax())]
    if not np.isfinite(totals[positions[0]]):
        return None
    for best in reversed(origins):
        positions.append(int(best[positions[-1]]))
    return positions[::-1]
