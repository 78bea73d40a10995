"""Forms that a search score may have, and how each is fitted and judged on generated collections."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.optimize import minimize

from scripts.search_calibration.material import FITTED, KINDS, Collection
from tcd_hf.choices import WEAK_BELOW
from tcd_hf.index.fusing import Fusion

__all__ = ["ALL", "FORMS", "fit_logistic", "folded_shares", "judge", "meaning_line", "shown_scores"]

PAPER = ("text_video", "text_ocr", "text_hybrid", "lexical")
ALL = ("text_video", "text_ocr", "text_hybrid", "text_window", "lexical")
RIDGE = 1e-4  # on the coefficients, so that a part that says nothing gets none
SHOWN = 10  # hits of a query
LEAST_ABOVE = 3  # queries by meaning whose nearest caption must lie above the line
Scorer = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def fit_logistic(
    collections: Sequence[Collection], names: Sequence[str], standardised: bool = False
) -> dict[str, float]:
    """Coefficients, 0 or more, and bias of the probability that a video answers a query.

    The coefficients are those that make the right video of each query likeliest among the videos of its collection (a
    conditional logit); bias and one factor for all then those that make every pair of a query and a video, with an
    answer in the collection or without, as likely as it is. In both each kind of query that is fitted on has the same
    weight. To fit all at once, pair by pair, gave queries by meaning less, and numbers that were less reliable.
    """
    chosen = [_only(each, FITTED) for each in collections]
    columns = [_columns(each.parts, names, standardised) for each in chosen]
    answered = [each.right.any(axis=1) for each in chosen]
    weights = _weights([each.kinds[rows] for each, rows in zip(chosen, answered, strict=True)])
    rows = [
        (values[own], each.right[own], weight)
        for values, each, own, weight in zip(columns, chosen, answered, weights, strict=True)
    ]
    bounds = [(0, None)] * len(names)
    found = minimize(_choice_loss, np.ones(len(names)), tuple(rows), "L-BFGS-B", jac=True, bounds=bounds)
    coefficients = found.x
    scores = np.concatenate([(values @ coefficients).ravel() for values in columns])
    right = np.concatenate([each.right.ravel() for each in chosen])
    pairs = [np.repeat(each.kinds, each.right.shape[1]) for each in chosen]
    of_pairs = (scores, right, np.concatenate(_weights(pairs)))
    bias, factor = minimize(_pair_loss, np.array([-4.0, 1.0]), of_pairs, "L-BFGS-B", jac=True).x
    return {"bias": float(bias), **dict(zip(names, map(float, factor * coefficients), strict=True))}


def _weights(kinds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of what is of these kinds, in several arrays: each kind has the same sum, all together 1."""
    _, numbers, counts = np.unique(np.concatenate(kinds), return_inverse=True, return_counts=True)
    return np.split(1 / (counts[numbers] * len(counts)), np.cumsum([len(own) for own in kinds])[:-1])


def _choice_loss(coefficients: np.ndarray, *rows: tuple) -> tuple[float, np.ndarray]:
    """Minus the log-probability that the right videos are chosen of their collections, and its gradient. The arguments
    are, of each collection, the parts `(num_queries, num_videos, num_parts)`, what is right, and weights of queries."""
    total, gradient = RIDGE * (coefficients**2).sum(), 2 * RIDGE * coefficients
    for values, right, weights in rows:
        scores = values @ coefficients
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        of_right = (shares * right).sum(axis=1).clip(1e-300)
        total -= (weights * np.log(of_right)).sum()
        gradient += np.einsum("q,qv,qvp->p", weights, shares - shares * right / of_right[:, None], values)
    return total, gradient


def _pair_loss(
    line: np.ndarray, scores: np.ndarray, right: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Minus the log-likelihood of pairs under bias and factor, of which the right ones sum to 1, and its gradient."""
    signs = np.where(right, 1.0, -1.0)
    margins = signs * (line[0] + line[1] * scores)
    slopes = -weights * signs / (1 + np.exp(np.clip(margins, -700, 700)))
    scale = max(weights[right].sum(), 1e-300)
    gradient = np.array([slopes.sum(), (slopes * scores).sum()]) / scale
    return (weights * np.logaddexp(0, -margins)).sum() / scale, gradient


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


def judge(collections: Sequence[Collection], score: Scorer) -> dict[str, tuple[float, ...]]:
    """R@1, R@5 and R@10 by kind of query, over all collections, of the queries that have an answer there."""
    ranks: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for each in collections:
        answered = each.right.any(axis=1)
        scores, right = score(each.parts)[answered], each.right[answered]
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        # of equal ones half stand before it
        rank = (~right & (scores > best)).sum(axis=1) + (~right & (scores == best)).sum(axis=1) / 2
        for kind in KINDS:
            ranks[kind].append(rank[each.kinds[answered] == kind])
    return {
        kind: tuple(float((np.concatenate(own) < k).mean()) if sum(map(len, own)) else np.nan for k in (1, 5, 10))
        for kind, own in ranks.items()
    }


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


def folded_shares(collections: Sequence[Collection], score: Scorer) -> dict[str, float]:
    """By kind of query: of the right videos that are shown first, the share that is folded as a weak match."""
    folded: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for each in collections:
        scores = score(each.parts)
        best = scores.argmax(axis=1)
        rows = np.arange(len(best))
        right = each.right[rows, best]
        for kind in KINDS:
            folded[kind].append(scores[rows, best][right & (each.kinds == kind)] < WEAK_BELOW)
    return {kind: float(np.concatenate(own).mean()) if sum(map(len, own)) else np.nan for kind, own in folded.items()}


def _mean_of_paper(collections: Sequence[Collection]) -> Scorer:
    return lambda parts: Fusion().score(parts, parts["lexical"])


def _learned_weight(collections: Sequence[Collection]) -> Scorer:
    """The paper's mean, and the weight of the lexical score that puts most queries of all kinds first."""

    def scorer(weight: float) -> Scorer:
        return lambda parts: Fusion(lexical_weight=weight).score(parts, parts["lexical"])

    def firsts(weight: float) -> float:
        recall = judge(collections, scorer(weight))
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
