"""Ranks as other papers count them, against slow versions of their published code and numbers by hand."""

import math

import numpy as np
import pytest
import torch

from tcd_hf.evaluation import metrics
from tcd_hf.evaluation.metrics import retrieval_ranks, summarise_ranks
from tcd_hf.evaluation.published import check_normalisations, clip4clip_ranks, dual_softmax_ranks, qb_norm_ranks
from tcd_hf.evaluation.report import ALL_QUERIES, summarise_by_query_type

RNG = np.random.default_rng(0)
CAPTIONS = [3, 1, 4, 2, 2, 5]
TEXT_TO_VIDEO = RNG.permutation(np.repeat(np.arange(6), CAPTIONS))
SIMILARITY = RNG.normal(size=(len(TEXT_TO_VIDEO), 6)).astype(np.float32)


def published_tensor(similarity, text_to_video):
    """Scores by video, caption and video, as CLIP4Clip pads them."""
    num_videos = similarity.shape[1]
    tensor = torch.full((num_videos, max(CAPTIONS), num_videos), -math.inf)
    for video in range(num_videos):
        rows = torch.from_numpy(similarity[text_to_video == video])
        tensor[video, : len(rows)] = rows
    return tensor


def published_text_metrics(tensor):
    ranks = []
    for video in range(len(tensor)):
        for scores in tensor[video]:
            if not torch.isinf(scores[video]):
                order = scores.argsort(descending=True).tolist()
                ranks.append(order.index(video))
    ranks = torch.tensor(ranks)
    return {"R@1": (ranks < 1).float().mean().item(), "MdR": (ranks + 1).float().median().item()}


def published_video_metrics(tensor):
    matrix = tensor.max(dim=1).values.T.numpy()  # a video with the best caption of each group
    places = [np.where(np.sort(-row) == -row[video])[0][0] for video, row in enumerate(matrix)]
    return {"R@1": np.mean(np.array(places) == 0), "MdR": np.median(places) + 1, "MnR": np.mean(places) + 1}


@pytest.mark.parametrize("block_elements", [1 << 22, 13, 1])
def test_clip4clip_equals_its_published_code(monkeypatch, block_elements):
    monkeypatch.setattr(metrics, "BLOCK_ELEMENTS", block_elements)
    tensor = published_tensor(SIMILARITY, TEXT_TO_VIDEO)
    ours = retrieval_ranks(SIMILARITY, TEXT_TO_VIDEO)
    ranks = ours | clip4clip_ranks(SIMILARITY, TEXT_TO_VIDEO)
    found = summarise_by_query_type(ranks)[ALL_QUERIES]
    for direction, expected in (
        ("t2v_clip4clip", published_text_metrics(tensor)),
        ("v2t_clip4clip", published_video_metrics(tensor)),
    ):
        assert {name: found[direction][name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert (ranks["v2t_clip4clip"] <= ours["v2t"]).all() and (ranks["v2t_clip4clip"] < ours["v2t"]).any()


def test_groups_of_captions_by_hand():
    # Video 0 with its own captions: .5 at best. Those of video 1 have .9, .8 and .4 with it: two texts are ahead of
    # it, but one group. Video 2 has no caption.
    similarity = [[0.5, 0.0, 0.0], [0.1, 0.0, 0.0], [0.9, 0.3, 0.0], [0.8, 0.2, 0.0], [0.4, 0.2, 0.0]]
    text_to_video = [0, 0, 1, 1, 1]
    assert retrieval_ranks(similarity, text_to_video)["v2t"][0] == 3
    np.testing.assert_array_equal(clip4clip_ranks(similarity, text_to_video)["v2t_clip4clip"], [2, 1, np.nan])


def test_groups_that_tie_count_half():
    similarity = [[0.5, 0.1], [0.2, 0.3], [0.5, 0.3]]
    np.testing.assert_array_equal(clip4clip_ranks(similarity, [0, 0, 1])["v2t_clip4clip"], [1.5, 1.5])


def test_with_one_caption_each_there_is_nothing_to_add():
    assert clip4clip_ranks(np.eye(3), np.arange(3)) == {}


def test_the_lower_of_two_in_the_middle():
    ranks = np.array([4.0, 1.0, 2.0, 9.0])
    assert summarise_ranks(ranks)["MdR"] == 3.0
    assert summarise_ranks(ranks, lower_median=True)["MdR"] == 2.0
    assert summarise_ranks(ranks[:3], lower_median=True)["MdR"] == 2.0


def test_dual_softmax_by_hand():
    # Video 0 is a hub: text 1 finds it, until it is given to text 0, which wants it more.
    similarity, scale = np.array([[0.9, 0.1], [0.6, 0.5]]), 10.0
    share = 1 / (1 + math.exp(10 * 0.3))  # of text 1 in video 0
    other = 1 / (1 + math.exp(-10 * 0.4))  # and in video 1
    assert 0.6 * share < 0.5 * other
    assert retrieval_ranks(similarity, [0, 1])["t2v"].tolist() == [1, 2]
    ranks = dual_softmax_ranks(similarity, [0, 1], scale)
    assert ranks["t2v_dual_softmax"].tolist() == [1, 1] and ranks["v2t_dual_softmax"].tolist() == [1, 1]


@pytest.mark.parametrize("split", [[], [1], [2, 5, 9]])
def test_qb_norm_equals_its_formula(split):
    similarity, bank = SIMILARITY, RNG.normal(size=(12, 6)).astype(np.float32) * 0.3
    bank[:, :2] -= 2  # no bank text finds the first two videos
    hubs = {int(row.argmax()) for row in bank}
    expected = []
    for row, video in zip(similarity, TEXT_TO_VIDEO, strict=True):
        if int(row.argmax()) in hubs:
            row = np.exp(20 * row.astype(float)) / np.exp(20 * bank.astype(float)).sum(axis=0)
        expected.append(1 + (row > row[video]).sum())
    found = qb_norm_ranks(similarity, TEXT_TO_VIDEO, np.split(bank, split))["t2v_qb_norm"]
    np.testing.assert_array_equal(found, expected)
    assert 0 < len(hubs) < 6 and (found != retrieval_ranks(similarity, TEXT_TO_VIDEO)["t2v"]).any()


def test_mistakes():
    with pytest.raises(ValueError, match=r"also may name 'dual-softmax', 'qb-norm', got \['dsl'\]"):
        check_normalisations(["dsl"], "full")
    with pytest.raises(ValueError, match=r"qb-norm need the scores of all pairs, .* 'full' or 'coarse'"):
        check_normalisations(["qb-norm"], "two-stage")
    check_normalisations(["qb-norm", "dual-softmax"], "coarse")
