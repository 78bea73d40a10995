import numpy as np
import pytest

from tcd_hf.evaluation import metrics as metrics_module
from tcd_hf.evaluation.metrics import compute_retrieval_metrics, retrieval_ranks, summarise_ranks


def slow_ranks(similarity, text_to_video):
    """Ranks by counting pairs one at a time: (text ranks, video ranks)."""
    text_ranks = []
    for text, video in enumerate(text_to_video):
        own = similarity[text][video]
        others = [score for column, score in enumerate(similarity[text]) if column != video]
        text_ranks.append(1 + sum(s > own for s in others) + 0.5 * sum(s == own for s in others))
    video_ranks = []
    for video in sorted(set(text_to_video)):
        best = max(similarity[text][video] for text, v in enumerate(text_to_video) if v == video)
        others = [similarity[text][video] for text, v in enumerate(text_to_video) if v != video]
        video_ranks.append(1 + sum(s > best for s in others) + 0.5 * sum(s == best for s in others))
    return np.array(text_ranks), np.array(video_ranks)


def test_hand_computed_with_several_captions_a_video():
    similarity = np.array(
        [
            [0.9, 0.1, 0.2],  # video 0: rank 1
            [0.3, 0.8, 0.5],  # video 0: rank 3
            [0.2, 0.4, 0.6],  # video 1: rank 2
            [0.1, 0.7, 0.5],  # video 2: rank 2
        ]
    )
    metrics = compute_retrieval_metrics(similarity, np.array([0, 0, 1, 2]))
    assert metrics["t2v_R@1"] == 0.25
    assert metrics["t2v_R@5"] == metrics["t2v_R@50"] == 1.0
    assert metrics["t2v_MdR"] == 2.0
    assert metrics["t2v_MnR"] == (1 + 3 + 2 + 2) / 4
    assert metrics["t2v_MRR"] == pytest.approx((1 + 1 / 3 + 1 / 2 + 1 / 2) / 4)
    # columns: video 0's best own caption .9 is first; video 1's .4 is behind .8 and .7; video 2's .5 behind .6, tied .5
    assert metrics["v2t_R@1"] == pytest.approx(1 / 3)
    assert metrics["v2t_MnR"] == pytest.approx((1 + 3 + 2.5) / 3)
    assert metrics["v2t_MdR"] == 2.5
    assert all(type(value) is float for value in metrics.values())


def test_ties_are_never_optimistic():
    metrics = compute_retrieval_metrics(np.zeros((5, 5)), np.arange(5))
    assert metrics["t2v_R@1"] == metrics["v2t_R@1"] == 0.0
    assert metrics["t2v_MnR"] == metrics["v2t_MnR"] == 3.0


def test_repeated_captions_of_one_video_do_not_compete():
    similarity = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    metrics = compute_retrieval_metrics(similarity, np.array([0, 0, 1]))
    assert metrics["v2t_R@1"] == 1.0


def test_a_distractor_video_is_a_candidate_but_no_query():
    metrics = compute_retrieval_metrics(np.array([[0.5, 0.9], [0.9, 0.2]]), np.array([0, 0]))
    assert metrics["t2v_R@1"] == 0.5
    assert metrics["v2t_MnR"] == 1.0


@pytest.mark.parametrize("block_elements", [1, 7, 40, 1 << 22])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_block_size_and_order_gives_the_slow_ranks(monkeypatch, block_elements, dtype):
    rng = np.random.default_rng(0)
    similarity = (rng.integers(0, 12, size=(29, 13)) / 8).astype(dtype)  # many ties
    text_to_video = rng.integers(0, 11, size=29)  # videos 11 and 12 have no text
    text_ranks, video_ranks = slow_ranks(similarity.tolist(), text_to_video.tolist())

    monkeypatch.setattr(metrics_module, "BLOCK_ELEMENTS", block_elements)
    metrics = compute_retrieval_metrics(similarity, text_to_video)
    assert metrics["t2v_MnR"] == pytest.approx(text_ranks.mean())
    assert metrics["t2v_R@5"] == pytest.approx((text_ranks <= 5).mean())
    assert metrics["v2t_MnR"] == pytest.approx(video_ranks.mean())
    ranks = retrieval_ranks(similarity, text_to_video)
    np.testing.assert_array_equal(ranks["t2v"], text_ranks)
    np.testing.assert_array_equal(ranks["v2t"][np.unique(text_to_video)], video_ranks)
    assert np.isnan(ranks["v2t"][11:]).all()
    assert metrics["v2t_MRR"] == pytest.approx((1 / video_ranks).mean())

    gallery, texts = rng.permutation(13), rng.permutation(29)
    shuffled = similarity[texts][:, gallery]
    new_column = np.argsort(gallery)
    assert compute_retrieval_metrics(shuffled, new_column[text_to_video[texts]]) == pytest.approx(metrics)


def test_the_matrix_may_lie_on_disk(tmp_path):
    similarity = np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32)
    np.save(tmp_path / "similarity.npy", similarity)
    on_disk = np.load(tmp_path / "similarity.npy", mmap_mode="r")
    text_to_video = np.arange(30) % 20
    assert compute_retrieval_metrics(on_disk, text_to_video) == compute_retrieval_metrics(similarity, text_to_video)


def test_a_summary_needs_a_query():
    with pytest.raises(ValueError, match="there is no query"):
        summarise_ranks(np.array([np.nan]))


def test_nan_is_an_error_that_says_where():
    similarity = np.ones((3, 4), dtype=np.float32)
    similarity[2, 1] = np.nan
    with pytest.raises(ValueError, match="text 2, video 1"):
        compute_retrieval_metrics(similarity, np.zeros(3, dtype=int))


@pytest.mark.parametrize(
    ("similarity", "text_to_video", "error", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, dtype=int), ValueError, "at least one"),
        (np.zeros(3), np.zeros(3, dtype=int), ValueError, r"shape \(3,\)"),
        (np.zeros((2, 3)), np.zeros(3, dtype=int), ValueError, "each of the 2 texts"),
        (np.zeros((2, 3)), np.zeros(2), TypeError, "float64"),
        (np.zeros((2, 3)), np.array([0, 3]), ValueError, r"0\.\.2"),
        (np.zeros((2, 3)), np.array([0, -1]), ValueError, "-1"),
    ],
)
def test_wrong_inputs(similarity, text_to_video, error, message):
    with pytest.raises(error, match=message):
        compute_retrieval_metrics(similarity, text_to_video)
