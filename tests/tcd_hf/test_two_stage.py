"""Two-stage ranks against oracles that sort one query at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tcd_hf.evaluation import metrics, two_stage
from tcd_hf.evaluation.metrics import retrieval_ranks
from tcd_hf.evaluation.two_stage import pair_scorer, two_stage_ranks
from tests.conftest import NUM_FRAMES, norms_like

TEXT_TO_VIDEO = np.array([3, 0, 0, 5, 1, 3, 6, 0, 5, 1, 2])  # video 4 has no text


def names_candidates(scores, top_k):
    """For each row, which columns are candidates: those that at most `top_k` columns reach."""
    return np.array([[sum(other >= score for other in row) <= top_k for score in row] for row in scores])


def keys(candidates, coarse, fine):
    """What a pair is sorted by: candidates first, by the fine score; the others by the coarse one."""
    choose = zip(candidates.flat, coarse.flat, fine.flat, strict=True)
    return np.array([(1, f) if c else (0, s) for c, s, f in choose]).reshape(*coarse.shape, 2).tolist()


def rank_of(right, others):
    best = max(right)
    return 1 + sum(other > best for other in others) + sum(other == best for other in others) / 2


def slow_two_stage_ranks(coarse, text_to_video, fine, top_k):
    num_texts, num_videos = coarse.shape
    by_text = keys(names_candidates(coarse, top_k), coarse, fine)
    by_video = keys(names_candidates(coarse.T, top_k).T, coarse, fine)
    ranks = {"t2v": [], "v2t": [], "v2t_transposed": []}
    for text, own in enumerate(text_to_video):
        others = [by_text[text][video] for video in range(num_videos) if video != own]
        ranks["t2v"].append(rank_of([by_text[text][own]], others))
    for name, table in (("v2t", by_video), ("v2t_transposed", by_text)):
        for video in range(num_videos):
            column = [table[text][video] for text in range(num_texts)]
            right = [key for key, own in zip(column, text_to_video, strict=True) if own == video]
            others = [key for key, own in zip(column, text_to_video, strict=True) if own != video]
            ranks[name].append(rank_of(right, others) if right else np.nan)
    return {name: np.array(each) for name, each in ranks.items()}


def look_up(fine):
    """Fine scores of listed pairs from a full matrix."""
    return lambda texts, videos: fine[texts, videos]


def test_hand_computed():
    coarse = np.array([[0.9, 0.8, 0.1], [0.7, 0.2, 0.6], [0.5, 0.4, 0.3]])
    fine = np.array([[0.1, 0.2, 9.0], [9.0, 9.0, 0.3], [0.4, 0.6, 9.0]])
    ranks = two_stage_ranks(coarse, np.array([0, 2, 2]), look_up(fine), top_k=2)
    # Text 0: of videos 0 and 1, its own loses by .1 to .2. Text 1: of videos 0 and 2, .3 to 9. Text 2: its own video
    # is no candidate, and stays third.
    assert ranks["t2v"].tolist() == [2, 2, 3]
    # Video 0: of texts 0 and 1, its own loses by .1 to 9. Video 2: texts 1 and 2 are its own and its candidates.
    np.testing.assert_equal(ranks["v2t"], [2, np.nan, 1])
    # Read by columns: video 0 is a candidate of all three texts, with .1, 9 and .4; video 2 of text 1 alone.
    np.testing.assert_equal(ranks["v2t_transposed"], [3, np.nan, 1])


def test_read_by_columns_candidates_are_ahead_whatever_their_coarse_score():
    coarse = np.array([[0.9, 0.8], [0.1, 0.2]])
    ranks = two_stage_ranks(coarse, np.array([1, 0]), look_up(np.zeros((2, 2))), top_k=1)
    # Candidates: text 0 has video 0, text 1 has video 1. Neither video's own text, which come behind.
    assert ranks["v2t_transposed"].tolist() == [2, 2]
    assert ranks["v2t"].tolist() == [2, 1]  # video 0 has text 0, not its own; video 1 has text 0, which is


@pytest.mark.parametrize("top_k", [1, 2, 4, 7, 50])
@pytest.mark.parametrize("levels", [4, 10_000])
@pytest.mark.parametrize("block_elements", [1, 30, 1 << 22])
def test_equals_the_oracle(monkeypatch, top_k, levels, block_elements):
    monkeypatch.setattr(metrics, "BLOCK_ELEMENTS", block_elements)
    rng = np.random.default_rng(top_k)
    for _ in range(5):
        coarse, fine = rng.integers(0, levels, size=(2, len(TEXT_TO_VIDEO), 7)).astype(np.float32)
        expected = slow_two_stage_ranks(coarse, TEXT_TO_VIDEO, fine, top_k)
        ranks = two_stage_ranks(coarse, TEXT_TO_VIDEO, look_up(fine), top_k)
        assert ranks.keys() == expected.keys()
        for name, each in ranks.items():
            np.testing.assert_array_equal(each, expected[name], err_msg=name)


def test_all_candidates_give_the_ranks_of_the_fine_scores():
    coarse, fine = np.random.default_rng(0).normal(size=(2, len(TEXT_TO_VIDEO), 7))
    ranks = two_stage_ranks(coarse, TEXT_TO_VIDEO, look_up(fine), top_k=len(TEXT_TO_VIDEO))
    expected = retrieval_ranks(fine, TEXT_TO_VIDEO)
    np.testing.assert_array_equal(ranks["t2v"], expected["t2v"])
    np.testing.assert_array_equal(ranks["v2t"], expected["v2t"])
    np.testing.assert_array_equal(ranks["v2t_transposed"], expected["v2t"])
    assert not np.array_equal(expected["t2v"], retrieval_ranks(coarse, TEXT_TO_VIDEO)["t2v"])


def test_candidates_scored_as_before_change_nothing():
    coarse = np.random.default_rng(0).normal(size=(len(TEXT_TO_VIDEO), 7))
    ranks, expected = two_stage_ranks(coarse, TEXT_TO_VIDEO, look_up(coarse), 3), retrieval_ranks(coarse, TEXT_TO_VIDEO)
    for direction in expected:
        np.testing.assert_array_equal(ranks[direction], expected[direction])


def test_a_constant_matrix_scores_no_better_than_chance():
    for top_k in (1, 3, 5):
        ranks = two_stage_ranks(np.zeros((5, 5)), np.arange(5), look_up(np.zeros((5, 5))), top_k)
        assert all(each.tolist() == [3.0] * 5 for each in ranks.values())


def test_asks_for_the_candidates_alone():
    num_texts, num_videos, top_k = 60, 40, 3
    coarse = np.random.default_rng(0).normal(size=(num_texts, num_videos))
    text_to_video = np.arange(num_texts) % 20  # 20 videos have no text, and ask for none
    asked = []

    def score_pairs(texts, videos):
        asked.append((texts, videos))
        return coarse[texts, videos]

    two_stage_ranks(coarse, text_to_video, score_pairs, top_k)
    of_videos = names_candidates(coarse.T, top_k).T
    assert of_videos[:, 20:].any()
    of_videos[:, 20:] = False
    [pairs] = asked
    np.testing.assert_array_equal(pairs, np.nonzero(names_candidates(coarse, top_k) | of_videos))


def test_repeated_captions_of_one_video_do_not_compete():
    coarse = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    ranks = two_stage_ranks(coarse, np.array([0, 0, 1]), look_up(coarse), top_k=3)
    assert ranks["v2t"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("top_k", "fine", "message"),
    [
        (0, np.zeros(0), "top_k must be at least 1, got 0"),
        (2, np.zeros(3), r"each of 4 pairs.* got shape \(3,\)"),
        (2, np.array([0, np.nan, 0, 0]), "1 NaN"),
    ],
)
def test_mistakes(top_k, fine, message):
    with pytest.raises(ValueError, match=message):
        two_stage_ranks(np.eye(2), np.arange(2), lambda texts, videos: fine, top_k)


@pytest.mark.parametrize("options", [{}, {"interaction": "tib"}, {"use_ocr": False}], ids=str)
@pytest.mark.parametrize("texts_at_once", [1, 4, 64])
def test_by_a_model_equals_the_oracle_on_its_full_matrix(make_model, monkeypatch, options, texts_at_once):
    monkeypatch.setattr(two_stage, "TEXTS_PER_TABLE", texts_at_once)
    model = make_model(randomise=True, **options)
    generator = torch.Generator().manual_seed(0)
    texts, frames, windows = (
        torch.nn.functional.normalize(torch.randn(*shape, 16, generator=generator), dim=-1)
        for shape in ((len(TEXT_TO_VIDEO),), (7, NUM_FRAMES), (7, NUM_FRAMES))
    )
    with torch.no_grad():
        features = model.precompute(model.fuse(frames, windows, frame_norms=norms_like(frames)))
        coarse = (model.get_coarse_queries(texts) @ features.coarse_embeds.T).numpy()
        fine = model.score(texts, features).similarity.numpy()
        monkeypatch.setattr(type(model), "score", None)
        ranks = two_stage_ranks(coarse, TEXT_TO_VIDEO, pair_scorer(model, texts, features), top_k=3)
    expected = slow_two_stage_ranks(coarse, TEXT_TO_VIDEO, fine, top_k=3)
    for name, each in ranks.items():
        np.testing.assert_array_equal(each, expected[name], err_msg=name)
    assert not np.array_equal(ranks["t2v"], retrieval_ranks(coarse, TEXT_TO_VIDEO)["t2v"])


def test_pairs_of_a_model_come_in_tables_with_few_holes(monkeypatch):
    monkeypatch.setattr(two_stage, "TEXTS_PER_TABLE", 2)
    shapes = []

    def score_pairs(text_embeds, features, candidates):
        shapes.append(tuple(candidates.shape))
        similarity = 100 * text_embeds[:, :1] + candidates
        return SimpleNamespace(similarity=similarity.masked_fill(candidates < 0, -torch.inf))

    model = SimpleNamespace(score_pairs=score_pairs)
    texts, videos = np.array([0, 1, 1, 1, 4, 7, 7, 7, 7]), np.array([5, 0, 1, 2, 6, 6, 3, 2, 1])
    scores = pair_scorer(model, torch.arange(8.0)[:, None], None)(texts, videos)
    assert scores.tolist() == (100 * texts + videos).tolist()
    assert shapes == [(2, 1), (2, 4)]  # texts 0 and 4 with one video each; 1 and 7 with three and four
