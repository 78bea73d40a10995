"""Forms that a search score may have, and how each is fitted and judged on generated collections."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from scripts.search_calibration.material import FITTED, KINDS, Collection
from tcd_hf.index.fusing import Fusion

__all__ = ["ALL", "FORMS", "Judged", "fit_logistic", "judge", "meaning_line", "shown_scores"]

PAPER = ("text_video", "text_ocr", "text_hybrid", "lexical")
ALL = ("text_video", "text_ocr", "text_hybrid", "text_window", "lexical")
RIDGE = 1e-4  # on the coefficients, so that a part that says nothing gets none
SHOWN = 10  # hits of a query
LEAST_ABOVE = 3  # queries by meaning whose nearest caption must lie above the line
Scorer = Callable[[Mapping[str, np.ndarray]], np.ndarray]


class Judged(NamedTuple):
    """How a form ranks: `recall` by kind of query is its share of first places, `(R@1, R@5, R@10)`."""

    recall: dict[str, tuple[float, float, float]]


def fit_logistic(
    collections: Sequence[Collection], names: Sequence[str], standardised: bool = False
) -> dict[str, float]:
    """Coefficients, 0 or more, and bias of the probability that a video answers a query, by maximum likelihood.

    Every pair of a query and a video counts; each kind of query that is fitted on has the same weight.
    """
    columns, right, kinds = [], [], []
    for each in (_only(collection, FITTED) for collection in collections):
        columns.append(_columns(each.parts, names, standardised).reshape(-1, len(names)))
        right.append(each.right.ravel())
        kinds.append(np.repeat(each.kinds, each.right.shape[1]))
    values, answers, kind_of = np.concatenate(columns), np.concatenate(right), np.concatenate(kinds)
    _, numbers, counts = np.unique(kind_of, return_inverse=True, return_counts=True)
    weights = 1 / (counts[numbers] * len(counts))
    signs = np.where(answers, 1.0, -1.0)
    scale = max(weights[answers].sum(), 1e-9)  # so that the ridge means the same whatever the size

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (coefficients[0] + values @ coefficients[1:])
        slopes = -weights * signs / (1 + np.exp(np.clip(margins, -700, 700)))
        gradient = np.append(slopes.sum(), values.T @ slopes) / scale
        gradient[1:] += 2 * RIDGE * coefficients[1:]
        total = (weights * np.logaddexp(0, -margins)).sum() / scale + RIDGE * (coefficients[1:] ** 2).sum()
        return total, gradient

    start = np.append(-4.0, np.ones(len(names)))
    bounds = [(None, None), *[(0, None)] * len(names)]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 500}).x
    return {"bias": float(found[0]), **dict(zip(names, map(float, found[1:]), strict=True))}


def meaning_line(collections: Sequence[Collection]) -> float | None:
    """The cosine from which the video whose caption is nearest in meaning is right more often than not; `None` if there
    is none: the model does not know what texts mean."""
    pairs = []
    for each in collections:
        meant = each.kinds == "meaning"
        nearest, right = each.parts["text_window"][meant], each.right[meant]
        best = nearest.argmax(axis=1)
        rows = np.arange(len(best))
        pairs.append(np.stack([nearest[rows, best], right[rows, best]], axis=1))
    cosines, right = np.concatenate(pairs).T

    def loss(line: np.ndarray) -> float:
        return float(np.logaddexp(0, -np.where(right > 0, 1, -1) * (line[0] * cosines - line[1])).mean())

    slope, offset = minimize(loss, np.array([10.0, 4.0]), method="Nelder-Mead", options={"maxiter": 2000}).x
    line = float(offset / slope)
    return line if slope > 0 and (cosines >= line).sum() >= LEAST_ABOVE else None


def judge(collections: Sequence[Collection], score: Scorer) -> Judged:
    """Ranks the videos of all collections, for the queries that have an answer there."""
    ranks: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for each in collections:
        answered = each.right.any(axis=1)
        scores, right = score(each.parts)[answered], each.right[answered]
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        # of equal ones half stand before it
        rank = (~right & (scores > best)).sum(axis=1) + (~right & (scores == best)).sum(axis=1) / 2
        for kind in KINDS:
            ranks[kind].append(rank[each.kinds[answered] == kind])
    return Judged(
        {
            kind: tuple(float((np.concatenate(own) < k).mean()) if sum(map(len, own)) else np.nan for k in (1, 5, 10))
            for kind, own in ranks.items()
        }
    )


def shown_scores(collections: Sequence[Collection], score: Scorer) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the hits that queries show, with an answer or without, and whether each is right; of the kinds that are
    fitted on."""
    scores, right = [], []
    for each in (_only(collection, FITTED) for collection in collections):
        of_all = score(each.parts)
        shown = np.argsort(-of_all, axis=1, kind="stable")[:, :SHOWN]
        scores.append(np.take_along_axis(of_all, shown, axis=1).ravel())
        right.append(np.take_along_axis(each.right, shown, axis=1).ravel())
    return np.concatenate(scores), np.concatenate(right)


def _mean_of_paper(collections: Sequence[Collection]) -> Scorer:
    return lambda parts: Fusion().score(parts, parts["lexical"])


def _learned_weight(collections: Sequence[Collection]) -> Scorer:
    """The paper's mean, and the weight of the lexical score that puts most queries of all kinds first."""

    def scorer(weight: float) -> Scorer:
        return lambda parts: Fusion(lexical_weight=weight).score(parts, parts["lexical"])

    def firsts(weight: float) -> float:
        recall = judge(collections, scorer(weight)).recall
        return float(np.nanmean([recall[kind][0] for kind in FITTED]))

    return scorer(max(np.arange(21) / 20, key=firsts))


def _logistic(names: Sequence[str], standardised: bool = False) -> Callable[[Sequence[Collection]], Scorer]:
    def fit(collections: Sequence[Collection]) -> Scorer:
        found = fit_logistic(collections, names, standardised)
        coefficients = np.array([found[name] for name in names])
        return lambda parts: 1 / (1 + np.exp(-found["bias"] - _columns(parts, names, standardised) @ coefficients))

    return fit


def _alone(name: str) -> Callable[[Sequence[Collection]], Scorer]:
    return lambda collections: lambda parts: parts[name]


FORMS: dict[str, Callable[[Sequence[Collection]], Scorer]] = {
    **{f"{name} alone": _alone(name) for name in ALL},
    "the paper's mean and spelling, w = 0.5": _mean_of_paper,
    "the same, w fitted": _learned_weight,
    "four parts, standardised over the collection": _logistic(PAPER, standardised=True),
    "four parts, logistic": _logistic(PAPER),
    "five parts, standardised over the collection": _logistic(ALL, standardised=True),
    "five parts, logistic": _logistic(ALL),
}
"""By name, how a form is fitted: from collections to a scorer of parts."""


def _only(collection: Collection, kinds: Sequence[str]) -> Collection:
    """A collection with the queries of some kinds alone."""
    rows = np.isin(collection.kinds, kinds)
    parts = {name: part[rows] for name, part in collection.parts.items()}
    return Collection(parts, collection.right[rows], collection.kinds[rows])


def _columns(parts: Mapping[str, np.ndarray], names: Sequence[str], standardised: bool) -> np.ndarray:
    """The parts of one collection as `(num_queries, num_videos, num_parts)` float64."""
    columns = np.stack([parts[name] for name in names], axis=-1).astype(np.float64)
    if standardised:
        columns -= columns.mean(axis=1, keepdims=True)
        columns /= columns.std(axis=1, keepdims=True).clip(1e-6)
    return columns
