"""Co-attention of tcd section 4, against numbers worked out by hand."""

import math

import pytest
import torch

from tcd_hf.modeling.co_attention import CrossAttention, VideoOCRCoAttention
from tests.conftest import randomise_fusion


class Config:
    """What the attention modules read of a TCDConfig, for widths that fit on paper."""

    num_frames = 2
    projection_dim = 2
    fusion_num_heads = 1
    fusion_dropout = 0.0
    _attn_implementation = "eager"

    def __init__(self, **options):
        for name, value in options.items():
            setattr(self, name, value)


def make_plain(module: torch.nn.Module) -> torch.nn.Module:
    """Every projection the identity, every bias and position 0: attention by cosines alone."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.eye(len(parameter)) if name.endswith("proj.weight") else torch.zeros(parameter.shape))
    return module.eval()


FRAMES = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
WINDOWS = torch.tensor([[[2.0, 0.0], [0.0, 4.0]]])
BOTH = torch.tensor([[True, True]])


@pytest.fixture(params=["eager", "sdpa"])
def plain_co_attention(request):
    return make_plain(VideoOCRCoAttention(Config(_attn_implementation=request.param)))


def test_frames_and_windows_read_each_other(plain_co_attention):
    y, x, _ = plain_co_attention(FRAMES, WINDOWS, BOTH)
    # Frame 0 asks the windows: logits 2 / sqrt 2 and 0. Frame 1: 0 and 4 / sqrt 2. Answers are windows, added on top.
    first = 1 / (1 + math.exp(-2 / math.sqrt(2)))
    second = 1 / (1 + math.exp(-4 / math.sqrt(2)))
    expected_y = [[1 + 2 * first, 4 * (1 - first)], [2 * (1 - second), 1 + 4 * second]]
    # Windows ask the frames with the same logits; answers are frames.
    expected_x = [[2 + first, 1 - first], [1 - second, 4 + second]]
    torch.testing.assert_close(y, torch.tensor([expected_y]))
    torch.testing.assert_close(x, torch.tensor([expected_x]))


def test_masked_windows_are_not_read_but_may_read(plain_co_attention):
    y, x, _ = plain_co_attention(FRAMES, WINDOWS, torch.tensor([[True, False]]))
    torch.testing.assert_close(y, FRAMES + WINDOWS[:, :1])  # only window 0 can answer
    torch.testing.assert_close(x, plain_co_attention(FRAMES, WINDOWS, BOTH)[1])


def test_a_position_is_shared_by_frame_and_window_and_stays_out_of_the_values(plain_co_attention):
    positions = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    with torch.no_grad():
        plain_co_attention.position_embedding.copy_(positions)
    y, x, _ = plain_co_attention(torch.zeros_like(FRAMES), WINDOWS, BOTH)
    # Frames hold nothing, so frame 0 asks with (3, 0), window keys are (5, 0) and (0, 7): logits 15 / sqrt 2 and 0.
    first = 1 / (1 + math.exp(-15 / math.sqrt(2)))
    second = 1 / (1 + math.exp(-21 / math.sqrt(2)))
    torch.testing.assert_close(
        y, torch.tensor([[[2 * first, 4 * (1 - first)], [2 * (1 - second), 4 * second]]]), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(x, WINDOWS)  # what frames answer is 0, whatever their position


def test_eager_gives_the_weights_of_both_directions():
    module = make_plain(VideoOCRCoAttention(Config()))
    *_, (video_weights, ocr_weights) = module(FRAMES, WINDOWS, torch.tensor([[True, False]]))
    torch.testing.assert_close(video_weights, torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]]))
    first = 1 / (1 + math.exp(-2 / math.sqrt(2)))
    second = 1 / (1 + math.exp(-4 / math.sqrt(2)))
    torch.testing.assert_close(ocr_weights, torch.tensor([[[[first, 1 - first], [1 - second, second]]]]))


def test_an_untrained_co_attention_passes_the_backbone_through(tiny_model):
    generator = torch.Generator().manual_seed(0)
    frames, windows = torch.randn(3, 4, 16, generator=generator), torch.randn(3, 4, 16, generator=generator)
    y, x, _ = tiny_model.co_attention(frames, windows, torch.ones(3, 4, dtype=torch.bool))
    assert torch.equal(y, frames)
    assert torch.equal(x, windows)
    assert tiny_model.co_attention.position_embedding.std() > 0  # as far as training can tell positions apart


@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_attention_equals_torch(num_heads):
    config = Config(projection_dim=8, fusion_num_heads=num_heads, _attn_implementation="sdpa")
    ours = randomise_fusion(CrossAttention(config))
    theirs = torch.nn.MultiheadAttention(8, num_heads, batch_first=True)
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([projection.weight for projection in projections]))
        theirs.in_proj_bias.copy_(torch.cat([projection.bias for projection in projections]))
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, length, 8, generator=generator) for length in (2, 5, 5))
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 0, 1]]).bool()
    expected, _ = theirs(query, key, value, key_padding_mask=~mask)
    torch.testing.assert_close(ours(query, key, value, mask)[0], expected)
    torch.testing.assert_close(ours(query, key, value)[0], theirs(query, key, value)[0])


def test_dropout_acts_on_the_answers_in_training_only():
    module = make_plain(VideoOCRCoAttention(Config(fusion_dropout=0.5)))
    kept = module(FRAMES, WINDOWS, BOTH)[0] - FRAMES
    torch.manual_seed(0)
    dropped = module.train()(FRAMES, WINDOWS, BOTH)[0] - FRAMES
    is_zero = dropped == 0
    assert is_zero.any() and not is_zero.all()
    torch.testing.assert_close(dropped[~is_zero], 2 * kept[~is_zero])


def test_masked_windows_get_no_gradient_through_the_frames(plain_co_attention):
    windows = WINDOWS.clone().requires_grad_()
    plain_co_attention(FRAMES, windows, torch.tensor([[True, False]]))[0].square().sum().backward()
    assert windows.grad[0, 0].abs().sum() > 0
    assert windows.grad[0, 1].abs().sum() == 0
