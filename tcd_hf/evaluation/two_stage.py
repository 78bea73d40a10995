"""
Two-stage retrieval (EERCF, AAAI 2024): the coarse scores name candidates, the fine scores rank them. Fine scores are
asked for by pairs, so that there is never a full matrix of them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from tcd_hf.evaluation.metrics import check_matrix, own_scores, retrieval_ranks, row_blocks

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel, TCDVideoFeatures

__all__ = ["pair_scorer", "two_stage_ranks"]

TEXTS_PER_TABLE = 64  # whose candidates are one table for `TCDModel.score_pairs`


def two_stage_ranks(
    coarse: np.ndarray,
    text_to_video: np.ndarray,
    score_pairs: Callable[[np.ndarray, np.ndarray], np.ndarray],
    top_k: int = 50,
) -> dict[str, np.ndarray]:
    """Ranks of the right answers when each query's candidates are ranked by the fine score, the rest by the coarse one.

    Candidates are always ahead of the rest. A query has `top_k` of them, the ones of the highest coarse score; where
    scores tie across that cutoff, all that are tied stay behind it (ours), so that no order of the gallery matters and
    no tie helps. Otherwise queries and ties count as in [`retrieval_ranks`].

    Args:
        coarse (`np.ndarray` of shape `(num_texts, num_videos)`): scores by which candidates are named.
        text_to_video (`np.ndarray` of shape `(num_texts,)`, integers): column of the video that each text describes.
        score_pairs (`Callable`): gives the fine scores `(num_pairs,)` of pairs, from the rows of their texts, in
            ascending order, and the columns of their videos, both int64 of shape `(num_pairs,)`. Called once; no pair
            is listed twice. See [`pair_scorer`].
        top_k (`int`, *optional*, defaults to 50): at least 1.

    Returns:
        `dict[str, np.ndarray]`, float64:

        - `t2v` of shape `(num_texts,)`: each text reranks its own candidate videos.
        - `v2t` of shape `(num_videos,)`: each video reranks its own candidate texts (ours). NaN for a video without a
          text, here and below.
        - `v2t_transposed` of shape `(num_videos,)`: the published way, for comparison. The matrix in which texts
          reranked their videos is read by columns: texts that have the video as a candidate come first.

    Raises:
        ValueError, TypeError: see [`retrieval_ranks`]; and on `top_k` below 1, or fine scores that are NaN or of
            another shape.

    Example:

    ```python
    >>> videos = model.precompute(video_features)
    >>> coarse = model.get_coarse_queries(text_embeds) @ videos.coarse_embeds.T
    >>> ranks = two_stage_ranks(coarse.numpy(), text_to_video, pair_scorer(model, text_embeds, videos))
    ```"""
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}.")
    coarse, text_to_video = check_matrix(coarse, text_to_video)
    num_videos = coarse.shape[1]
    ranks = retrieval_ranks(coarse, text_to_video)
    own, best_own = own_scores(coarse, text_to_video)

    of_texts = np.stack(candidate_pairs(coarse, top_k))
    of_videos = np.stack(candidate_pairs(coarse.T, top_k)[::-1])
    of_videos = of_videos[:, ~np.isnan(ranks["v2t"][of_videos[1]])]  # a video without a text asks for none
    both = np.concatenate([of_texts, of_videos], axis=1)
    listed, inverse = np.unique(both[0] * num_videos + both[1], return_inverse=True)
    fine = np.asarray(score_pairs(*np.divmod(listed, num_videos)))
    if fine.shape != listed.shape or np.isnan(fine).any():
        raise ValueError(
            f"score_pairs must give one score for each of {len(listed)} pairs, and no NaN; got shape {fine.shape}, "
            f"{np.isnan(fine).sum()} NaN."
        )
    of_texts_fine, of_videos_fine = np.split(fine[inverse], [of_texts.shape[1]])

    def reranked(direction, own, pairs, fine):
        queries = pairs[0] if direction == "t2v" else pairs[1]
        right = text_to_video[pairs[0]] == pairs[1]
        return rerank(ranks[direction], own, queries, right, coarse[tuple(pairs)], fine)

    return {
        "t2v": reranked("t2v", own, of_texts, of_texts_fine),
        "v2t": reranked("v2t", best_own, of_videos, of_videos_fine),
        "v2t_transposed": reranked("v2t", best_own, of_texts, of_texts_fine),
    }


def candidate_pairs(scores: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of what scores higher than its row's `top_k + 1`-th highest, row by row."""
    num_columns = scores.shape[1]
    if num_columns <= top_k:
        return np.divmod(np.arange(scores.size), num_columns)
    kth = num_columns - 1 - top_k
    pairs = []
    for rows in row_blocks(scores):
        block = scores[rows]
        cutoff = np.partition(block, kth, axis=1)[:, kth, None]
        queries, columns = np.nonzero(block > cutoff)
        pairs.append((rows.start + queries, columns))
    queries, columns = zip(*pairs, strict=True)
    return np.concatenate(queries), np.concatenate(columns)


def rerank(
    ranks: np.ndarray, own: np.ndarray, queries: np.ndarray, right: np.ndarray, coarse: np.ndarray, fine: np.ndarray
) -> np.ndarray:
    """
    Ranks `(num_queries,)` by the fine score where a right answer is a candidate, by the coarse one where none is; from
    the ranks and the best right answer's score `own` by the coarse score alone, and from candidates: whose they are,
    whether they are right, and both scores, `(num_pairs,)`.
    """

    def count(pairs):
        return np.bincount(queries[pairs], minlength=len(ranks))

    best = np.full(len(ranks), -np.inf)
    np.maximum.at(best, queries[right], fine[right])
    among = 1 + count(~right & (fine > best[queries])) + count(~right & (fine == best[queries])) / 2
    # Read by columns, candidates may have lower coarse scores than the rest. They are ahead of it all the same.
    behind = ranks + count(coarse < own[queries]) + count(coarse == own[queries]) / 2
    return np.where(count(right) > 0, among, behind)


def pair_scorer(
    model: "TCDModel", text_embeds: torch.Tensor, video_features: "TCDVideoFeatures"
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The fine scores of listed pairs, by [`~TCDModel.score_pairs`], whose blocks bound memory.

    Args:
        model ([`TCDModel`]): in evaluation mode.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        video_features ([`TCDVideoFeatures`]): of `num_videos` videos. [`~TCDModel.precompute`] them first: a video is a
            candidate of many texts.

    Returns:
        What [`two_stage_ranks`] takes as `score_pairs`; float32.
    """

    @torch.inference_mode()
    def score_pairs(texts: np.ndarray, videos: np.ndarray) -> np.ndarray:
        rows, starts, counts = np.unique(texts, return_index=True, return_counts=True)
        scores = np.empty(len(texts), dtype=np.float32)
        order = np.argsort(counts, kind="stable")  # texts with about as many candidates make a table with few holes
        for start in range(0, len(rows), TEXTS_PER_TABLE):
            block = order[start : start + TEXTS_PER_TABLE]
            columns = np.arange(counts[block].max())
            pairs, listed = starts[block, None] + columns, columns < counts[block, None]
            candidates = np.full(listed.shape, -1)
            candidates[listed] = videos[pairs[listed]]
            table = model.score_pairs(text_embeds[rows[block]], video_features, torch.from_numpy(candidates))
            scores[pairs[listed]] = table.similarity.cpu().numpy()[listed]
        return scores

    return score_pairs
