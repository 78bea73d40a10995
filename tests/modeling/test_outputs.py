"""What outputs promise: which fields are always there, and how one asks for the others."""

import pytest
import torch

from tcd_hf.modeling.outputs import TCDTextFeatures, TCDVideoFeatures


def test_parts_of_ocr_are_there_or_refused():
    embeds, fused, mask = torch.zeros(2, 3, 4), torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    features = TCDVideoFeatures(frame_embeds=embeds, ocr_embeds=embeds, fused_ocr_embeds=fused, ocr_mask=mask)
    assert all(part is given for part, given in zip(features.ocr_parts(), (embeds, fused, mask), strict=True))
    with pytest.raises(ValueError, match="hold no OCR captions"):
        TCDVideoFeatures(frame_embeds=embeds).ocr_parts()


def test_fields_that_are_not_given_are_none():
    features = TCDTextFeatures(pooler_output=torch.zeros(2, 4))
    assert list(features) == ["pooler_output"] and features.last_hidden_state is None
    assert TCDVideoFeatures().frame_embeds is None
