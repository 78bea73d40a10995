"""The search score by hand: without a calibration, with one, and of windows."""

import math

import numpy as np
import pytest
import torch

from tcd_hf.index.fusing import Fusion, nearest_window
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.outputs import TCDVideoFeatures

CALIBRATION = {"bias": -3.0, "text_video": 0.5, "text_ocr": 2.0, "text_window": 4.0, "lexical": 6.0}
PARTS = {
    "similarity": np.array([0.3, 0.2]),
    "text_video": np.array([0.2, 0.0]),
    "text_ocr": np.array([0.1, 0.5]),
    "text_hybrid": np.array([0.6, 0.1]),
    "text_window": np.array([0.7, 0.0]),
}
LEXICAL = np.array([0.5, 0.0])


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def test_without_a_calibration_the_score_is_the_weighted_mean():
    np.testing.assert_allclose(Fusion().score(PARTS, LEXICAL), [0.4, 0.1])
    np.testing.assert_allclose(Fusion(lexical_weight=0.2).score(PARTS, LEXICAL), [0.34, 0.16])
    np.testing.assert_allclose(Fusion(lexical_weight=0).score(PARTS, LEXICAL), PARTS["similarity"])


def test_a_calibrated_score_is_a_probability():
    # -3 + .5 * .2 + 2 * .1 + 4 * .7 + 6 * .5; a part without a coefficient does not count
    np.testing.assert_allclose(Fusion(CALIBRATION).score(PARTS, LEXICAL), [sigmoid(3.1), sigmoid(-2.0)])


def test_the_lexical_weight_leans_a_calibrated_score():
    spelling, meaning = Fusion(CALIBRATION, 1.0), Fusion(CALIBRATION, 0.0)
    np.testing.assert_allclose(spelling.score(PARTS, LEXICAL), [sigmoid(-3 + 12 * 0.5), sigmoid(-3)])
    np.testing.assert_allclose(meaning.score(PARTS, LEXICAL), [sigmoid(-3 + 2 * 3.1), sigmoid(-3 + 2 * 1.0)])


def test_what_a_model_does_not_say_counts_nothing():
    parts = {"similarity": PARTS["text_video"], "text_video": PARTS["text_video"], "text_ocr": None}
    np.testing.assert_allclose(Fusion(CALIBRATION).score(parts, LEXICAL), [sigmoid(0.1), sigmoid(-3)])


def test_high_scores_are_told_apart():
    parts = {"text_window": np.array([1.0, 1.0], np.float32)}
    low, high = Fusion({"bias": 0.0, "text_window": 20.0, "lexical": 8.0}).score(parts, np.array([0.90, 0.91]))
    assert low < high < 1


def test_a_window_scores_by_hand():
    scores = Fusion(lexical_weight=0.4).windows(
        frame_cosines=np.array([0.2, 0.4, 0.3]),
        fused_cosines=np.array([0.8, 0.6, 0.9]),
        read_cosines=None,
        has_text=np.array([True, True, False]),
        lexical=np.array([0.0, 0.5, 0.0]),
    )
    # frames, relative to .3: -.1 .1 0; texts, relative to .7 over windows with text: .1 -.1 0
    expected = [0.6 * (-0.1 + 0.1) / 2, 0.6 * (0.1 - 0.1) / 2 + 0.4 * 0.5, 0.0]
    np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_a_window_of_a_calibrated_model_by_hand():
    fusion = Fusion(CALIBRATION)
    logits = fusion.windows(
        frame_cosines=np.array([0.2, 0.4, 0.3]),
        fused_cosines=np.array([0.8, 0.6, 0.9]),
        read_cosines=np.array([0.1, 0.5, 0.9]),
        has_text=np.array([True, True, False]),
        lexical=np.array([0.0, 0.5, 0.0]),
    )
    # relative to their means: frames -.1 .1 0, fused .1 -.1 0, read -.2 .2 0
    expected = [-3 - 0.05 + 0.2 - 0.8, -3 + 0.05 - 0.2 + 0.8 + 3, -3]
    np.testing.assert_allclose(logits, expected, atol=1e-12)
    differences = fusion.beside(np.array([sigmoid(1.0)]), logits - logits.max())
    np.testing.assert_allclose(
        differences, [sigmoid(1 - 4.3) - sigmoid(1), 0, sigmoid(1 - 3.65) - sigmoid(1)], atol=1e-12
    )


def test_without_a_calibration_windows_differ_by_what_they_differ():
    differences = np.array([0.0, -0.3])
    np.testing.assert_allclose(Fusion().beside(np.array([0.4]), differences), differences)


def test_beside_what_is_out_of_the_question_is_finite():
    assert np.isfinite(Fusion(CALIBRATION).beside(np.array([-np.inf, 1.0, 0.0]), np.array([0.0, -1.0, 2.0]))).all()


def test_without_any_text_the_frames_decide():
    nothing, no_text = np.zeros(3), np.zeros(3, dtype=bool)
    scores = Fusion().windows(np.array([0.1, 0.1, 0.3]), np.array([0.9, 0.1, 0.1]), None, no_text, nothing)
    assert scores.argmax() == 2


def test_the_nearest_window_is_one_with_text():
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    captions = torch.tensor([[[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [1.0, 0.0]]])
    mask = torch.tensor([[False, True], [False, False]])
    features = TCDVideoFeatures(frame_embeds=captions, ocr_embeds=captions, fused_ocr_embeds=captions, ocr_mask=mask)
    torch.testing.assert_close(nearest_window(texts, features), torch.tensor([[0.6, 0.0], [0.8, 0.0]]))


def test_only_a_score_that_counts_it_needs_the_nearest_window():
    assert Fusion(CALIBRATION).needs_nearest_window
    assert not Fusion().needs_nearest_window
    assert not Fusion({"bias": 0.0, "lexical": 1.0, "text_window": 0.0}).needs_nearest_window


def test_which_scores_are_probabilities():
    assert Fusion(CALIBRATION).is_probability and Fusion(CALIBRATION).is_weak(0.09)
    assert not Fusion(CALIBRATION).is_weak(0.11)
    assert Fusion(CALIBRATION).is_weak(0.09, "full")
    for mode in ("coarse", "lexical"):  # rank by a part, which is no probability
        assert not Fusion(CALIBRATION).tells_weak(mode) and not Fusion(CALIBRATION).is_weak(0.09, mode)
    for other in (Fusion(), Fusion(CALIBRATION, lexical_weight=0.6)):
        assert not other.is_probability and not other.is_weak(0.0)


def test_the_fusion_of_a_configuration():
    config = TCDConfig(search_calibration=CALIBRATION)
    assert Fusion.of(config).is_calibrated and not Fusion.of(TCDConfig()).is_calibrated
    with pytest.raises(ValueError, match=r"lexical_weight must lie in \[0, 1\], got 1.5"):
        Fusion.of(config, 1.5)
