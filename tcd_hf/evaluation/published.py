"""Numbers as other papers count them, for comparison with theirs. None of them is ours: see [`retrieval_ranks`]."""

from collections.abc import Iterable, Sequence
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from tcd_hf.choices import ScoreNormalisation
from tcd_hf.evaluation.metrics import check_matrix, own_scores, retrieval_ranks, row_blocks

__all__ = ["check_normalisations", "clip4clip_ranks", "dual_softmax_ranks", "qb_norm_ranks"]

QB_NORM_BETA = 20.0  # inverse temperature of its published code


def clip4clip_ranks(similarity: ArrayLike, text_to_video: ArrayLike) -> dict[str, np.ndarray]:
    """
    Ranks as CLIP4Clip counts them, and all that came after it, where videos have several captions.

    From video to text, the candidates are not texts but videos' captions together: the score of a video with a group
    of captions is the highest among them, and its rank `1 + other groups scored higher`. Where videos have ten captions
    each this is the easier task: nine texts of a wrong group count once. Ties count as ours do, by half.

    Args:
        similarity, text_to_video: see [`retrieval_ranks`].

    Returns:
        `dict[str, np.ndarray]`: `t2v_clip4clip` of shape `(num_texts,)`, our own ranks, of which their median is the
        lower of the two in the middle; and `v2t_clip4clip` of shape `(num_videos,)`, NaN for a video without a text.
        Empty where no video has several texts: then both are ours.
    """
    similarity, text_to_video = check_matrix(similarity, text_to_video)
    order = np.argsort(text_to_video, kind="stable")
    described, starts, counts = np.unique(text_to_video[order], return_index=True, return_counts=True)
    if counts.max() == 1:
        return {}
    _, best_own = own_scores(similarity, text_to_video)
    higher, tied = np.zeros(similarity.shape[1]), np.zeros(similarity.shape[1])
    ends = np.append(starts[1:], len(order))
    for groups in row_blocks(similarity[: len(described)]):
        first, last = starts[groups][0], ends[groups][-1]
        best = np.maximum.reduceat(similarity[order[first:last]], starts[groups] - first, axis=0)
        higher += (best > best_own).sum(axis=0)
        tied += (best == best_own).sum(axis=0)
    ranks = np.full(similarity.shape[1], np.nan)
    ranks[described] = (1 + higher + (tied - 1) / 2)[described]
    return {"t2v_clip4clip": retrieval_ranks(similarity, text_to_video)["t2v"], "v2t_clip4clip": ranks}


def dual_softmax_ranks(similarity: ArrayLike, text_to_video: ArrayLike, scale: float) -> dict[str, np.ndarray]:
    """
    Ranks after a dual softmax (CAMoE, arXiv 2109.04290): each score times its share of all queries' scores with the
    same candidate, `s * softmax(scale * s)` over the queries.

    This is no retrieval: the score of a query depends on what all other queries of the test ask for, and gains from
    knowing that each candidate answers one of them. Nobody who searches has that.

    Args:
        similarity, text_to_video: see [`retrieval_ranks`].
        scale (`float`): what makes logits of similarities.

    Returns:
        `dict[str, np.ndarray]`: `t2v_dual_softmax` and `v2t_dual_softmax`, as [`retrieval_ranks`] gives them.
    """
    similarity, text_to_video = check_matrix(similarity, text_to_video)
    return {
        "t2v_dual_softmax": retrieval_ranks(similarity * _softmax(scale * similarity, 0), text_to_video)["t2v"],
        "v2t_dual_softmax": retrieval_ranks(similarity * _softmax(scale * similarity, 1), text_to_video)["v2t"],
    }


def qb_norm_ranks(
    similarity: ArrayLike, text_to_video: ArrayLike, bank: Iterable[np.ndarray], beta: float = QB_NORM_BETA
) -> dict[str, np.ndarray]:
    """
    Ranks from text to video after query-bank normalisation with its dynamic inverted softmax (arXiv 2112.12777):
    `exp(beta s) / sum over the bank of exp(beta s)`, for those texts whose first video is the first of a text of the
    bank, too; others keep their scores.

    The bank is of training captions, so that no text knows of another that is asked. Even so this is no retrieval by a
    model alone: videos that are near to many training captions are put back, all at once, and a collection that grows
    has to meet the whole bank again.

    Args:
        similarity, text_to_video: see [`retrieval_ranks`].
        bank (iterable of arrays `(num_bank_texts, num_videos)`): scores of the texts of the bank, in blocks.
        beta (`float`, *optional*, defaults to 20)

    Returns:
        `dict[str, np.ndarray]`: `t2v_qb_norm`, as [`retrieval_ranks`] gives it.
    """
    similarity, text_to_video = check_matrix(similarity, text_to_video)
    log_sums, hubs = np.full(similarity.shape[1], -np.inf), np.zeros(similarity.shape[1], bool)
    for block in bank:
        log_sums = np.logaddexp(log_sums, np.logaddexp.reduce(beta * block.astype(np.float64), axis=0))
        hubs[block.argmax(axis=1)] = True
    normalised = similarity - log_sums / beta  # of the same order as the quotient
    led_by_hub = hubs[similarity.argmax(axis=1)]
    scores = np.where(led_by_hub[:, None], normalised, similarity)
    return {"t2v_qb_norm": retrieval_ranks(scores, text_to_video)["t2v"]}


def check_normalisations(also: Sequence[ScoreNormalisation], mode: str) -> None:
    """Refuses what is no [`ScoreNormalisation`], and a mode that does not score all pairs."""
    unknown = [each for each in also if each not in get_args(ScoreNormalisation)]
    if unknown:
        raise ValueError(f"also may name {', '.join(map(repr, get_args(ScoreNormalisation)))}, got {unknown}.")
    if also and mode == "two-stage":
        raise ValueError(
            f"{' and '.join(also)} need the scores of all pairs, of which the mode 'two-stage' computes some. Use the "
            "mode 'full' or 'coarse'."
        )


def _softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)
