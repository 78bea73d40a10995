"""Scores of (text, video) pairs: gate, fuse, distil, match (TCD sections 2 and 4-6), in blocks that bound memory."""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .coarse_to_fine import MixedScorer, rerank_weights
from .distillation import masked_mean
from .factorized_scoring import Answers, FactorizedScorer
from .gating import text_condition_weights, visible_windows
from .outputs import TCDScores, TCDVideoFeatures

__all__ = ["candidate_scores", "pair_scores"]

# Elements of the largest tensor that scoring makes at a time; and of the factorised scorer's largest tensor of pairs,
# which is read again and again and should stay in a processor's own cache.
BLOCK_ELEMENTS, CACHE_ELEMENTS = 2**22, 2**19


def pair_scores(
    model,
    text_embeds: torch.Tensor,
    video_features: TCDVideoFeatures,
    method: str | None = None,
    weights: dict[str, float] | None = None,
    answers: tuple[Answers, Answers] | None = None,
) -> TCDScores:
    """
    Scores of all pairs, in blocks of texts and videos, so that memory stays bounded whatever their numbers.

    Args:
        model ([`TCDModel`]): gives the gate's scale and the modules.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        video_features ([`TCDVideoFeatures`]): of `num_videos` videos.
        method (`str`, *optional*): see [`~TCDModel.score`].
        weights (`dict[str, float]`, *optional*): with `interaction="tib"`, the mix, see [`MixedScorer`]; the one that
            ranks by default.
        answers (`tuple[Answers, Answers]`, *optional*): of [`clue_answers`], where these weights score again and again.

    Returns:
        [`TCDScores`] of shape `(num_texts, num_videos)`.

    Raises:
        ValueError: see [`~TCDModel.score`].
    """
    method = scoring_method(model, text_embeds, video_features, method)
    num_texts, num_videos = len(text_embeds), len(video_features.frame_embeds)
    pair_elements, allowed = largest_of_a_pair(model.config, video_features, method)
    texts_per_block = max(1, min(num_texts, int((allowed / pair_elements) ** 0.5)))
    videos_per_block = max(1, allowed // (texts_per_block * pair_elements))
    videos_per_block = min(videos_per_block, videos_at_a_time(model.config, video_features))

    score_block = block_scorer(model, text_embeds, method, weights, answers)
    if torch.is_grad_enabled() and texts_per_block * videos_per_block < num_texts * num_videos:
        # Autograd would hold every block's features until the backward pass; computed again there, it holds one's.
        score_block = partial(checkpoint, score_block, use_reentrant=False)
    blocks_of_texts = [slice(start, start + texts_per_block) for start in range(0, num_texts, texts_per_block)]
    columns = []
    for videos in video_features.split(videos_per_block):
        videos = prepare(model, videos, method, weights)
        blocks = [score_block(texts, videos) for texts in blocks_of_texts]
        columns.append({part: torch.cat([block[part] for block in blocks]) for part in blocks[0]})
    return TCDScores(**{part: torch.cat([column[part] for column in columns], dim=1) for part in columns[0]})


def candidate_scores(
    model, text_embeds: torch.Tensor, video_features: TCDVideoFeatures, candidates: torch.Tensor
) -> TCDScores:
    """
    Scores of each text with its own candidates, whose features are gathered in blocks, so that memory stays bounded.

    Args:
        model, text_embeds, video_features: see [`pair_scores`].
        candidates (`torch.LongTensor` of shape `(num_texts, num_candidates)`): rows of `video_features`; -1 for none.

    Returns:
        [`TCDScores`] of shape `(num_texts, num_candidates)`, `-inf` where there is no candidate.

    Raises:
        ValueError: see [`~TCDModel.score_pairs`].
    """
    method = scoring_method(model, text_embeds, video_features)
    check_candidates(candidates, len(text_embeds), len(video_features.frame_embeds))
    none = (candidates < 0).to(text_embeds.device)
    rows = candidates.clamp(min=0).to(text_embeds.device)
    score_block = block_scorer(model, text_embeds, method)
    blocks = []
    for text in range(len(text_embeds)):
        for block in rows[text].split(videos_at_a_time(model.config, video_features)):
            videos = video_features.map_videos(lambda values, block=block: values.index_select(0, block))
            blocks.append(score_block(slice(text, text + 1), prepare(model, videos, method)))
    scores = {part: torch.cat([block[part][0] for block in blocks]).view(none.shape) for part in blocks[0]}
    return TCDScores(**{part: score.masked_fill(none, -torch.inf) for part, score in scores.items()})


def block_scorer(model, text_embeds: torch.Tensor, method: str, weights: dict[str, float] | None = None, answers=None):
    """
    What scores the texts of a `slice` against a block of videos that [`prepare`] made ready: a function of both, which
    gives a `dict` of the parts of [`TCDScores`].
    """
    text = text_embeds.float()  # similarities are computed in float32 whatever the model's dtype
    if model.config.interaction == "tib":
        return MixedScorer(model, text, rerank_weights(model.config) if weights is None else weights, method)
    if method == "reference":
        return lambda texts, videos: reference_scores(model, text[texts], videos)
    return FactorizedScorer(model, text, answers)


def prepare(model, videos: TCDVideoFeatures, method: str, weights: dict[str, float] | None = None) -> TCDVideoFeatures:
    """Videos in float32, and with their tables if the method reads them: once, however many texts they meet."""
    videos = videos.map_videos(lambda rows: rows.float() if rows.is_floating_point() else rows)
    mixes_untabled = weights is not None and "tib_frame" not in weights
    needs_tables = method == "factorized" and videos.scoring_tables is None and not mixes_untabled
    return model.precompute(videos) if needs_tables else videos


def scoring_method(
    model, text_embeds: torch.Tensor, video_features: TCDVideoFeatures, method: str | None = None
) -> str:
    """The method that scores these; refuses what would fail later."""
    config = model.config
    drops = model.training and config.fusion_dropout > 0  # a pair then has a clue of its own
    applies = config.interaction == "tib" or (config.text_condition == "after" and not drops)
    if method is None:
        method = "factorized" if applies else "reference"
    if method not in ("reference", "factorized"):
        raise ValueError(f'`method` must be "reference" or "factorized", got {method!r}.')
    if method == "factorized" and not applies:
        raise ValueError(
            'Factorised scoring needs `text_condition="after"`, and no dropout (`model.eval()`, or '
            f'`fusion_dropout=0`); got "{config.text_condition}", training={model.training}, '
            f'fusion_dropout={config.fusion_dropout}. Use `method="reference"`.'
        )
    if not len(text_embeds) or not len(video_features.frame_embeds):
        raise ValueError(
            f"Nothing to score: {len(text_embeds)} texts against {len(video_features.frame_embeds)} videos."
        )
    if text_embeds.ndim != 2 or text_embeds.shape[1] != config.projection_dim:
        raise ValueError(
            f"`text_embeds` must have shape (num_texts, {config.projection_dim}), got {tuple(text_embeds.shape)}."
        )
    if config.reads_ocr and video_features.fused_ocr_embeds is None:
        raise ValueError(
            "This model reads OCR captions (`use_ocr=True`), but the video features hold none: they were made by a "
            "model without OCR."
        )
    if config.interaction == "tib" and config.use_patch_features and video_features.patch_embeds is None:
        raise ValueError(
            "This model scores patches (`use_patch_features=True`), but the video features hold none: they were made "
            "by a model without patch features."
        )
    return method


def largest_of_a_pair(config, video_features: TCDVideoFeatures, method: str) -> tuple[int, int]:
    """Elements of a pair in the largest tensor of pairs, and how many such a tensor may have."""
    num_moments, dim = video_features.frame_embeds.shape[1:]
    mixes = config.interaction == "tib"
    if mixes and config.use_patch_features:
        num_moments *= video_features.patch_embeds.shape[2]
    if method == "reference":
        return num_moments * dim, BLOCK_ELEMENTS
    if mixes:  # gated patches are summed for each pair
        return max(num_moments, dim * config.use_patch_features), BLOCK_ELEMENTS
    frames_ask = config.use_cross_attention and not config.use_distillation
    return config.fusion_num_heads * num_moments * (num_moments if frames_ask else 4), CACHE_ELEMENTS


def videos_at_a_time(config, video_features: TCDVideoFeatures) -> int:
    """Videos whose features, and what their tables are computed from, are a block."""
    elements = sum(values[0].numel() for values in video_features.values() if torch.is_tensor(values))
    return max(1, BLOCK_ELEMENTS // (config.fusion_num_heads * elements))


def check_candidates(candidates: torch.Tensor, num_texts: int, num_videos: int):
    if (
        candidates.ndim != 2
        or len(candidates) != num_texts
        or not candidates.shape[1]
        or candidates.dtype != torch.long
    ):
        raise ValueError(
            f"`candidates` must be int64 of shape ({num_texts}, num_candidates), one row and at least one candidate a "
            f"text; got {candidates.dtype} of shape {tuple(candidates.shape)}."
        )
    lowest, highest = candidates.min().item(), candidates.max().item()
    if lowest < -1 or highest >= num_videos:
        raise ValueError(
            f"`candidates` must be rows of the video features, 0 to {num_videos - 1}, or -1 for none; got values from "
            f"{lowest} to {highest}."
        )


def reference_scores(model, text: torch.Tensor, videos: TCDVideoFeatures) -> dict[str, torch.Tensor]:
    """The parts of [`TCDScores`], every text against every video: the right half of the pipeline figure."""
    config, scale = model.config, model.logit_scale.exp()
    frame_weights = text_condition_weights(text, videos.frame_embeds, scale, config.text_condition_temperature)
    if not config.reads_ocr:
        text_video = cosine(text, (frame_weights[..., None] * videos.fused_frame_embeds).mean(dim=-2))
        return {"similarity": text_video, "text_video": text_video}

    mask = visible_windows(videos.ocr_mask)
    window_weights = text_condition_weights(text, videos.ocr_embeds, scale, config.text_condition_temperature, mask)
    mask = mask.expand(len(text), -1, -1)  # (num_texts, num_videos, num_frames)
    frames = frame_weights[..., None] * videos.fused_frame_embeds  # (num_texts, num_videos, num_frames, dim)
    windows = window_weights[..., None] * videos.fused_ocr_embeds
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
