"""The gate of tcd section 2, against numbers worked out by hand."""

import math

import pytest
import torch

from tcd_hf.modeling.gating import text_condition_weights, visible_windows

SQRT2 = math.sqrt(2)


@pytest.fixture
def text():
    return torch.tensor([[1.0, 0.0]])


@pytest.fixture
def moments():
    """One video whose three moments have cosines 1, 0 and 1 / sqrt(2) with the text."""
    return torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1 / SQRT2, 1 / SQRT2]]])


def test_weights_are_a_softmax_times_the_number_of_moments(text, moments):
    # s = 10 and temperature 5 double the cosines: logits 2, 0, sqrt(2).
    weights = text_condition_weights(text, moments, torch.tensor(10.0), temperature=5.0)
    total = math.exp(2) + 1 + math.exp(SQRT2)
    expected = [3 * math.exp(2) / total, 3 / total, 3 * math.exp(SQRT2) / total]
    assert weights.shape == (1, 1, 3)
    assert weights.flatten().tolist() == pytest.approx(expected, rel=1e-6)
    assert weights.mean().item() == pytest.approx(1.0)


def test_masked_moments_get_nothing_and_the_factor_counts_the_others(text, moments):
    mask = torch.tensor([[True, False, True]])
    weights = text_condition_weights(text, moments, torch.tensor(10.0), 5.0, mask)
    total = math.exp(2) + math.exp(SQRT2)
    expected = [2 * math.exp(2) / total, 0.0, 2 * math.exp(SQRT2) / total]
    assert weights.flatten().tolist() == pytest.approx(expected, rel=1e-6)


def test_equal_moments_weigh_one_each():
    texts = torch.nn.functional.normalize(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    moments = texts[:1, None].expand(2, 4, 5)  # two videos that never change
    weights = text_condition_weights(texts, moments, torch.tensor(100.0), 5.0)
    torch.testing.assert_close(weights, torch.ones(3, 2, 4))


def test_temperature_decides_how_much_the_query_is_trusted(text, moments):
    hard = text_condition_weights(text, moments, torch.tensor(100.0), 0.01)
    soft = text_condition_weights(text, moments, torch.tensor(100.0), 1e6)
    torch.testing.assert_close(hard, torch.tensor([[[3.0, 0.0, 0.0]]]))
    torch.testing.assert_close(soft, torch.ones(1, 1, 3), atol=1e-3, rtol=0)


def test_every_text_weighs_every_video_on_its_own(text, moments):
    other_text = torch.tensor([[0.0, 1.0]])
    other_video = moments.flip(1)
    both = text_condition_weights(
        torch.cat([text, other_text]), torch.cat([moments, other_video]), torch.tensor(10.0), 5.0
    )
    for i, one_text in enumerate((text, other_text)):
        for j, one_video in enumerate((moments, other_video)):
            alone = text_condition_weights(one_text, one_video, torch.tensor(10.0), 5.0)
            torch.testing.assert_close(both[i, j], alone[0, 0])


def test_the_scale_gets_no_gradient_but_the_embeddings_do(text, moments):
    scale = torch.tensor(10.0, requires_grad=True)
    text, moments = text.requires_grad_(), moments.requires_grad_()
    text_condition_weights(text, moments, scale, 5.0)[0, 0, 0].backward()
    assert scale.grad is None
    assert text.grad.abs().sum() > 0
    assert moments.grad.abs().sum() > 0


def test_half_precision_embeddings_give_float32_weights(text, moments):
    weights = text_condition_weights(text.bfloat16(), moments.bfloat16(), torch.tensor(10.0).bfloat16(), 5.0)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(
        weights, text_condition_weights(text, moments, torch.tensor(10.0), 5.0), atol=0.01, rtol=0
    )


def test_a_video_without_text_shows_all_its_windows():
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    expected = torch.tensor([[True, False, True], [True, True, True], [True, True, True]])
    assert visible_windows(mask).tolist() == expected.tolist()
