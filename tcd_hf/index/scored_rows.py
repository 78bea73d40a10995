"""What was computed of some rows for a query, and the hits and moments that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.index.hits import EvidenceFinder, Hit, score_windows
from tcd_hf.index.lexical import SegmentTexts
from tcd_hf.index.moments import Moment, clip_moments, find_moments
from tcd_hf.index.query_syntax import Query
from tcd_hf.index.schema import captions_from
from tcd_hf.modeling.modeling_tcd import TCDVideoFeatures
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["IndexScores", "ScoredRows", "Search", "best_of_each", "make_hit", "moments_of"]


@dataclass(frozen=True)
class IndexScores:
    """Scores of every query with every video, each `(num_queries, num_videos)` float32: those of its best segment.

    Attributes:
        score (`np.ndarray`): what hits are ranked by: `model` and `lexical`, fused.
        model (`np.ndarray`): the model's similarity.
        lexical (`np.ndarray`): lexical score of the best window.
        text_video (`np.ndarray`): the text-video part of the model's similarity.
        text_ocr, text_hybrid (`np.ndarray`, *optional*): its other parts; `None` for a model that does not read OCR.
    """

    score: np.ndarray
    model: np.ndarray
    lexical: np.ndarray
    text_video: np.ndarray
    text_ocr: np.ndarray | None = None
    text_hybrid: np.ndarray | None = None

    def pick(self, rows: np.ndarray, columns: np.ndarray) -> "IndexScores":
        """Entries by their places, as arrays of the shape of the places."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return IndexScores(**{name: value if value is None else value[rows, columns] for name, value in values.items()})


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
    mode: str
    between: tuple[float, float] | None
    where: str | None

    @property
    def texts(self) -> list[str]:
        """Of its alternatives."""
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
        windows (`list[list[np.ndarray]]`): for each text and row the lexical scores of the windows, `-inf` for those
            that are out of the question.
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
    texts: np.ndarray,
    ranked_by: np.ndarray,
    rows: pa.Table,
    find_evidence: EvidenceFinder,
    lexical_weight: float,
) -> list[Moment]:
    """The moments of one video, best first.

    Args:
        search ([`Search`]): what is looked for.
        scored ([`ScoredRows`]): rows of several videos.
        places (`np.ndarray`): of the rows of this one in `scored`.
        texts, ranked_by (`np.ndarray` of shape `(num_rows,)`): for each row the alternative that suits it best, and
            the score with it.
        rows (`pa.Table`): `captions` and `start` of the rows at these places.
        find_evidence ([`EvidenceFinder`]): for the query.
        lexical_weight (`float`): see [`fuse_scores`].
    """
    in_time = np.argsort(rows["start"].to_numpy(), kind="stable")
    captions = captions_from(rows["captions"])
    best = int(np.argmax(ranked_by[places]))
    windows: list[WindowCaption] = []
    folded: list[str] = []
    scores: list[np.ndarray] = []
    for place in in_time:
        windows += captions[place]
        folded += ["\t".join(texts) for texts in scored.segments.windows(int(places[place]))]
        scores.append(_window_scores(search, scored, int(places[place]), texts, ranked_by, lexical_weight))
    of_best = np.repeat(in_time == best, list(map(len, scores)))
    telling = find_evidence.may_match(folded)
    moments = find_moments(find_evidence, windows, np.concatenate(scores), leading=of_best, telling=telling)
    return moments if search.between is None else clip_moments(moments, search.between)


def _window_scores(
    search: Search,
    scored: ScoredRows,
    row: int,
    texts: np.ndarray,
    ranked_by: np.ndarray,
    lexical_weight: float,
) -> np.ndarray:
    """Scores of the windows of a row: that of the best one is the row's, the others are lower by what they differ
    from it."""
    features, lexical = scored.features, scored.windows[texts[row]][row]
    embed = search.text_embeds[texts[row]]

    def cosines_with(embeds: torch.Tensor) -> np.ndarray:
        return torch.cosine_similarity(embeds[row], embed, dim=-1).cpu().numpy()

    ocr_cosines = has_text = None
    if features.ocr_mask is not None:
        ocr_cosines, has_text = cosines_with(features.fused_ocr_embeds), features.ocr_mask[row].cpu().numpy()
    possible = np.isfinite(lexical)
    if not possible.any():
        return lexical
    scores = score_windows(
        cosines_with(features.fused_frame_embeds),
        ocr_cosines,
        has_text,
        np.where(possible, lexical, 0),
        lexical_weight,
    )
    return np.where(possible, scores - scores[possible].max() + ranked_by[row], -np.inf)


def make_hit(path: str, score: float, scores: IndexScores, moments: Sequence[Moment]) -> Hit:
    """The hit of a video with these moments, best first; `scores` are those of its best segment, each a number."""

    def part(value: np.ndarray | None) -> float | None:
        return None if value is None else float(value)

    best, *others = moments
    return Hit(
        path=path,
        score=score,
        text_video=part(scores.text_video),
        text_ocr=part(scores.text_ocr),
        text_hybrid=part(scores.text_hybrid),
        lexical=part(scores.lexical),
        start=best.start,
        end=best.end,
        evidence=best.evidence,
        boxes=best.boxes,
        moments=others,
    )


def best_of_each(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of the table the text that suits it best, and the score: from `(num_texts, num_rows)`."""
    best = scores.argmax(axis=0)
    return best, scores[best, np.arange(scores.shape[1])]
