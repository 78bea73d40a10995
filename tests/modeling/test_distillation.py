"""The hybrid clue of tcd section 5, against numbers worked out by hand."""

import math

import pytest
import torch

from tcd_hf.modeling.distillation import ClueDistilling, CrossAttentionClue, masked_mean
from tests.modeling.test_co_attention import BOTH, FRAMES, WINDOWS, Config, make_plain

FIRST_ONLY = torch.tensor([[True, False]])


def set_(parameter: torch.nn.Parameter, values: list) -> None:
    with torch.no_grad():
        parameter.copy_(torch.tensor(values))


@pytest.fixture(params=["eager", "sdpa"])
def plain_clue(request):
    return make_plain(ClueDistilling(Config(_attn_implementation=request.param)))


@pytest.fixture(params=["eager", "sdpa"])
def plain_cross_attention(request):
    return make_plain(CrossAttentionClue(Config(_attn_implementation=request.param)))


def test_clues_that_ask_for_nothing_get_the_mean_of_both(plain_clue):
    # Mean of windows (1, 2), mean of frames (1/2, 1/2).
    torch.testing.assert_close(plain_clue(FRAMES, WINDOWS, BOTH), torch.tensor([[0.75, 1.25]]))
    # With window 0 alone: (2, 0) and (1/2, 1/2).
    torch.testing.assert_close(plain_clue(FRAMES, WINDOWS, FIRST_ONLY), torch.tensor([[1.25, 0.25]]))


def test_the_video_clue_asks_windows_and_the_ocr_clue_asks_frames(plain_clue):
    set_(plain_clue.video_clue, [[1.0, 0.0]])
    set_(plain_clue.ocr_clue, [[0.0, 3.0]])
    # Video clue to windows (2, 0), (0, 4): logits 2 / sqrt 2 and 0. OCR clue to frames: 0 and 3 / sqrt 2.
    a = 1 / (1 + math.exp(-2 / math.sqrt(2)))
    b = 1 / (1 + math.exp(-3 / math.sqrt(2)))
    expected = [[(2 * a + (1 - b)) / 2, (4 * (1 - a) + b) / 2]]
    torch.testing.assert_close(plain_clue(FRAMES, WINDOWS, BOTH), torch.tensor(expected))


def test_the_clue_type_is_part_of_both_questions(plain_clue):
    set_(plain_clue.clue_type_embedding, [[1.0, 0.0]])
    a = 1 / (1 + math.exp(-2 / math.sqrt(2)))
    b = 1 / (1 + math.exp(-1 / math.sqrt(2)))
    expected = [[(2 * a + b) / 2, (4 * (1 - a) + (1 - b)) / 2]]
    torch.testing.assert_close(plain_clue(FRAMES, WINDOWS, BOTH), torch.tensor(expected))


def test_types_are_added_place_by_place_to_keys_and_values(plain_clue):
    set_(plain_clue.video_type_embedding, [[0.0, 2.0], [4.0, 0.0]])
    set_(plain_clue.ocr_type_embedding, [[10.0, 0.0], [0.0, 20.0]])
    # No question, so means: windows (12, 0) and (0, 24) give (6, 12); frames (1, 2) and (4, 1) give (2.5, 1.5).
    torch.testing.assert_close(plain_clue(FRAMES, WINDOWS, BOTH), torch.tensor([[4.25, 6.75]]))
    # With window 0 alone its own type only: (12, 0).
    torch.testing.assert_close(plain_clue(FRAMES, WINDOWS, FIRST_ONLY), torch.tensor([[7.25, 0.75]]))


def test_plain_cross_attention_averages_all_answers(plain_cross_attention):
    # Frames ask windows with logits 2 / sqrt 2, 0 and 0, 4 / sqrt 2, as do windows the frames: as in test_co_attention.
    a = 1 / (1 + math.exp(-2 / math.sqrt(2)))
    b = 1 / (1 + math.exp(-4 / math.sqrt(2)))
    from_windows = [(2 * a + 2 * (1 - b)) / 2, (4 * (1 - a) + 4 * b) / 2]
    from_frames = [(a + (1 - b)) / 2, ((1 - a) + b) / 2]
    expected = [[(v + o) / 2 for v, o in zip(from_windows, from_frames, strict=True)]]
    torch.testing.assert_close(plain_cross_attention(FRAMES, WINDOWS, BOTH), torch.tensor(expected))
    # Window 0 alone: it answers every frame, and its own question (a, 1 - a) is the only one.
    expected = [[(2 + a) / 2, (1 - a) / 2]]
    torch.testing.assert_close(plain_cross_attention(FRAMES, WINDOWS, FIRST_ONLY), torch.tensor(expected))


@pytest.mark.parametrize("options", [{}, {"use_distillation": False}], ids=["clue tokens", "cross-attention"])
@pytest.mark.parametrize("num_heads", [1, 4])
def test_untrained_clue_is_the_mean_of_both_means(make_model, options, num_heads):
    module = make_model(fusion_num_heads=num_heads, **options).distillation
    generator = torch.Generator().manual_seed(0)
    frames, windows = torch.randn(3, 4, 16, generator=generator), torch.randn(3, 4, 16, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 1, 0]]).bool()
    windows_mean = torch.stack([windows[i][mask[i]].mean(dim=0) for i in range(3)])
    torch.testing.assert_close(module(frames, windows, mask), (frames.mean(dim=1) + windows_mean) / 2)


def test_untrained_clue_tokens_differ_so_that_training_can_tell_them_apart(tiny_model):
    clue = tiny_model.distillation
    assert clue.video_clue.std() > 0
    assert not torch.equal(clue.video_clue, clue.ocr_clue)


@pytest.mark.parametrize("kind", [ClueDistilling, CrossAttentionClue])
def test_what_masked_windows_hold_does_not_matter(kind):
    torch.manual_seed(0)
    module = kind(Config())
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    before = module(FRAMES, WINDOWS, FIRST_ONLY)
    other = WINDOWS.clone()
    other[:, 1] = 50.0
    torch.testing.assert_close(module(FRAMES, other, FIRST_ONLY), before)


def test_dropout_acts_in_training_only(plain_clue):
    plain_clue.dropout.p = 0.5
    kept = plain_clue(FRAMES, WINDOWS, BOTH)
    torch.manual_seed(0)
    answers = torch.cat([plain_clue.train()(FRAMES, WINDOWS, BOTH) for _ in range(20)])
    is_zero = answers == 0
    assert is_zero.any() and not is_zero.all()
    torch.testing.assert_close(answers[~is_zero], (2 * kept).expand_as(answers)[~is_zero])


def test_masked_mean():
    states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [50.0, 50.0]]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(masked_mean(states, mask), torch.tensor([[2.0, 4.0]]))
    torch.testing.assert_close(masked_mean(states, torch.ones_like(mask)), torch.tensor([[18.0, 58 / 3]]))
