"""What was computed of some rows for a query, and the hits and moments that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.choices import SearchMode
from tcd_hf.index.fusing import Fusion
from tcd_hf.index.hits import EvidenceFinder, Hit
from tcd_hf.index.lexical import SegmentTexts
from tcd_hf.index.moments import Moment, clip_moments, find_moments
from tcd_hf.index.query_syntax import Query
from tcd_hf.index.stored_captions import CAPTIONS_COLUMN, StoredWindow, windows_from, windows_in_time
from tcd_hf.modeling.modeling_tcd import TCDVideoFeatures

__all__ = [
    "OUT_OF_RANGE",
    "IndexScores",
    "ScoredRows",
    "Search",
    "best_of_each",
    "make_hit",
    "moments_in",
    "moments_of",
    "window_scores",
    "windows_to_follow",
]

OUT_OF_RANGE = -100.0  # lower than any score


@dataclass(frozen=True)
class IndexScores:
    """Scores of every query with every video, each `(num_queries, num_videos)`: those of its best segment; float32, but
    for the score of a calibrated model, which is float64.

    Attributes:
        score (`np.ndarray`): what hits are ranked by: the parts and `lexical`, fused, see [`Fusion`].
        similarity (`np.ndarray`): the model's score.
        lexical (`np.ndarray`): lexical score of the best window.
        text_video (`np.ndarray`): the text-video part of the model's similarity.
        text_ocr, text_hybrid (`np.ndarray`, *optional*): its other parts; `None` for a model that does not read OCR.
        text_window (`np.ndarray`, *optional*): see [`nearest_window`]; `None` where the score does not count it.
    """

    score: np.ndarray
    similarity: np.ndarray
    lexical: np.ndarray
    text_video: np.ndarray
    text_ocr: np.ndarray | None = None
    text_hybrid: np.ndarray | None = None
    text_window: np.ndarray | None = None

    def pick(self, rows: np.ndarray, columns: np.ndarray) -> "IndexScores":
        """Entries by their places, as arrays of the shape of the places."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        picked: dict[str, Any] = {name: each if each is None else each[rows, columns] for name, each in values.items()}
        return IndexScores(**picked)


class Search(NamedTuple):
    """One query, made ready.

    Attributes:
        query ([`Query`]): what it asks for.
        text_embeds (`torch.Tensor` of shape `(num_alternatives, dim)`, float32)
        top_k, recall_k, moments (`int`), mode (`str`): see [`Retriever.search`].
        between (`tuple[float, float]`, *optional*): likewise.
        where (`str`, *optional*): what rows must pass: the user's filter, and what query and times need.
    """

    query: Query
    text_embeds: torch.Tensor
    top_k: int
    recall_k: int
    moments: int
    mode: SearchMode
    between: tuple[float, float] | None
    where: str | None

    @property
    def texts(self) -> list[str]:
        """The texts of its alternatives."""
        return [alternative.text for alternative in self.query.alternatives]

    @property
    def restricts_windows(self) -> bool:
        """Whether not every window of every row may be a moment."""
        return bool(self.query.phrases or self.query.excluded or self.between)


class ScoredRows(NamedTuple):
    """Rows of the table with all that was computed of them for some texts.

    Attributes:
        features ([`TCDVideoFeatures`]): of the rows.
        segments ([`SegmentTexts`]): their texts.
        windows (`list[list[np.ndarray]]`): for each text and row the lexical scores of the windows: `-inf` for those
            that the query excludes, `OUT_OF_RANGE` for those that are out of the time range asked for, over which a
            moment may go on.
        scores ([`IndexScores`]): of texts and rows; `score` and `lexical` are `-inf` where no window is in question.
    """

    features: TCDVideoFeatures
    segments: SegmentTexts
    windows: list[list[np.ndarray]]
    scores: IndexScores


def moments_of(
    search: Search,
    scored: ScoredRows,
    places: np.ndarray,
    scores: np.ndarray,
    rows: pa.Table,
    find_evidence: EvidenceFinder,
    limit: int | None = None,
) -> list[Moment]:
    """The moments of one video, best first.

    Args:
        search ([`Search`]): what is looked for.
        scored ([`ScoredRows`]): rows of several videos.
        places (`np.ndarray` of shape `(num_rows,)`): of the rows of this one in `scored`, the best first.
        scores (`np.ndarray` of shape `(num_rows, num_windows)`): of their windows, see [`window_scores`].
        rows (`pa.Table`): those that were scored, with the columns `captions` and `start`.
        find_evidence ([`EvidenceFinder`]): for the query.
        limit (`int`, *optional*): most moments. All, if not given.
    """
    in_time = np.argsort([rows["start"][place].as_py() for place in places.tolist()], kind="stable")
    windows, folded = [], []
    for place in places[in_time].tolist():
        folded += scored.segments.windows(place)
        windows += windows_from(rows[CAPTIONS_COLUMN][place].as_py(), scores.shape[1])
    found = find_moments(
        find_evidence,
        windows,
        scores[in_time].ravel(),
        leading=np.repeat(in_time == 0, scores.shape[1]),
        telling=find_evidence.may_match(folded),
        folded=folded,
        limit=limit if search.between is None else None,
    )
    return found if search.between is None else clip_moments(found, search.between)[:limit]


def windows_to_follow(search: Search, captions: Sequence[bytes], count: int, start: float) -> list[StoredWindow]:
    """The windows of a video in which a text of the moment that starts then may go on, in order of time: of a query
    that excludes something the moment's own, as what stands in others may be excluded there.

    Args:
        search ([`Search`]): what is looked for.
        captions (`Sequence[bytes]`), count (`int`): of rows of the video, see [`windows_in_time`].
        start (`float`): of the moment, seconds of the file.
    """
    windows = windows_in_time(captions, count)
    return [window for window in windows if window.start == start] if search.query.excluded else windows


def moments_in(
    search: Search,
    scored: ScoredRows,
    places: np.ndarray,
    rows: pa.Table,
    find_evidence: EvidenceFinder,
    fusion: Fusion,
) -> list[Moment]:
    """All moments of one video, best first, by the exact scores of its rows.

    Args:
        search ([`Search`]), scored ([`ScoredRows`]): what was looked for, and the rows that were scored for it.
        places (`np.ndarray` of shape `(num_rows,)`): of the rows of this video in `scored`.
        rows (`pa.Table`): those that were scored, with the columns `captions` and `start`.
        find_evidence ([`EvidenceFinder`]): for the query.
        fusion ([`Fusion`]): of the model.
    """
    texts, ranked_by = best_of_each(scored.scores.score)
    best_first = places[np.argsort(-ranked_by[places], kind="stable")]
    scores = window_scores(search, scored, best_first, texts, ranked_by, fusion)
    return moments_of(search, scored, best_first, scores, rows, find_evidence)


def window_scores(
    search: Search,
    scored: ScoredRows,
    places: np.ndarray,
    texts: np.ndarray,
    ranked_by: np.ndarray,
    fusion: Fusion,
) -> np.ndarray:
    """Scores of the windows of rows: that of a row's best one is the row's, the others are lower by what they differ
    from it.

    Args:
        search ([`Search`]), scored ([`ScoredRows`]): what was looked for, and the rows that were scored for it.
        places (`np.ndarray` of shape `(num_rows,)`): of the rows in question in `scored`.
        texts, ranked_by (`np.ndarray`): for each of the scored rows the alternative that suits it best, and the score
            with it.
        fusion ([`Fusion`]): of the model.

    Returns:
        `np.ndarray` of shape `(num_rows, num_windows)`: `-inf` for windows that the query excludes; those out of the
        time range come after all others, by `OUT_OF_RANGE`.
    """
    # A window answers the alternative that suits it best, whichever suits its row.
    lexical = np.stack([np.max([windows[place] for windows in scored.windows], axis=0) for place in places])
    possible, out_of_range = np.isfinite(lexical), lexical < 0
    features = scored.features
    asked = search.text_embeds.cpu().numpy()[texts[places]]

    def cosines_with(embeds: torch.Tensor) -> np.ndarray:
        # Window by window, as equal ones must tie; by numpy, as torch's threads take longer to start than this takes.
        windows = embeds.cpu().numpy()[places]
        products = np.einsum("rwd,rd->rw", windows, asked)
        return products / np.sqrt(np.einsum("rwd,rwd->rw", windows, windows)).clip(1e-12)

    read, fused, has_text = features.ocr_embeds, features.fused_ocr_embeds, features.ocr_mask
    scores = fusion.windows(
        cosines_with(features.fused_frame_embeds),
        None if fused is None else cosines_with(fused),
        None if read is None or not fusion.needs_nearest_window else cosines_with(read),
        None if has_text is None else has_text.bool().cpu().numpy()[places],
        np.where(possible, lexical.clip(0), 0),
    )
    in_question = np.where(possible & ~out_of_range, scores, -np.inf)
    best = np.max(in_question, axis=1, keepdims=True, initial=np.finfo(np.float32).min)
    differences = fusion.beside(scored.scores.score[texts[places], places][:, None], scores - best)
    return np.where(possible, differences + OUT_OF_RANGE * out_of_range, -np.inf) + ranked_by[places, None]


def make_hit(path: str, score: float, scores: IndexScores, moments: Sequence[Moment], is_weak: bool) -> Hit:
    """The hit of a video with these moments, best first; `scores` are those of its best segment, each a number."""

    def part(value: np.ndarray | None) -> float | None:
        return None if value is None else float(value)

    best, *others = moments
    return Hit(
        path=path,
        score=score,
        text_video=float(scores.text_video),
        text_ocr=part(scores.text_ocr),
        text_hybrid=part(scores.text_hybrid),
        lexical=float(scores.lexical),
        start=best.start,
        end=best.end,
        evidence=best.evidence,
        boxes=best.boxes,
        moments=others,
        text_window=part(scores.text_window),
        is_weak=is_weak,
    )


def best_of_each(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of the table the text that suits it best, and the score: from `(num_texts, num_rows)`."""
    best = scores.argmax(axis=0)
    return best, scores[best, np.arange(scores.shape[1])]
