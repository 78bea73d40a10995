"""Losses of both interactions: against their parts, numpy, and the oracle of test_coarse_to_fine.py."""

import math

import numpy as np
import pytest
import torch

from tcd_hf.modeling.calibration import CalibrationLoss
from tests.conftest import clip_inputs
from tests.modeling.test_coarse_to_fine import DIM, MIXES, Oracle, symmetric_cross_entropy


@pytest.mark.parametrize("options", [{}, {"calibration_weight": 0.5}, {"use_calibration": False}], ids=str)
def test_the_loss_is_the_weighted_sum_of_its_parts(make_model, options):
    model, inputs = make_model(randomise=True, **options), clip_inputs(num_texts=4, num_videos=4)
    with torch.no_grad():
        output = model(**inputs, return_loss=True)
    torch.testing.assert_close(output.logits_per_text, model(**inputs).logits_per_text, atol=1e-5, rtol=1e-5)
    rows = output.logits_per_text.log_softmax(dim=1).diag().mean()
    columns = output.logits_per_text.log_softmax(dim=0).diag().mean()
    torch.testing.assert_close(output.contrastive_loss, -(rows + columns) / 2)
    recall = 0.2 * output.coarse_loss + 0.001 * output.pearson_loss
    assert recall > 0
    if not model.config.use_calibration:
        assert output.calibration_loss is None
        torch.testing.assert_close(output.loss, output.contrastive_loss + recall)
        return
    features = output.video_features
    temperature = math.exp(-model.logit_scale.item())
    calibration = CalibrationLoss()(features.frame_embeds, features.ocr_embeds, features.ocr_mask.bool(), temperature)
    torch.testing.assert_close(output.calibration_loss, calibration)
    weight = options.get("calibration_weight", 0.1)
    torch.testing.assert_close(output.loss, output.contrastive_loss + weight * calibration + recall)


def test_coarse_and_pearson_loss_of_tcd(make_model):
    options = {"coarse_loss_weight": 0.3, "pearson_weight": 0.02, "pearson_video_weight": 0.5}
    model, inputs = make_model(randomise=True, **options), clip_inputs(num_texts=4, num_videos=4)
    with torch.no_grad():
        output = model(**inputs, return_loss=True)
    texts, videos = (each.double().numpy() for each in (output.text_embeds, output.video_features.coarse_embeds))
    logits = math.exp(model.logit_scale.item()) * texts @ model.coarse_projection.weight.detach().double().numpy().T
    assert output.coarse_loss.item() == pytest.approx(symmetric_cross_entropy(logits @ videos.T), rel=1e-5)
    correlations = np.diag(np.corrcoef(texts, videos, rowvar=False)[:DIM, DIM:])
    assert output.pearson_loss.item() == pytest.approx(0.5 * 0.14 * ((correlations - 1) ** 2).sum(), rel=1e-5)
    parts = output.contrastive_loss + 0.1 * output.calibration_loss
    parts = parts + 0.3 * output.coarse_loss + 0.02 * output.pearson_loss
    torch.testing.assert_close(output.loss, parts)


@MIXES
def test_losses_of_tib_equal_the_oracle(make_model, options):
    given = {"pearson_tib_patch_weight": 0.7, "pearson_weight": 0.01, "training_patch_weight": 0.4}
    model, inputs = make_model(randomise=True, **options, **given), clip_inputs(num_texts=4, num_videos=4)
    with torch.no_grad():
        output = model.train()(**inputs, return_loss=True)
        evaluated = model.eval()(**inputs, return_loss=True)
    oracle = Oracle(model, output.text_embeds, output.video_features)
    expected = oracle.losses(model.logit_scale.exp().item())
    assert output.calibration_loss is None
    for name, value in expected.items():
        assert output[name].item() == pytest.approx(value, rel=1e-4), name
        assert evaluated[name].item() == pytest.approx(value, rel=1e-4), name
    # What the output shows is the score that ranks, gated for each pair.
    torch.testing.assert_close(output.logits_per_text, model(**inputs).logits_per_text, atol=1e-5, rtol=1e-5)
