"""Retrieval ranks and metrics in both directions, from one similarity matrix."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["compute_retrieval_metrics", "retrieval_ranks", "summarise_ranks"]

RECALL_CUTOFFS = (1, 5, 10, 50)
BLOCK_ELEMENTS = 1 << 22  # scores compared at once: a row block and its two masks stay below some 50 MB


def compute_retrieval_metrics(similarity: ArrayLike, text_to_video: ArrayLike) -> dict[str, float]:
    """Text-to-video and video-to-text retrieval metrics of a similarity matrix.

    Args:
        similarity, text_to_video: see [`retrieval_ranks`], which also states what is a query, and how ties count.

    Returns:
        `dict[str, float]`: the metrics of [`summarise_ranks`] for text to video, prefix `t2v_`, and for video to text,
        prefix `v2t_`. For example `metrics["t2v_R@1"]`.

    Raises:
        ValueError, TypeError: see [`retrieval_ranks`].
    """
    return {
        f"{direction}_{name}": value
        for direction, ranks in retrieval_ranks(similarity, text_to_video).items()
        for name, value in summarise_ranks(ranks).items()
    }


def retrieval_ranks(similarity: ArrayLike, text_to_video: ArrayLike) -> dict[str, np.ndarray]:
    """Ranks of the right answers, from 1, in both directions.

    The rank of a right answer is `1 + candidates scored strictly higher + half of the other candidates tied with it`,
    so a tie is never counted in one's favour and a constant matrix scores no better than chance.

    - Text to video (`t2v`): every text is one query, its own video the one right answer among all videos.
    - Video to text (`v2t`): every video that has a text is one query, and its best-ranked own text counts. Its other
      texts are right answers too: tied with the best one, they do not push it down (data sets repeat captions).
      Videos without a text (distractors) are candidates of the texts, but no queries.

    Besides the matrix, memory is bounded: it is read in blocks of rows, so a memory-mapped one is fine.

    Args:
        similarity (array of shape `(num_texts, num_videos)`, or nested lists):
            Scores, higher is more alike. Any real dtype; compared as it is.
        text_to_video (array of shape `(num_texts,)`, integers, or a list):
            Column of the video that each text describes. Several texts may share one video.

    Returns:
        `dict[str, np.ndarray]`, float64: `t2v` of shape `(num_texts,)`, and `v2t` of shape `(num_videos,)`, NaN for a
        video without a text.

    Raises:
        ValueError: on a NaN, an empty matrix, shapes that do not fit, or a column that does not exist.
        TypeError: when `text_to_video` does not hold integers.
    """
    similarity, text_to_video = check_matrix(similarity, text_to_video)
    num_texts, num_videos = similarity.shape
    own, best_own = own_scores(similarity, text_to_video)
    own_tied = np.bincount(text_to_video, weights=own == best_own[text_to_video], minlength=num_videos)

    text_ranks = np.empty(num_texts)
    video_higher, video_tied = np.zeros(num_videos), np.zeros(num_videos)
    for rows in row_blocks(similarity):
        block = similarity[rows]
        if np.isnan(block).any():
            text, video = np.argwhere(np.isnan(block))[0]
            raise ValueError(
                f"similarity holds NaN, first at text {rows.start + text}, video {video}. Ranks of NaN mean nothing: "
                "look for the model output that produced it."
            )
        higher = (block > own[rows, None]).sum(axis=1)
        tied = (block == own[rows, None]).sum(axis=1) - 1
        text_ranks[rows] = 1 + higher + tied / 2
        video_higher += (block > best_own).sum(axis=0)
        video_tied += (block == best_own).sum(axis=0)

    video_ranks = 1 + video_higher + (video_tied - own_tied) / 2
    video_ranks[np.bincount(text_to_video, minlength=num_videos) == 0] = np.nan
    return {"t2v": text_ranks, "v2t": video_ranks}


def summarise_ranks(ranks: np.ndarray, lower_median: bool = False) -> dict[str, float]:
    """Metrics of the ranks of one direction.

    Args:
        ranks (`np.ndarray` of shape `(num_queries,)`): from 1; NaN for what is no query.
        lower_median (`bool`, *optional*, defaults to `False`): of two ranks in the middle take the lower as `MdR`, as
            torch does, in place of their mean.

    Returns:
        `dict[str, float]`: `R@1`, `R@5`, `R@10`, `R@50` (share of queries with a right answer of rank at most k, in
        [0, 1]), `MdR`, `MnR` (median and mean rank) and `MRR` (mean reciprocal rank).

    Raises:
        ValueError: there is no query.
    """
    ranks = ranks[~np.isnan(ranks)]
    if not len(ranks):
        raise ValueError("No ranks to summarise: there is no query.")
    return {
        **{f"R@{k}": float((ranks <= k).mean()) for k in RECALL_CUTOFFS},
        "MdR": float(np.quantile(ranks, 0.5, method="lower") if lower_median else np.median(ranks)),
        "MnR": float(ranks.mean()),
        "MRR": float((1 / ranks).mean()),
    }


def own_scores(similarity: np.ndarray, text_to_video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The score of each text with its own video, and of each video with its best own text; `-inf` if it has none."""
    own = similarity[np.arange(len(similarity)), text_to_video]
    best_own = np.full(similarity.shape[1], -np.inf, dtype=np.result_type(similarity.dtype, np.float16))
    np.maximum.at(best_own, text_to_video, own)
    return own, best_own


def row_blocks(matrix: np.ndarray) -> Iterator[slice]:
    """Slices of rows, in order, that hold at most `BLOCK_ELEMENTS` scores, or one row."""
    size = max(1, BLOCK_ELEMENTS // matrix.shape[1])
    return (slice(start, start + size) for start in range(0, len(matrix), size))


def check_matrix(similarity: ArrayLike, text_to_video: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; refuses what does not fit together, see [`retrieval_ranks`]."""
    similarity, text_to_video = np.asarray(similarity), np.asarray(text_to_video)
    if similarity.ndim != 2 or similarity.size == 0:
        raise ValueError(
            f"similarity must be a matrix (num_texts, num_videos) with at least one of each, got shape "
            f"{similarity.shape}."
        )
    if text_to_video.shape != similarity.shape[:1]:
        raise ValueError(
            f"text_to_video must hold one video column for each of the {similarity.shape[0]} texts, got shape "
            f"{text_to_video.shape}."
        )
    if not np.issubdtype(text_to_video.dtype, np.integer):
        raise TypeError(f"text_to_video must hold integers (video columns), got dtype {text_to_video.dtype}.")
    if text_to_video.min() < 0 or text_to_video.max() >= similarity.shape[1]:
        raise ValueError(
            f"text_to_video must lie in 0..{similarity.shape[1] - 1}, got values from {text_to_video.min()} to "
            f"{text_to_video.max()}."
        )
    return similarity, text_to_video
