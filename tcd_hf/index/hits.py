"""What a search returns, and why a video matched: its best window and the texts that speak for it."""

import numbers
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from rapidfuzz import fuzz

from tcd_hf.index.lexical import FILLER_WORDS
from tcd_hf.processing.text_tracks import TextTrack

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["DEFAULT_LEXICAL_WEIGHT", "Hit", "evidence_boxes", "fuse_scores", "matching_texts", "score_windows"]

DEFAULT_LEXICAL_WEIGHT = 0.5
WORD_SIMILARITY = 80  # of 100: one wrong character in five is still the same word
FUZZY_WORD_LENGTH = 4  # shorter words must be equal
CONTAINED_WORD_LENGTH = 5  # words from this length on are also looked for inside others: "TESCOexpress"


@dataclass(frozen=True)
class Hit:
    """One video found, with the parts of its score and the evidence for it.

    Attributes:
        path (`str`): the video file, as it was named or found.
        score (`float`): what hits are ranked by, `(1 - lexical_weight) * total + lexical_weight * lexical`, where
            `total` is the model's similarity, the mean of the three `text_*` parts for TCD; or one of the scores of
            recall, if they were asked for alone, see [`Retriever.search`].
        text_video (`float`): cosine of the query and the frames.
        text_ocr (`float`, *optional*): cosine of the query and the window captions; `None` for a model that does not
            read OCR.
        text_hybrid (`float`, *optional*): cosine of the query and the clue distilled from both; `None` likewise.
        lexical (`float`): spelling shared by the query and the best window's caption, in [0, 1].
        start (`float`): seconds at which the window that matches best begins.
        end (`float`): seconds at which it ends.
        evidence (`list[str]`): texts read in that window that the query names, best first; empty when the match rests
            on the picture or on meaning alone.
        boxes (`list[dict]`): for each text of `evidence`, where it stands: `text`, `start` and `end` (seconds, when it
            is seen in the window), `box` (x0, y0, x1, y1 relative to the frame, 0-1) and `time` (seconds, of the frame
            that the box belongs to).
    """

    path: str
    score: float
    text_video: float
    text_ocr: float | None
    text_hybrid: float | None
    lexical: float
    start: float
    end: float
    evidence: list[str] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The hit as plain JSON types."""
        return asdict(self)

    @property
    def shown_time(self) -> float:
        """Seconds of the frame that shows most of the evidence; without boxes, the middle of the best window."""
        times = Counter(box["time"] for box in self.boxes)
        return times.most_common(1)[0][0] if times else (self.start + self.end) / 2

    def draw(self, max_side: int = 960) -> "Image.Image":
        """The frame at `shown_time`, with the boxes of that frame outlined and labelled with their text.

        Args:
            max_side (`int`, *optional*, defaults to 960): most pixels of the longer side; frames are never enlarged.

        Returns:
            `PIL.Image.Image`, RGB. Which letters the labels can show depends on the fonts at hand, see [`draw_boxes`].

        Raises:
            VideoReadError: the file is lost or broken.
            TypeError: `max_side` is no number of pixels.
            ValueError: `max_side` is below 1.
        """
        if not isinstance(max_side, numbers.Integral):
            raise TypeError(
                f"max_side must be a number of pixels, got {max_side!r}. To write the picture: hit.draw().save(path)."
            )
        from PIL import Image

        from tcd_hf.processing.caption_drawing import draw_boxes
        from tcd_hf.processing.video_reading import opened_video

        with opened_video(self.path) as video:
            frame = Image.fromarray(video.frames_at([self.shown_time], max_side=max_side)[0])
        shown = [box for box in self.boxes if box["time"] == self.shown_time]
        return draw_boxes(frame, [box["box"] for box in shown], [box["text"] for box in shown])


def fuse_scores(model_score: np.ndarray, lexical_score: np.ndarray, lexical_weight: float) -> np.ndarray:
    """The one search score: `(1 - w) * S + w * L`, of whole videos as of single windows (ours)."""
    return (1 - lexical_weight) * model_score + lexical_weight * lexical_score


def score_windows(
    frame_cosines: np.ndarray,
    ocr_cosines: np.ndarray | None,
    has_text: np.ndarray | None,
    lexical_scores: np.ndarray,
    lexical_weight: float,
) -> np.ndarray:
    """How well each window of one video matches a query (ours).

    A window's model score is the mean of its two cosines, each taken relative to its mean over the video: text-to-text
    and text-to-image cosines lie in different ranges, and a window without text must neither gain nor lose by having
    only one of them. It is then fused with the window's lexical score as whole videos are.

    Args:
        frame_cosines (`np.ndarray` of shape `(num_windows,)`): cosine of the query and the fused frame embeddings.
        ocr_cosines (`np.ndarray` of shape `(num_windows,)`): the same of the fused OCR embeddings; `None` for a model
            that does not read OCR.
        has_text (`np.ndarray` of shape `(num_windows,)`, bool): windows in which text was read; `None` likewise.
        lexical_scores (`np.ndarray` of shape `(num_windows,)`): in [0, 1].
        lexical_weight (`float`): in [0, 1].

    Returns:
        `np.ndarray` of shape `(num_windows,)`.
    """
    ocr_part = np.zeros_like(frame_cosines)
    if has_text is not None and has_text.any():
        ocr_part[has_text] = ocr_cosines[has_text] - ocr_cosines[has_text].mean()
    model_scores = (frame_cosines - frame_cosines.mean() + ocr_part) / 2
    return fuse_scores(model_scores, lexical_scores, lexical_weight)


def matching_texts(query: str, texts: Sequence[str], limit: int = 5) -> list[str]:
    """The texts that share a word with the query, spelling slips allowed, best first.

    A text counts the characters of its words that some word of the query resembles. Words such as "the" count only
    when the query has no other words. Texts that count the same keep their order.

    Args:
        query (`str`): what was searched for.
        texts (`Sequence[str]`): what was read, most salient first.
        limit (`int`, defaults to 5): most texts to return.
    """
    query_words = _words(query)
    query_words = [word for word in query_words if word not in FILLER_WORDS] or query_words
    strength: dict[str, int] = {}
    for text in texts:
        matched = sum(len(word) for word in _words(text) if any(_same_word(word, other) for other in query_words))
        if matched:
            strength.setdefault(text, matched)
    return sorted(strength, key=strength.__getitem__, reverse=True)[:limit]


def evidence_boxes(evidence: Sequence[str], tracks: Sequence[TextTrack]) -> list[dict[str, Any]]:
    """Where the texts of a hit's evidence stand, see [`Hit`]: of equal texts, the most salient one."""
    track_of = {track.text: track for track in reversed(tracks)}
    found = [track_of[text] for text in evidence]
    return [
        {"text": track.text, "start": track.start, "end": track.end, "box": list(track.box), "time": track.box_time}
        for track in found
    ]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:[.,:'/-]\w+)*", text.casefold())  # 1.30, 17:27 and let's stay whole


def _same_word(word: str, other: str) -> bool:
    if word == other:
        return True
    if re.search(r"\d", word + other):
        return False  # 1.30 and 1.50 differ in one character of four, and in everything
    shorter, longer = sorted((word, other), key=len)
    if shorter in longer and len(shorter) >= (CONTAINED_WORD_LENGTH if shorter.isascii() else 2):
        return True  # readings often lose spaces; scripts such as Chinese have none
    return len(shorter) >= FUZZY_WORD_LENGTH and fuzz.ratio(word, other) >= WORD_SIMILARITY
