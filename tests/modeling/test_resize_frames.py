"""A trained model with another number of frames."""

import numpy as np
import pytest
import torch

from tcd_hf.modeling.modeling_tcd import TCDModel
from tests.conftest import randomise_fusion

DIM = 16
OPTIONS = pytest.mark.parametrize(
    "options", [{}, {"text_condition": "before"}, {"use_distillation": False}, {"interaction": "tib"}], ids=str
)
PER_FRAME = (
    "co_attention.position_embedding",
    "temporal_encoder.position_embedding",
    "distillation.video_type_embedding",
    "distillation.ocr_type_embedding",
)


def units(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def features_of(model, repeat: int = 1):
    """Two videos of 4 frames and windows, each shown `repeat` times in a row."""
    frames, windows = units(2, 4, DIM), units(2, 4, DIM, seed=1)
    mask = torch.tensor([[True, False, True, True], [False] * 4])
    frames, windows, mask = (each.repeat_interleave(repeat, dim=1) for each in (frames, windows, mask))
    return model.fuse(frames, windows, mask, frame_norms=torch.full(mask.shape, 10.0))


def test_rows_are_interpolated_between_the_centres_of_windows(make_model):
    model = make_model(num_frames=12, randomise=True)
    rows = {name: model.get_parameter(name).detach().numpy().copy() for name in PER_FRAME}
    for count in (24, 64, 12):
        model.resize_frames(count)
        for name, before in rows.items():
            old, new = ((np.arange(number) + 0.5) / number for number in (len(before), count))
            # `np.interp` repeats the ends outside the first and the last centre.
            expected = np.stack([np.interp(new, old, column) for column in before.T], axis=1)
            found = model.get_parameter(name)
            assert found.shape == (count, DIM) and found.requires_grad
            np.testing.assert_allclose(found.detach(), expected, atol=1e-5)
            rows[name] = expected
    assert model.config.num_frames == 12


@OPTIONS
def test_where_time_does_not_matter_frames_that_are_shown_twice_change_no_score(make_model, options):
    model, texts = randomise_fusion(make_model(**options)), units(3, DIM, seed=2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in PER_FRAME:
                weight.copy_(weight[:1].expand_as(weight))  # one for all places
        if model.frame_projection is not None:
            torch.nn.init.eye_(model.frame_projection.weight)
        features = features_of(model)
        expected = model.score(texts, features).similarity
        for repeat in (2, 6):
            again = features_of(model.resize_frames(4 * repeat), repeat)
            torch.testing.assert_close(model.score(texts, again).similarity, expected, atol=1e-5, rtol=0)
            torch.testing.assert_close(again.coarse_embeds, features.coarse_embeds, atol=1e-5, rtol=0)


@OPTIONS
def test_it_scores_trains_and_is_saved(make_model, tmp_path, options):
    model, texts = randomise_fusion(make_model(**options)), units(2, DIM, seed=2)
    model.resize_frames(8)
    features = features_of(model, 2)
    reference = model.score(texts, features, method="reference").similarity
    torch.testing.assert_close(model.score(texts, features).similarity, reference, atol=1e-5, rtol=0)
    model.train().compute_losses(texts, features).loss.backward()
    rows = [weight for name, weight in model.named_parameters() if name in PER_FRAME and weight.grad is not None]
    assert rows and all(len(weight) == 8 and weight.grad.any() for weight in rows)
    model.eval().save_pretrained(tmp_path)
    again = TCDModel.from_pretrained(tmp_path)
    torch.testing.assert_close(again.score(texts, features_of(again, 2)).similarity, reference, atol=1e-5, rtol=0)


def test_the_same_number_changes_nothing_and_none_is_refused(make_model):
    model = make_model(randomise=True)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    assert model.resize_frames(4) is model
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    with pytest.raises(ValueError, match="1 or more, got 0"):
        model.resize_frames(0)
