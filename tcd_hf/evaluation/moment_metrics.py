"""Metrics of moments: how well the times that were found for a query in a video fit the true ones."""

from collections.abc import Sequence

import numpy as np

__all__ = ["compute_moment_metrics", "temporal_iou"]

RECALL_CUTOFFS = (1, 5)
RECALL_OVERLAPS = (0.3, 0.5, 0.7)
PRECISION_OVERLAPS = tuple(percent / 100 for percent in range(50, 100, 5))
SHOWN_OVERLAPS = (0.5, 0.75)  # of those, besides their mean
MAX_PREDICTIONS = 10  # of a query, that average precision looks at

Windows = Sequence[Sequence[float]] | np.ndarray


def compute_moment_metrics(predictions: Sequence[Windows], references: Sequence[Windows]) -> dict[str, float]:
    """Metrics of moment retrieval: for each query, moments of its own video, ranked, against the true ones.

    Two moments overlap by the length of what they share over the length of what either covers (IoU, in [0, 1]).

    - `R@k@t` is the share of queries of which one of the first k predictions overlaps a true moment by at least t.
    - `mAP@t` is the mean over queries of the average precision of the first 10 predictions. From the best one on, each
      is right if it overlaps a true moment by at least t that none before it was right about; of several it takes the
      one it overlaps most, of equals the one listed last. The precision at each right prediction is the best at it or
      further down the list, and a true moment that is never found counts 0.
    - `mAP` is the mean of `mAP@t` over t = .5, .55, ..., .95.

    Numbers are shares in [0, 1], not per cent. A query without predictions has found nothing: it counts 0. (Source:
    R@k at IoU t as in "TALL: Temporal Activity Localization via Language Query", ICCV 2017, section 5.2, with the best
    of several true moments, and mAP, as in the published evaluation of QVHighlights, "Detecting Moments and Highlights
    in Videos via Natural Language Queries", NeurIPS 2021; its average precision is that of ActivityNet's detection
    task.)

    Args:
        predictions (`Sequence`): for each query its moments, the best first: `(start, end)` or `(start, end, score)` in
            seconds, or an array of shape `(num_moments, 2)` or `(num_moments, 3)`. Scores say nothing that the order
            does not say; they are there to be checked. A moment of no length overlaps nothing.
        references (`Sequence`): for each query its true moments, at least one: `(start, end)` in seconds, in any order,
            or an array of shape `(num_moments, 2)`.

    Returns:
        `dict[str, float]`: `R@1@0.3`, `R@1@0.5`, `R@1@0.7`, `R@5@0.3`, `R@5@0.5`, `R@5@0.7`, `mAP@0.5`, `mAP@0.75`,
        `mAP`.

    Raises:
        ValueError: no queries, another number of references; a query without a true moment, or with one that has no
            length; a time that is no finite number, an end before its start, or a score higher than the one before it.

    Example:

    ```python
    >>> metrics = compute_moment_metrics([[(0, 4), (9, 14)]], [[(10, 14)]])
    >>> metrics["R@1@0.5"], metrics["R@5@0.7"], metrics["mAP@0.75"]
    (0.0, 1.0, 0.5)
    ```"""
    if len(predictions) != len(references) or not len(references):
        raise ValueError(
            f"predictions and references must have an entry for each query, and at least one; got {len(predictions)} "
            f"predictions, {len(references)} references. A query for which nothing was found has an empty list."
        )
    overlaps = [
        temporal_iou(_check_ranked(f"predictions[{query}]", found), _check_true(f"references[{query}]", true))
        for query, (found, true) in enumerate(zip(predictions, references, strict=True))
    ]
    recalls = {
        f"R@{k}@{overlap}": float(np.mean([(each[:k] >= overlap).any() for each in overlaps]))
        for k in RECALL_CUTOFFS
        for overlap in RECALL_OVERLAPS
    }
    precisions = np.mean([_average_precisions(each[:MAX_PREDICTIONS]) for each in overlaps], axis=0)
    shown = {f"mAP@{overlap}": float(precisions[PRECISION_OVERLAPS.index(overlap)]) for overlap in SHOWN_OVERLAPS}
    return {**recalls, **shown, "mAP": float(precisions.mean())}


def temporal_iou(windows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How much each window overlaps each of the others: what they share over what either covers, in seconds.

    Args:
        windows (`np.ndarray` of shape `(num_windows, 2)`): starts and ends.
        others (`np.ndarray` of shape `(num_others, 2)`): likewise; each of some length.

    Returns:
        `np.ndarray` of shape `(num_windows, num_others)`, float64, in [0, 1].
    """
    starts, ends = windows[:, :1], windows[:, 1:]
    shared = (np.minimum(ends, others[:, 1]) - np.maximum(starts, others[:, 0])).clip(0)
    return shared / ((ends - starts) + (others[:, 1] - others[:, 0]) - shared)


def _average_precisions(overlaps: np.ndarray) -> np.ndarray:
    """Average precision of the ranked predictions of a query at each of `PRECISION_OVERLAPS`.

    Args:
        overlaps (`np.ndarray` of shape `(num_predictions, num_true)`): as [`temporal_iou`] gives them.
    """
    num_predictions, num_true = overlaps.shape
    thresholds = np.array(PRECISION_OVERLAPS)
    every = np.arange(len(thresholds))
    found = np.zeros((len(thresholds), num_true), bool)  # true moments that a prediction was right about
    right = np.zeros((len(thresholds), num_predictions), bool)
    for rank, overlap in enumerate(overlaps):
        free = np.where(found, -1, overlap)
        best = num_true - 1 - free[:, ::-1].argmax(axis=1)
        right[:, rank] = free[every, best] >= thresholds
        found[every, best] |= right[:, rank]
    precision = right.cumsum(axis=1) / np.arange(1, num_predictions + 1)
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return (best_from_here * right).sum(axis=1) / num_true


def _check_ranked(name: str, windows: Windows) -> np.ndarray:
    """Predicted windows as `(num_windows, 2)`; refuses what is wrong with them or with their scores."""
    table = _as_table(name, windows, widths=(2, 3))
    rising = np.flatnonzero(np.diff(table[:, 2:], axis=0) > 0)
    if len(rising):
        before, after = table[rising[0] : rising[0] + 2, 2]
        raise ValueError(
            f"{name} must be ranked, the best first, but a score of {before:g} stands before one of {after:g}. Sort "
            "them by their scores, the highest first."
        )
    return table[:, :2]


def _check_true(name: str, windows: Windows) -> np.ndarray:
    """True windows as `(num_windows, 2)`; refuses what is wrong with them."""
    table = _as_table(name, windows, widths=(2,))
    if not len(table):
        raise ValueError(f"{name} has no true moment, so nothing that is found can be right: leave the query out.")
    if (table[:, 0] == table[:, 1]).any():
        start, end = table[table[:, 0] == table[:, 1]][0]
        raise ValueError(
            f"{name} holds a true moment of no length, ({start:g}, {end:g}), which nothing overlaps: leave it out."
        )
    return table


def _as_table(name: str, windows: Windows, widths: tuple[int, ...]) -> np.ndarray:
    form = " or ".join(("(start, end)", "(start, end, score)")[width - 2] for width in widths)
    try:
        table = np.asarray(windows, dtype=np.float64)
    except (TypeError, ValueError):
        table = None
    if table is not None and table.shape == (0,):
        table = table.reshape(0, widths[0])
    if table is None or table.ndim != 2 or table.shape[1] not in widths:
        raise ValueError(f"{name} must be a list of {form}, all numbers and of the same form, got {windows!r}.")
    if not np.isfinite(table).all():
        row = table[~np.isfinite(table).all(axis=1)][0]
        raise ValueError(f"{name} holds {tuple(row.tolist())}: times are finite numbers of seconds, scores likewise.")
    if (table[:, 0] > table[:, 1]).any():
        start, end = table[table[:, 0] > table[:, 1]][0, :2]
        raise ValueError(f"{name} holds a moment that ends before it starts, ({start:g}, {end:g}): give (start, end).")
    return table
