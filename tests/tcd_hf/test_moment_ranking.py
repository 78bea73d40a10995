"""Moments of prepared videos: which windows come first, and for which captions they are counted."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from tcd_hf.evaluation.moment_metrics import compute_moment_metrics
from tcd_hf.evaluation.moment_ranking import evaluate_moments, rank_moments
from tcd_hf.evaluation.report import ALL_QUERIES
from tcd_hf.modeling.outputs import TCDVideoFeatures

EXIT = ["", "EXIT gate b4", "EXIT gate b4", "tesco"]
NOTHING = [""] * 4


def table(*videos, seconds: float = 2.0) -> Dataset:
    """Rows of `(what was read in the windows, {caption: moments})`, with windows of two seconds."""
    return Dataset.from_list(
        [
            {
                "captions": list(captions),
                "moments": list(captions.values()),
                "ocr_captions": read,
                "window_starts": [seconds * window for window in range(len(read))],
                "window_ends": [seconds * (window + 1) for window in range(len(read))],
            }
            for read, captions in videos
        ]
    )


def seen(*cosines, reads_text: bool = True) -> tuple[torch.Tensor, TCDVideoFeatures]:
    """A text embedding, and videos whose frames have these cosines with it; where text is read it says nothing."""
    cosines = torch.tensor(cosines)
    frames = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=-1)
    mask = torch.ones_like(cosines, dtype=torch.bool)
    read = {"fused_ocr_embeds": torch.ones_like(frames), "ocr_mask": mask} if reads_text else {}
    return torch.tensor([1.0, 0.0]), TCDVideoFeatures(fused_frame_embeds=frames, **read)


@pytest.mark.parametrize("reads_text", [True, False])
def test_what_is_read_leads_and_the_other_windows_follow_by_their_scores(reads_text):
    data = table((EXIT, {"the exit": [[2, 6]]}), (["tesco", "", "", ""], {}))
    text, videos = seen([0.1, 0.3, 0.2, 0.6], [0.0] * 4, reads_text=reads_text)
    (ranked,) = rank_moments(data, text[None], videos)
    assert ranked == [(2, 6), (6, 8), (0, 2)]  # a run of windows that show the same is one moment


def test_without_text_windows_are_ranked_by_what_is_seen():
    text, videos = seen([0.1, 0.3, 0.2, 0.6], reads_text=False)
    (ranked,) = rank_moments(table((NOTHING, {"a red ball": [[2, 4]]})), text[None], videos)
    assert ranked == [(6, 8), (2, 4), (4, 6), (0, 2)]


def test_equal_windows_keep_the_order_of_time():
    text, videos = seen([0.0] * 4)
    (ranked,) = rank_moments(table((NOTHING, {"a red ball": [[2, 4]]})), text[None], videos)
    assert ranked == [(0, 2), (2, 4), (4, 6), (6, 8)]


def test_every_caption_searches_its_own_video():
    """Captions without a time are passed over, and counted on the way."""
    data = table(
        (EXIT, {"the exit": [], "tesco": [[0, 1]]}),
        (NOTHING, {}),
        (["exit", "", "", "tesco"], {"the exit": [[0, 2]], "unknown": []}),
    )
    directions = torch.eye(4)
    text, videos = torch.stack([directions[3]] * 4), TCDVideoFeatures(fused_frame_embeds=directions.expand(3, 4, 4))
    ranked = rank_moments(data, text, videos)
    assert ranked == [None, [(6, 8), (0, 2), (2, 4), (4, 6)], [(0, 2), (6, 8), (2, 4), (4, 6)], None]


def test_metrics_by_type_of_query():
    data = table((EXIT, {"the exit": [[2, 6]], "unknown": [], "tesco": [[0, 1], [4, 8]]}))
    text, videos = torch.ones(3, 2), TCDVideoFeatures(fused_frame_embeds=torch.ones(1, 4, 2))
    moments = evaluate_moments(data, text, videos, ["sign", "object", "shop"])
    ranked = rank_moments(data, text, videos)
    assert list(moments) == [ALL_QUERIES, "sign", "shop"]  # of "object" no time is known
    assert moments["sign"] == {"queries": 1, **compute_moment_metrics([ranked[0]], [[(2, 6)]])}
    assert moments["sign"]["R@1@0.7"] == 1
    assert moments["shop"]["R@1@0.5"] == 1 and moments["shop"]["R@1@0.7"] == 0  # (6, 8) of (4, 8)
    assert moments[ALL_QUERIES]["queries"] == 2
    assert moments[ALL_QUERIES]["mAP"] == pytest.approx((moments["sign"]["mAP"] + moments["shop"]["mAP"]) / 2)
    assert list(evaluate_moments(data, text, videos)) == [ALL_QUERIES]


def test_no_metrics_without_times():
    data = table((EXIT, {"the exit": []}))
    text, videos = torch.ones(1, 2), TCDVideoFeatures(fused_frame_embeds=torch.ones(1, 4, 2))
    assert evaluate_moments(data, text, videos, ["sign"]) is None
    assert evaluate_moments(data.remove_columns("moments"), text, videos) is None


def test_any_dtype_and_order_of_videos():
    words, rng = ["exit", "tesco", "gate b4", "sale"], np.random.default_rng(0)
    rows = [(list(rng.choice([*words, ""], 4)), {f"{rng.choice(words)} {number}": [[0, 2]]}) for number in range(6)]
    frames = torch.randn(6, 4, 8, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    texts = frames[:, 1]
    ranked = rank_moments(table(*rows), texts, TCDVideoFeatures(fused_frame_embeds=frames))
    assert len({tuple(each) for each in ranked}) > 2
    order = [3, 0, 5, 1, 4, 2]
    shuffled = table(*[rows[place] for place in order])
    again = rank_moments(shuffled, texts[order], TCDVideoFeatures(fused_frame_embeds=frames[order]))
    assert again == [ranked[place] for place in order]
