"""Scores of (text, video) pairs: gate, fuse, distil, match (TCD sections 2 and 4-6)."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.utils import ModelOutput

from .distillation import masked_mean
from .factorized_scoring import factorized_scores
from .gating import text_condition_weights, visible_windows

__all__ = ["TCDScores", "pair_scores"]

# Elements of the largest tensor that scoring makes at a time.
BLOCK_ELEMENTS = 2**22


@dataclass
class TCDScores(ModelOutput):
    """
    Scores of every pair, float32 cosines in [-1, 1].

    Args:
        similarity (`torch.FloatTensor` of shape `(num_texts, num_videos)`):
            Mean of the three parts; the text-video part alone where the model does not read OCR.
        text_video (`torch.FloatTensor` of shape `(num_texts, num_videos)`): text against the gated frames.
        text_ocr (`torch.FloatTensor` of shape `(num_texts, num_videos)`, *optional*): text against the gated windows.
        text_hybrid (`torch.FloatTensor` of shape `(num_texts, num_videos)`, *optional*): text against the hybrid clue.
    """

    similarity: torch.FloatTensor | None = None
    text_video: torch.FloatTensor | None = None
    text_ocr: torch.FloatTensor | None = None
    text_hybrid: torch.FloatTensor | None = None


def pair_scores(model, text_embeds: torch.Tensor, video_features, method: str) -> TCDScores:
    """
    Scores of all pairs, in blocks of texts and videos, so that memory stays bounded whatever their numbers.

    Args:
        model ([`TCDModel`]): gives the gate's scale and the modules.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        video_features ([`TCDVideoFeatures`]): of `num_videos` videos.
        method (`str`): `"reference"`, the method as written, pair by pair; or `"factorized"`.

    Returns:
        [`TCDScores`] of shape `(num_texts, num_videos)`.
    """
    num_videos, num_frames, dim = video_features.frame_embeds.shape
    heads = model.config.fusion_num_heads
    factorized = method == "factorized"
    pair_elements = heads * num_frames * max(16, num_frames) if factorized else num_frames * dim
    table_elements = 5 * heads * num_frames * dim  # of one video, while its tables are computed
    texts_per_block = max(1, min(len(text_embeds), int((BLOCK_ELEMENTS / pair_elements) ** 0.5)))
    videos_per_block = max(1, BLOCK_ELEMENTS // max(texts_per_block * pair_elements, table_elements))

    score_block = factorized_scores if factorized else reference_scores
    if torch.is_grad_enabled() and texts_per_block * videos_per_block < len(text_embeds) * num_videos:
        # Autograd would hold every block's features until the backward pass; computed again there, it holds one's.
        score_block = partial(checkpoint, score_block, use_reentrant=False)
    columns = []
    for videos in video_features.split(videos_per_block):
        if factorized and videos.scoring_tables is None:
            videos = model.precompute(videos)
        blocks = [score_block(model, texts, videos) for texts in text_embeds.split(texts_per_block)]
        columns.append({part: torch.cat([block[part] for block in blocks]) for part in blocks[0]})
    return TCDScores(**{part: torch.cat([column[part] for column in columns], dim=1) for part in columns[0]})


def reference_scores(model, text_embeds: torch.Tensor, videos) -> dict[str, torch.Tensor]:
    """The parts of [`TCDScores`], every text against every video: the right half of the pipeline figure."""
    config, scale = model.config, model.logit_scale.exp()
    # Similarities are computed in float32 whatever the model's dtype; modules with weights run in their own.
    text = text_embeds.float()
    frame_weights = text_condition_weights(text, videos.frame_embeds, scale, config.text_condition_temperature)
    if not config.use_ocr:
        text_video = cosine(text, (frame_weights[..., None] * videos.fused_frame_embeds.float()).mean(dim=-2))
        return {"similarity": text_video, "text_video": text_video}

    mask = visible_windows(videos.ocr_mask)
    window_weights = text_condition_weights(text, videos.ocr_embeds, scale, config.text_condition_temperature, mask)
    mask = mask.expand(len(text), -1, -1)  # (num_texts, num_videos, num_frames)
    frames = frame_weights[..., None] * videos.fused_frame_embeds.float()  # (num_texts, num_videos, num_frames, dim)
    windows = window_weights[..., None] * videos.fused_ocr_embeds.float()
    if config.use_co_attention and config.text_condition == "before":
        frames, windows, _ = in_pairs(model.co_attention, model.dtype, frames, windows, mask)

    video_clue, ocr_clue = frames.mean(dim=-2), masked_mean(windows, mask)
    if model.distillation is not None:
        hybrid_clue = in_pairs(model.distillation, model.dtype, frames, windows, mask)
    else:
        hybrid_clue = (video_clue + ocr_clue) / 2
    text_video, text_ocr, text_hybrid = (cosine(text, clue) for clue in (video_clue, ocr_clue, hybrid_clue))
    similarity = (text_video + text_ocr + text_hybrid) / 3
    return {"similarity": similarity, "text_video": text_video, "text_ocr": text_ocr, "text_hybrid": text_hybrid}


def cosine(text_embeds: torch.Tensor, video_embeds: torch.Tensor) -> torch.Tensor:
    """Cosine of text `t` `(num_texts, dim)` and its own view of video `b` `(num_texts, num_videos, dim)`."""
    return torch.einsum("td,tbd->tb", text_embeds, nn.functional.normalize(video_embeds, dim=-1))


def in_pairs(module: nn.Module, dtype: torch.dtype, frames: torch.Tensor, windows: torch.Tensor, mask: torch.Tensor):
    """Runs a module that knows single sequences over all pairs of a block. Its tensors come back in pairs, float32."""
    pairs = frames.shape[:2]
    output = module(frames.flatten(0, 1).to(dtype), windows.flatten(0, 1).to(dtype), mask.flatten(0, 1))
    if isinstance(output, tuple):
        return tuple(each.unflatten(0, pairs).float() if torch.is_tensor(each) else each for each in output)
    return output.unflatten(0, pairs).float()
