"""Metrics of moments: numbers worked out by hand, an independent slow version, and what is refused."""

import math
from itertools import pairwise

import numpy as np
import pytest

import tcd_hf
from tcd_hf.evaluation.moment_metrics import compute_moment_metrics, temporal_iou

NAMES = [
    *(f"R@{k}@{overlap}" for k in (1, 5) for overlap in (0.3, 0.5, 0.7)),
    *("mAP@0.5", "mAP@0.75", "mAP"),
]


# the slow version: one pair at a time, average precision as the area below a curve of steps --------------------------
def slow_iou(one, other):
    """By cutting the line of time at every end and adding up the pieces."""
    cuts = sorted({one[0], one[1], other[0], other[1]})
    both = either = 0.0
    for start, end in pairwise(cuts):
        middle = (start + end) / 2
        inside = [window[0] <= middle <= window[1] for window in (one, other)]
        both += (end - start) * all(inside)
        either += (end - start) * any(inside)
    return both / either


def slow_average_precision(found, true, threshold):
    unmatched, hits = list(range(len(true))), []
    for moment in found[:10]:
        ranked = sorted(unmatched, key=lambda number: (slow_iou(moment, true[number]), number), reverse=True)
        hit = bool(ranked) and slow_iou(moment, true[ranked[0]]) >= threshold
        if hit:
            unmatched.remove(ranked[0])
        hits.append(hit)
    points = [(0.0, 0.0)]  # recall and precision after each prediction
    for count in range(1, len(hits) + 1):
        points.append((sum(hits[:count]) / len(true), sum(hits[:count]) / count))
    area, reached = 0.0, 0.0
    for recall in sorted({recall for recall, _ in points}):
        area += (recall - reached) * max(precision for other, precision in points if other >= recall)
        reached = recall
    return area


def slow_metrics(predictions, references):
    def mean(values):
        return sum(values) / len(references)

    pairs = list(zip(predictions, references, strict=True))
    metrics = {}
    for k in (1, 5):
        for threshold in (0.3, 0.5, 0.7):
            hits = [any(slow_iou(p, t) >= threshold for p in found[:k] for t in true) for found, true in pairs]
            metrics[f"R@{k}@{threshold}"] = mean(hits)
    by_threshold = {
        threshold: mean([slow_average_precision(found, true, threshold) for found, true in pairs])
        for threshold in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    }
    metrics.update({"mAP@0.5": by_threshold[0.5], "mAP@0.75": by_threshold[0.75]})
    metrics["mAP"] = sum(by_threshold.values()) / 10
    return metrics


def random_moments(rng, count):
    """Whole and half seconds, so that thresholds are met exactly, windows repeat, and overlaps tie."""
    starts = rng.integers(0, 12, count) / 2
    return list(zip(starts.tolist(), (starts + rng.integers(1, 9, count) / 2).tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_the_slow_version(seed):
    rng = np.random.default_rng(seed)
    references = [random_moments(rng, rng.integers(1, 7)) for _ in range(60)]
    predictions = [random_moments(rng, rng.integers(0, 16)) for _ in range(60)]
    metrics, expected = compute_moment_metrics(predictions, references), slow_metrics(predictions, references)
    assert list(metrics) == list(expected) == NAMES
    assert metrics == pytest.approx(expected, abs=1e-12)
    assert 0 < min(expected.values()) < max(expected.values()) < 1  # all of them tell something


def test_the_slow_version_would_notice(monkeypatch):
    """The random cases tell apart what the metric is from what it is easily taken for."""
    rng = np.random.default_rng(0)
    references = [random_moments(rng, rng.integers(1, 7)) for _ in range(60)]
    predictions = [random_moments(rng, rng.integers(0, 16)) for _ in range(60)]
    expected = slow_metrics(predictions, references)
    module = "tcd_hf.evaluation.moment_metrics"
    for name, value in (("MAX_PREDICTIONS", 5), ("RECALL_OVERLAPS", (0.31, 0.51, 0.71))):
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.{name}", value)
            metrics = compute_moment_metrics(predictions, references)
            assert list(metrics.values()) != pytest.approx(list(expected.values()), abs=1e-3)
    backwards = [moments[::-1] for moments in predictions]
    assert compute_moment_metrics(backwards, references) != pytest.approx(expected, abs=1e-3)


# by hand -------------------------------------------------------------------------------------------------------------
def test_overlaps():
    overlaps = temporal_iou(
        np.array([[0.0, 10.0], [5.0, 5.0], [10.0, 12.0]]), np.array([[0.0, 10.0], [5.0, 15.0], [8.0, 18.0]])
    )
    np.testing.assert_allclose(overlaps, [[1, 1 / 3, 1 / 9], [0, 0, 0], [0, 1 / 5, 1 / 5]])


def test_one_query():
    # Overlaps with (10, 20): 0, then .6, then .8.
    metrics = compute_moment_metrics([[(0, 4), (14, 20), (12, 20)]], [[(10, 20)]])
    assert [metrics[f"R@1@{overlap}"] for overlap in (0.3, 0.5, 0.7)] == [0, 0, 0]
    assert [metrics[f"R@5@{overlap}"] for overlap in (0.3, 0.5, 0.7)] == [1, 1, 1]
    assert metrics["mAP@0.5"] == pytest.approx(1 / 2)  # right at place 2; what comes third finds it taken
    assert metrics["mAP@0.75"] == pytest.approx(1 / 3)
    assert metrics["mAP"] == pytest.approx((3 * 1 / 2 + 4 * 1 / 3) / 10)  # .5, .55, .6; .65, .7, .75, .8


def test_several_true_moments():
    """Right, wrong, right: found are two of three. Precision is 1 at the first, 2/3 at the third."""
    metrics = compute_moment_metrics([[(0, 10), (40, 50), (20, 30)]], [[(20, 30), (60, 70), (0, 10)]])
    assert metrics["R@1@0.7"] == 1  # the best of the true ones counts
    assert [metrics["mAP"], metrics["mAP@0.75"]] == pytest.approx([(1 + 2 / 3) / 3] * 2)


def test_precision_is_the_best_from_there_on():
    """Wrong, right, right: precision is 1/2 at the second, but 2/3 one further, which counts for both."""
    metrics = compute_moment_metrics([[(40, 50), (0, 10), (20, 30)]], [[(0, 10), (20, 30)]])
    assert metrics["mAP"] == pytest.approx(2 / 3)


def test_a_true_moment_is_found_once():
    metrics = compute_moment_metrics([[(0, 10), (0, 10)]], [[(0, 10), (20, 30)]])
    assert metrics["mAP"] == pytest.approx(1 / 2)
    # The second overlaps (0, 10) more, which is taken, and (4, 14) by .6 still.
    metrics = compute_moment_metrics([[(0, 10), (1.5, 11.5)]], [[(0, 10), (4, 14)]])
    assert metrics["mAP@0.5"] == pytest.approx(1)


def test_of_equal_overlaps_the_last_is_taken():
    """As the published evaluation does: what comes first leaves the other one to what comes next, or does not."""
    first, last = [(0, 10), (2, 12)], [(2, 12), (0, 10)]
    predictions = [[(1, 11), (0, 10)]]  # .818 with either; then 1 or 2/3
    assert compute_moment_metrics(predictions, [first])["mAP@0.75"] == pytest.approx(1)
    assert compute_moment_metrics(predictions, [last])["mAP@0.75"] == pytest.approx(1 / 2)


def test_only_ten_predictions_count():
    wrong, right = [(50, 60)], [(0, 10)]
    assert compute_moment_metrics([wrong * 9 + right], [right])["mAP"] == pytest.approx(1 / 10)
    assert compute_moment_metrics([wrong * 10 + right], [right])["mAP"] == 0
    assert compute_moment_metrics([wrong * 4 + right], [right])["R@5@0.7"] == 1
    assert compute_moment_metrics([wrong * 5 + right], [right])["R@5@0.3"] == 0


def test_a_threshold_that_is_met_counts():
    metrics = compute_moment_metrics([[(0, 5)]], [[(0, 10)]])
    assert (metrics["R@1@0.5"], metrics["mAP@0.5"], metrics["R@1@0.7"]) == (1, 1, 0)
    assert metrics["mAP"] == pytest.approx(1 / 10)


def test_means_over_queries_and_forms_of_input():
    predictions = [[(0, 10, 0.9), (20, 30, 0.9)], [], np.array([[4, 8]]), np.zeros((0, 3)), [(7, 7)]]
    references = [[(0, 10)], [(0, 10)], np.array([[4, 8], [0, 1]]), ((1, 2),), [[0, 10]]]
    metrics = compute_moment_metrics(predictions, references)
    assert [metrics["R@1@0.7"], metrics["R@5@0.3"]] == pytest.approx([2 / 5] * 2)
    assert metrics["mAP"] == pytest.approx((1 + 1 / 2) / 5)
    assert all(type(value) is float for value in metrics.values())
    assert tcd_hf.compute_moment_metrics is compute_moment_metrics


# refusals ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "at least one; got 0 predictions, 0 references"),
        ([[]], [[(0, 1)], [(0, 1)]], "got 1 predictions, 2 references"),
        ([[]], [[]], r"references\[0\] has no true moment.*leave the query out"),
        ([[]], [[(3, 3)]], r"no length, \(3, 3\)"),
        ([[]], [(3, 8)], r"references\[0\] must be a list of \(start, end\), all numbers.*got \(3, 8\)"),
        ([[]], [[(3, 8, 0.5)]], r"references\[0\] must be a list of \(start, end\),"),
        ([[(0, 1)], [(2, 1)]], [[(0, 1)]] * 2, r"predictions\[1\] holds a moment that ends before it starts, \(2, 1\)"),
        ([[(0, math.nan)]], [[(0, 1)]], r"predictions\[0\] holds \(0.0, nan\): times are finite"),
        ([[]], [[(0, math.inf)]], r"references\[0\] holds \(0.0, inf\)"),
        ([[(0, 1, math.nan)]], [[(0, 1)]], "scores likewise"),
        ([[(0, 1, 0.2), (2, 3, 0.4)]], [[(0, 1)]], "a score of 0.2 stands before one of 0.4. Sort"),
        ([[(0, 1), (2, 3, 0.4)]], [[(0, 1)]], r"\(start, end\) or \(start, end, score\), all numbers and of the same"),
        ([[("a", "b")]], [[(0, 1)]], "all numbers"),
        ([None], [[(0, 1)]], "got None"),
    ],
)
def test_wrong_inputs(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        compute_moment_metrics(predictions, references)
