"""OCR as StarVR reads it: every reading a token of its own, against one token for the whole video."""

import torch
from torch import nn

from tcd_hf import TCDModel
from tcd_hf.modeling.co_attention import CrossAttention
from tcd_hf.modeling.distillation import masked_mean
from tcd_hf.modeling.gating import text_condition_weights, visible_windows
from tcd_hf.modeling.outputs import TCDScores, TCDVideoFeatures
from tcd_hf.modeling.reference_scoring import cosine

__all__ = ["IsolatedTokenModel"]

PAIR_ELEMENTS = 2**24  # of the largest tensor of pairs


class IsolatedTokenModel(TCDModel):
    """
    A text weighs frames and tokens as in TCD. The mean of the weighed frames is the video token, that of the weighed
    OCR tokens the text token; the video token reads the OCR tokens, and they read the video token, by cross-attentions
    with a residual that start at zero. The similarity is the mean of the cosines with the video token, the text token,
    and the mean of both. Coarse vector, losses and conventions for videos without text are TCD's.

    There are any number of tokens a video, in no order, so nothing relates them to frames.

    Args:
        config ([`TCDConfig`]): without co-attention, distillation and calibration.
    """

    def __init__(self, config):
        super().__init__(config)
        self.video_attention = CrossAttention(config, neutral={"out_proj": "zeros"})
        # A single key has all the attention: what tokens read off the video token is a linear map of it.
        self.ocr_attention = nn.Linear(config.projection_dim, config.projection_dim)
        self.ocr_attention.neutral_start = "zeros"
        self.post_init()

    def fuse(self, frame_embeds: torch.Tensor, ocr_embeds: torch.Tensor, ocr_mask: torch.Tensor) -> TCDVideoFeatures:
        """Makes the coarse vector of frames and of texts, neither of which sees the other.

        Args:
            frame_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`): L2-normalised.
            ocr_embeds (`torch.FloatTensor` of shape `(batch_size, max_tokens, dim)`): L2-normalised.
            ocr_mask (`torch.BoolTensor` of shape `(batch_size, max_tokens)`): tokens that are there.
        """
        video_half = nn.functional.normalize(frame_embeds.mean(dim=1), dim=-1)
        ocr_half = nn.functional.normalize(masked_mean(ocr_embeds, visible_windows(ocr_mask)), dim=-1)
        coarse_embeds = video_half + ocr_half * ocr_mask.any(dim=-1, keepdim=True)
        return TCDVideoFeatures(
            frame_embeds=frame_embeds,
            ocr_embeds=ocr_embeds,
            ocr_mask=ocr_mask,
            coarse_embeds=nn.functional.normalize(coarse_embeds, dim=-1),
        )

    def score(self, text_embeds: torch.Tensor, video_features: TCDVideoFeatures) -> TCDScores:
        """Scores of all pairs `(num_texts, num_videos)`."""
        num_videos, max_tokens, dim = video_features.ocr_embeds.shape
        texts_at_once = max(1, PAIR_ELEMENTS // (num_videos * max(max_tokens, dim)))
        blocks = [self._score(texts, video_features) for texts in text_embeds.split(texts_at_once)]
        return TCDScores(**{part: torch.cat([block[part] for block in blocks]) for part in blocks[0]})

    def _score(self, text: torch.Tensor, videos: TCDVideoFeatures) -> dict[str, torch.Tensor]:
        scale, temperature = self.logit_scale.exp(), self.config.text_condition_temperature
        frames, tokens, mask = videos.frame_embeds, videos.ocr_embeds, visible_windows(videos.ocr_mask)
        frame_weights = text_condition_weights(text, frames, scale, temperature)
        token_weights = text_condition_weights(text, tokens, scale, temperature, mask)
        video_token = torch.einsum("tbn,bnd->btd", frame_weights, frames) / frames.shape[1]
        text_token = torch.einsum("tbk,bkd->btd", token_weights, tokens) / mask.sum(dim=-1)[:, None, None]
        from_tokens, _ = self.video_attention(video_token, tokens, tokens, mask)  # (num_videos, num_texts, dim)
        from_video = self.ocr_attention(video_token)
        video_token, text_token = video_token + from_tokens, text_token + from_video
        clues = {
            "text_video": video_token,
            "text_ocr": text_token,
            "text_hybrid": (video_token + text_token) / 2,
        }
        scores = {part: cosine(text, clue.transpose(0, 1)) for part, clue in clues.items()}
        return {"similarity": sum(scores.values()) / 3, **scores}
