"""Frames that do not count: nothing sees them, and where all count the mask changes nothing."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from tcd_hf.modeling.outputs import TCDScores
from tests.conftest import NUM_FRAMES, assert_computed_alike, norms_like

DIM, PATCHES = 16, 4
MASK = torch.tensor([[True, False, True, True], [True, True, True, True], [True, False, False, True]])
WINDOWS = torch.tensor([[True, True, False, True], [False] * 4, [True, False, True, True]])
MODELS = {
    "TCD": {},
    "four heads": {"fusion_num_heads": 4},
    "gate before": {"text_condition": "before"},
    "cross-attention": {"use_distillation": False},
    "gate alone": {"use_distillation": False, "use_cross_attention": False, "use_co_attention": False},
    "no OCR": {"use_ocr": False},
    "EERCF": {"interaction": "tib"},
    "EERCF with patches": {"interaction": "tib", "use_patch_features": True, "pearson_tib_patch_weight": 1.0},
}


@pytest.fixture(scope="module")
def embeds() -> dict[str, torch.Tensor]:
    """What the towers make of three texts and three videos."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"texts": (3,), "frames": (3, NUM_FRAMES), "windows": (3, NUM_FRAMES), "patches": (3, NUM_FRAMES, PATCHES)}
    return {name: normalize(torch.randn(*shape, DIM, generator=generator), dim=-1) for name, shape in shapes.items()}


@pytest.fixture(params=MODELS)
def model(request, make_model):
    return make_model(randomise=True, fusion_dropout=0.0, **MODELS[request.param])


def numbers_of(model, embeds, mask) -> dict[str, torch.Tensor]:
    """Scores by each method, coarse vectors and losses of three videos."""
    frames = embeds["frames"]
    videos = model.fuse(frames, embeds["windows"], WINDOWS, embeds["patches"], norms_like(frames), mask)
    methods = ["reference"] if model.config.text_condition == "before" else ["reference", "factorized"]
    numbers = {"coarse": videos.coarse_embeds}
    for method in methods:
        scores: TCDScores = model.score(embeds["texts"], videos, method)
        numbers |= {f"{method} {part}": score for part, score in scores.items()}
    losses = model.compute_losses(embeds["texts"], videos)
    return numbers | {name: loss for name, loss in losses.items() if name.endswith("loss")}


class TestMask:
    @torch.inference_mode()
    def test_where_all_frames_count_it_changes_nothing(self, model, embeds):
        assert_computed_alike(numbers_of(model, embeds, torch.ones_like(MASK)), numbers_of(model, embeds, None))

    @torch.inference_mode()
    def test_what_does_not_count_may_be_anything(self, model, embeds):
        generator = torch.Generator().manual_seed(1)
        noise = {name: normalize(torch.randn(rows.shape, generator=generator), dim=-1) for name, rows in embeds.items()}
        others = dict(embeds)
        others["frames"] = embeds["frames"].where(MASK[..., None], noise["frames"])
        others["patches"] = embeds["patches"].where(MASK[..., None, None], noise["patches"])
        found, again = numbers_of(model, embeds, MASK), numbers_of(model, others, MASK)
        assert_computed_alike(found, again)
        unmasked = numbers_of(model, others, None)
        assert not torch.allclose(unmasked["reference similarity"], found["reference similarity"], atol=1e-3)

    @torch.inference_mode()
    def test_both_methods_agree(self, model, embeds):
        numbers = numbers_of(model, embeds, MASK)
        for name in [name for name in numbers if name.startswith("factorized")]:
            assert_computed_alike(numbers[name], numbers[name.replace("factorized", "reference")])

    @torch.inference_mode()
    def test_a_row_without_any_counts_as_a_whole(self, model, embeds):
        none = MASK.clone()
        none[1] = False
        assert_computed_alike(numbers_of(model, embeds, none), numbers_of(model, embeds, MASK))

    def test_frames_that_do_not_count_have_no_gradient(self, make_model, embeds):
        model = make_model(randomise=True, fusion_dropout=0.0, temporal_num_layers=1)
        frames = embeds["frames"].clone().requires_grad_()
        videos = model.fuse(frames, embeds["windows"], WINDOWS, frame_norms=norms_like(frames), frame_mask=MASK)
        model.compute_losses(embeds["texts"], videos).loss.backward()
        assert not frames.grad[~MASK].any() and frames.grad[MASK].any(dim=-1).all()

    def test_a_mask_of_another_shape_is_refused(self, tiny_model, embeds):
        with pytest.raises(ValueError, match=r"`frame_mask` must have shape \(3, 4\), got \(3, 3\)"):
            tiny_model.fuse(
                embeds["frames"], embeds["windows"], frame_norms=norms_like(embeds["frames"]), frame_mask=MASK[:, :3]
            )


@torch.inference_mode()
def test_by_hand(make_model):
    """Two pictures in four windows, seen three times and once: as often as each, they count once each."""
    model = make_model(use_distillation=False, use_cross_attention=False, use_co_attention=False, temporal_num_layers=0)
    text, other = torch.eye(DIM)[:2]
    frames = torch.stack([text, text, text, other])[None]
    windows, mask = other.expand(1, NUM_FRAMES, -1), torch.tensor([[True, False, False, True]])

    def score(**masks):
        videos = model.fuse(frames, windows, **masks)
        return [model.score(text[None], videos, method).text_video.item() for method in ("reference", "factorized")]

    ratio = math.exp(model.logit_scale.exp().item() / model.config.text_condition_temperature)  # of the gates
    assert score(frame_mask=mask) == pytest.approx([ratio / math.hypot(ratio, 1)] * 2, rel=1e-5)
    assert score() == pytest.approx([3 * ratio / math.hypot(3 * ratio, 1)] * 2, rel=1e-5)
    coarse = model.fuse(frames, windows, torch.zeros(1, NUM_FRAMES), frame_mask=mask).coarse_embeds[0]
    assert coarse[:3].tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0.0], abs=1e-6)


@torch.inference_mode()
def test_padding_changes_nothing_of_a_shorter_video(make_model):
    """Two frames and windows, and the same filled up to four: equal scores, where no weight belongs to a position."""
    options = {"use_distillation": False, "fusion_dropout": 0.0, "temporal_num_layers": 0}
    long, short = (make_model(randomise=True, num_frames=count, **options) for count in (4, 2))
    positions = {"co_attention.position_embedding"}
    weights = {name: each for name, each in long.state_dict().items() if name not in positions}
    short.load_state_dict(weights, strict=False)
    for each in (long, short):
        each.co_attention.position_embedding.zero_()
    generator = torch.Generator().manual_seed(0)
    texts, frames, windows = (
        normalize(torch.randn(*shape, DIM, generator=generator), dim=-1) for shape in ((3,), (2, 2), (2, 2))
    )
    mask = torch.tensor([[True, True, False, False]]).expand(2, 4)
    whole = short.score(texts, short.fuse(frames, windows))
    padded = long.fuse(frames[:, [0, 1, 1, 1]], windows[:, [0, 1, 1, 1]], mask, frame_mask=mask)
    assert_computed_alike(dict(long.score(texts, padded)), dict(whole))
    assert_computed_alike(padded.coarse_embeds, short.fuse(frames, windows).coarse_embeds)
