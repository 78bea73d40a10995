"""Scores of (text, video) pairs in blocks that bound memory, and the choice of what scores them."""

import contextlib
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from .checks import check_candidates, check_embeddings
from .coarse_to_fine import MixedScorer, rerank_weights
from .factorized_scoring import ClueAttention, FactorizedScorer
from .outputs import TCDScores, TCDVideoFeatures
from .pair_scorer import PairScorer
from .reference_scoring import ReferenceScorer

__all__ = ["candidate_scores", "full_precision", "make_scorer", "pair_scores"]

# Elements of the features of a block of videos, and of what their tables are computed from.
VIDEO_ELEMENTS = 2**22


def make_scorer(
    model,
    text_embeds: torch.Tensor,
    video_features: TCDVideoFeatures,
    method: str | None = None,
    clues: tuple[ClueAttention, ClueAttention] | None = None,
) -> PairScorer:
    """
    What scores these texts with these videos.

    Args:
        model ([`TCDModel`]): gives the weights and their configuration.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        video_features ([`TCDVideoFeatures`]): of `num_videos` videos.
        method (`str`, *optional*): `"reference"` or `"factorized"`, see [`~TCDModel.score`].
        clues (`tuple[ClueAttention, ClueAttention]`, *optional*): what [`clue_attention`] gives of the model, where the
            same weights score again and again. Only factorised scoring reads them.

    Returns:
        [`PairScorer`], for [`pair_scores`] or [`candidate_scores`].

    Raises:
        ValueError: see [`~TCDModel.score`].
    """
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
    check_embeddings(config, text_embeds, video_features)
    if config.interaction == "tib":
        return MixedScorer(model, text_embeds, rerank_weights(config), as_written=method == "reference")
    if method == "reference":
        return ReferenceScorer(model, text_embeds)
    return FactorizedScorer(model, text_embeds, clues)


def pair_scores(scorer: PairScorer, video_features: TCDVideoFeatures) -> TCDScores:
    """
    Scores of all pairs, in blocks of texts and videos, so that memory stays bounded whatever their numbers.

    Args:
        scorer ([`PairScorer`]): of `num_texts` texts, see [`make_scorer`].
        video_features ([`TCDVideoFeatures`]): of `num_videos` videos.

    Returns:
        [`TCDScores`] of shape `(num_texts, num_videos)`.
    """
    num_texts, num_videos = len(scorer.text), len(video_features.frame_embeds)
    pair_elements, allowed = scorer.pair_elements(video_features), scorer.block_elements
    texts_per_block = max(1, min(num_texts, int((allowed / pair_elements) ** 0.5)))
    videos_per_block = max(1, allowed // (texts_per_block * pair_elements))
    videos_per_block = min(videos_per_block, videos_at_a_time(scorer, video_features))

    score_block = scorer
    if torch.is_grad_enabled() and texts_per_block * videos_per_block < num_texts * num_videos:
        # Autograd would hold every block's features until the backward pass; computed again there, it holds one's.
        score_block = partial(checkpoint, scorer, use_reentrant=False)
    blocks_of_texts = [slice(start, start + texts_per_block) for start in range(0, num_texts, texts_per_block)]
    columns = []
    for videos in video_features.split(videos_per_block):
        videos = scorer.prepare(videos)
        blocks = [score_block(texts, videos) for texts in blocks_of_texts]
        columns.append({part: torch.cat([block[part] for block in blocks]) for part in blocks[0]})
    return TCDScores(**{part: torch.cat([column[part] for column in columns], dim=1) for part in columns[0]})


def candidate_scores(scorer: PairScorer, video_features: TCDVideoFeatures, candidates: torch.Tensor) -> TCDScores:
    """
    Scores of each text with its own candidates, whose features are gathered in blocks, so that memory stays bounded.

    Args:
        scorer, video_features: see [`pair_scores`].
        candidates (`torch.LongTensor` of shape `(num_texts, num_candidates)`): rows of `video_features`; -1 for none.

    Returns:
        [`TCDScores`] of shape `(num_texts, num_candidates)`, `-inf` where there is no candidate.

    Raises:
        ValueError: candidates of another shape or type, or that are no rows of `video_features`.
    """
    check_candidates(candidates, len(scorer.text), len(video_features.frame_embeds))
    none = (candidates < 0).to(scorer.text.device)
    rows = candidates.clamp(min=0).to(scorer.text.device)
    blocks = []
    for text in range(len(rows)):
        for block in rows[text].split(videos_at_a_time(scorer, video_features)):
            videos = video_features.map_videos(lambda values, block=block: values.index_select(0, block))
            blocks.append(scorer(slice(text, text + 1), scorer.prepare(videos)))
    scores = {part: torch.cat([block[part][0] for block in blocks]).view(none.shape) for part in blocks[0]}
    return TCDScores(**{part: score.masked_fill(none, -torch.inf) for part, score in scores.items()})


def videos_at_a_time(scorer: PairScorer, video_features: TCDVideoFeatures) -> int:
    """How many videos are a block, by their features and what their tables are computed from."""
    elements = sum(values[0].numel() for values in video_features.values() if torch.is_tensor(values))
    return max(1, VIDEO_ELEMENTS // (scorer.config.fusion_num_heads * elements))


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Similarities, ranks and losses are float32, under autocast too."""
    return torch.autocast(device_type=device.type, enabled=False)
