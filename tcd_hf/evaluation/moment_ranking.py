"""Moments of prepared videos: of what a caption describes, when its own video shows it, as far as windows tell."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

from tcd_hf.evaluation.moment_metrics import compute_moment_metrics
from tcd_hf.evaluation.report import ALL_QUERIES
from tcd_hf.index.fusing import Fusion
from tcd_hf.index.hits import EvidenceFinder
from tcd_hf.index.lexical import TEXT_SCHEMA, LexicalStatistics, SegmentTexts, text_columns
from tcd_hf.index.moments import find_moments
from tcd_hf.modeling.outputs import TCDVideoFeatures
from tcd_hf.processing.text_tracks import WHOLE_FRAME, TextTrack
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["evaluate_moments", "rank_moments"]

Times = tuple[float, float]  # start and end, seconds


def evaluate_moments(
    dataset: Dataset,
    text_embeds: torch.Tensor,
    video_features: TCDVideoFeatures,
    query_types: Sequence[str] | None = None,
    fusion: Fusion | None = None,
) -> dict[str, dict[str, float]] | None:
    """Metrics of the moments of a prepared data set, each looked for in the video that its caption describes.

    Args:
        dataset, text_embeds, video_features, fusion: see [`rank_moments`].
        query_types (`Sequence[str]` of length `num_texts`, *optional*): what kind of query each caption is.

    Returns:
        `dict`: by type, all queries first, then in order of appearance; the metrics of [`compute_moment_metrics`], and
        `queries`, how many captions have a time. `None` if none has.
    """
    if "moments" not in dataset.column_names:
        return None
    true = [moments for of_video in dataset["moments"] for moments in of_video]
    ranked = rank_moments(dataset, text_embeds, video_features, fusion)
    timed = [query for query, moments in enumerate(true) if moments]
    groups = {ALL_QUERIES: timed} if timed else {}
    if query_types is not None:
        for query in timed:
            groups.setdefault(query_types[query], []).append(query)
    return {
        name: {
            "queries": len(queries),
            **compute_moment_metrics([ranked[query] or [] for query in queries], [true[query] for query in queries]),
        }
        for name, queries in groups.items()
    } or None


def rank_moments(
    dataset: Dataset, text_embeds: torch.Tensor, video_features: TCDVideoFeatures, fusion: Fusion | None = None
) -> list[list[Times] | None]:
    """Ranks the moments of each caption's own video, the best first, where the caption has a time.

    Moments are found as an index finds them: windows are scored by the model and by spelling
    ([`Fusion.windows`]), and those whose caption speaks for the query lead, a run of them with about the same caption
    being one moment (`find_moments`). The windows that are left follow, by their scores.
    Prepared data have one caption and one frame for each of a fixed number of windows, however long a video is: no
    moment is found better than the borders of windows allow. (Source: ours.)

    Args:
        dataset (`datasets.Dataset`): prepared; its columns `captions`, `moments`, `ocr_captions`, `window_starts` and
            `window_ends` are read.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`), video_features ([`TCDVideoFeatures`]): of all of
            it, as [`embed_dataset`] gives them.
        fusion ([`Fusion`], *optional*): that of the model; by default that of one without a calibration.

    Returns:
        `list`: for each caption, row by row, start and end of its moments in seconds; `None` for one without a time.
    """
    columns = ["captions", "moments", "ocr_captions", "window_starts", "window_ends"]
    rows: Any = dataset.select_columns(columns)
    videos = [_windows(row) for row in rows]
    of_texts = [text_columns(windows) for windows in videos]
    statistics = LexicalStatistics()
    statistics.add(pa.Table.from_pylist(of_texts, pa.schema(TEXT_SCHEMA)))
    ranked: list[list[Times] | None] = []
    for video, row in enumerate(rows):
        texts = SegmentTexts([of_texts[video]["texts"]])
        features = video_features.map_videos(lambda values, video=video: values[video])
        for caption, moments in zip(row["captions"], row["moments"], strict=True):
            found = None
            if moments:
                (lexical,) = texts.scores(caption, statistics)
                scores = _score(text_embeds[len(ranked)], features, lexical, fusion or Fusion())
                found = _rank(caption, videos[video], scores)
            ranked.append(found)
    return ranked


def _windows(row: Mapping) -> list[WindowCaption]:
    """Windows of a prepared row. What was read in one is a single text, seen as long as the window lasts."""
    return [
        WindowCaption(start, end, text, [TextTrack(text, 1.0, start, end, WHOLE_FRAME)] if text else [])
        for text, start, end in zip(row["ocr_captions"], row["window_starts"], row["window_ends"], strict=True)
    ]


@torch.inference_mode()
def _score(text_embed: torch.Tensor, video: TCDVideoFeatures, lexical: np.ndarray, fusion: Fusion) -> np.ndarray:
    """`(num_windows,)`: how well the windows of one video match a query."""

    def cosines_with(embeds: torch.Tensor) -> np.ndarray:
        return torch.cosine_similarity(embeds.float(), text_embed.float(), dim=-1).cpu().numpy()

    return fusion.windows(
        cosines_with(video.fused_frame_embeds),
        None if video.fused_ocr_embeds is None else cosines_with(video.fused_ocr_embeds),
        None if video.ocr_embeds is None else cosines_with(video.ocr_embeds),
        None if video.ocr_mask is None else video.ocr_mask.bool().cpu().numpy(),
        lexical,
    )


def _rank(query: str, windows: Sequence[WindowCaption], scores: np.ndarray) -> list[Times]:
    """The moments of a video that a search would show, then the windows that are in none of them."""
    found = [(moment.start, moment.end) for moment in find_moments(EvidenceFinder(query), windows, scores)]
    best_first = [windows[window] for window in np.argsort(-scores, kind="stable")]
    middles = [(window.start + window.end) / 2 for window in best_first]
    left = [not any(start <= middle <= end for start, end in found) for middle in middles]
    return found + [(window.start, window.end) for window, is_left in zip(best_first, left, strict=True) if is_left]
