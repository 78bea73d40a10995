"""Scores of (text, video) pairs as the method is written: gate, fuse, distil, match (TCD sections 2 and 4-6)."""

from typing import Any

import torch
from torch import nn

from .distillation import masked_mean
from .gating import text_condition_weights, visible_windows
from .outputs import TCDVideoFeatures
from .pair_scorer import PairScorer

__all__ = ["ReferenceScorer", "cosine"]


class ReferenceScorer(PairScorer):
    """
    Runs the right half of the pipeline figure for every pair. Slow.

    Args:
        model ([`TCDModel`]): gives the gate's scale and the modules.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
    """

    def __init__(self, model, text_embeds: torch.Tensor):
        super().__init__(model, text_embeds)
        self.scale, self.dtype = model.logit_scale.exp(), model.dtype
        self.co_attention, self.distillation = model.co_attention, model.distillation

    def pair_elements(self, videos: TCDVideoFeatures) -> int:
        """Elements of one pair's gated frames."""
        return videos.frame_embeds[0].numel()

    def __call__(self, texts: slice, videos: TCDVideoFeatures) -> dict[str, torch.Tensor]:
        """See [`PairScorer`]; `text_ocr` and `text_hybrid` are there where the model reads OCR."""
        text, config = self.text[texts], self.config
        frame_mask = videos.visible_frames()
        frame_weights = self._gate(text, videos.frame_embeds, frame_mask)
        frame_mask = frame_mask.expand(len(text), -1, -1)  # (num_texts, num_videos, num_frames)
        if not config.reads_ocr:
            text_video = cosine(text, masked_mean(frame_weights[..., None] * videos.fused_frame_embeds, frame_mask))
            return {"similarity": text_video, "text_video": text_video}

        ocr_embeds, fused_ocr_embeds, ocr_mask = videos.ocr_parts()
        mask = visible_windows(ocr_mask)
        window_weights = self._gate(text, ocr_embeds, mask)
        mask = mask.expand(len(text), -1, -1)  # (num_texts, num_videos, num_frames)
        frames = frame_weights[..., None] * videos.fused_frame_embeds  # (num_texts, num_videos, num_frames, dim)
        windows = window_weights[..., None] * fused_ocr_embeds
        if self.co_attention is not None and config.text_condition == "before":
            frames, windows, _ = in_pairs(self.co_attention, self.dtype, frames, windows, mask, frame_mask)

        video_clue, ocr_clue = masked_mean(frames, frame_mask), masked_mean(windows, mask)
        if self.distillation is not None:
            hybrid_clue = in_pairs(self.distillation, self.dtype, frames, windows, mask, frame_mask)
        else:
            hybrid_clue = (video_clue + ocr_clue) / 2
        text_video, text_ocr, text_hybrid = (cosine(text, clue) for clue in (video_clue, ocr_clue, hybrid_clue))
        similarity = (text_video + text_ocr + text_hybrid) / 3
        return {"similarity": similarity, "text_video": text_video, "text_ocr": text_ocr, "text_hybrid": text_hybrid}

    def _gate(self, text: torch.Tensor, moments: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return text_condition_weights(text, moments, self.scale, self.config.text_condition_temperature, mask)


def cosine(text_embeds: torch.Tensor, video_embeds: torch.Tensor) -> torch.Tensor:
    """Cosine of text `t` `(num_texts, dim)` and its own view of video `b` `(num_texts, num_videos, dim)`."""
    return torch.einsum("td,tbd->tb", text_embeds, nn.functional.normalize(video_embeds, dim=-1))


def in_pairs(
    module: nn.Module, dtype: torch.dtype, frames: torch.Tensor, windows: torch.Tensor, *masks: torch.Tensor
) -> Any:
    """Runs a module that knows single sequences over all pairs of a block; `masks` are those of windows and of frames.
    Its tensors come back in pairs, float32."""
    pairs = frames.shape[:2]
    of_pairs = [mask.flatten(0, 1) for mask in masks]
    output = module(frames.flatten(0, 1).to(dtype), windows.flatten(0, 1).to(dtype), *of_pairs)
    if isinstance(output, tuple):
        return tuple(each.unflatten(0, pairs).float() if torch.is_tensor(each) else each for each in output)
    return output.unflatten(0, pairs).float()
