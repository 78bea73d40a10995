"""What a search returns, and why a video matched: its best window and the texts that speak for it."""

import numbers
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rapidfuzz import fuzz, process

from tcd_hf.index.lexical import FILLER_WEIGHT, fold
from tcd_hf.index.query_syntax import UNSPACED_LETTERS, phrase_pattern
from tcd_hf.index.spelling import NAME_LENGTH, capital_words, telling_words
from tcd_hf.processing.text_tracks import TextTrack

if TYPE_CHECKING:
    from PIL import Image

    from tcd_hf.index.moments import Moment

__all__ = [
    "EvidenceFinder",
    "Hit",
    "boxes_at",
    "evidence_boxes",
    "matching_texts",
    "time_shown",
]

WORD_SIMILARITY = 80  # of 100: one wrong character in five is still the same word
FUZZY_WORD_LENGTH = 4  # shorter words must be equal, but for a letter too many in a name
CONTAINED_WORD_LENGTH = 5  # words from this length on are also looked for inside others: "TESCOexpress"
CONTAINED_HANGUL_LENGTH = 2  # Korean joins endings to its words

_UNSPACED = re.compile(f"([{UNSPACED_LETTERS}]+)")
_HANGUL = re.compile("[\uac00-\ud7a3]+")


@dataclass(frozen=True)
class Hit:
    """One video found, with the parts of its score and the evidence for it.

    Attributes:
        path (`str`): the video file, as it was named or found.
        score (`float`): what hits are ranked by: of a calibrated model the probability that this is what was asked for,
            of others `(1 - lexical_weight) * total + lexical_weight * lexical`, where `total` is the model's
            similarity, the mean of `text_video`, `text_ocr` and `text_hybrid` for TCD (see [`Fusion`]); or one of the
            scores of recall, if they were asked for alone, see [`Retriever.search`].
        text_video (`float`): cosine of the query and the frames.
        text_ocr (`float`, *optional*): cosine of the query and the window captions; `None` for a model that does not
            read OCR.
        text_hybrid (`float`, *optional*): cosine of the query and the clue distilled from both; `None` likewise.
        lexical (`float`): spelling shared by the query and the best text, run of texts or window, in [0, 1].
        start (`float`): seconds of the file at which the moment that matches best begins.
        end (`float`): seconds at which it ends.
        evidence (`list[str]`): texts read in its best window that the query names, best first; where it names none,
            and the model is calibrated, those that mean what it says. Empty when the match rests on the picture alone.
        boxes (`list[dict]`): for each text of `evidence`, where it stands: `text`, `start` and `end` (seconds, when it
            is seen in the window), `box` (x0, y0, x1, y1 relative to the frame, 0-1), `time` (seconds, of the frame
            that the box belongs to), `source` (where the text comes from: `"ocr"`, `"subtitle"` or `"given"`) and
            `match` (`"spells"` what the query names, `"means"` what it says in other words, see [`MeaningFinder`]).
        moments (`list[Moment]`): the other moments of the video that match, best first, see [`Moment`].
        text_window (`float`, *optional*): cosine of the query and the caption of the window nearest in meaning; `None`
            for a model whose search score does not count it.
        is_weak (`bool`): of a calibrated model, whether the score lies below 0.1: fewer than one in ten such hits is
            what was asked for. Page, table and report fold these under "weak matches".
        index (`str`): of a search in several indexes, where the one lies that it is of; else empty.

    What answers `first >> then` goes from the begin of the first moment to the end of the second, its scores are the
    means of theirs, and `evidence` and `boxes` are those of the first, then those of the second; so it is with each of
    `moments`. Its `score` is thus no probability, even of a calibrated model; it is weak if one of the two moments
    scores below 0.1, and has no evidence by meaning.
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
    moments: "list[Moment]" = field(default_factory=list)
    text_window: float | None = None
    is_weak: bool = False
    index: str = ""

    def __fspath__(self) -> str:
        """A hit stands for its file wherever a path does: `open(hit)`, `processor(videos=hits)`."""
        return self.path

    def to_dict(self) -> dict[str, Any]:
        """The hit as plain JSON types; `index` only where there are several."""
        values = asdict(self)
        return values if self.index else {name: value for name, value in values.items() if name != "index"}

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from tcd_hf.visualization.hit_card import hit_card

        return hit_card(self)

    @property
    def shown_time(self) -> float:
        """Seconds of the frame that shows most of the evidence; without boxes, the middle of the best moment."""
        return time_shown(self.start, self.end, self.boxes)

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
        from tcd_hf.processing.video_files import ANY_PIXELS, lasting_backend
        from tcd_hf.processing.video_reading import opened_video

        with opened_video(self.path, backend=lasting_backend(), max_pixels=ANY_PIXELS) as video:
            frame = Image.fromarray(video.frames_at([self.shown_time], max_side=max_side)[0])
        shown = boxes_at(self.boxes, self.shown_time)
        return draw_boxes(frame, [box["box"] for box in shown], [box["text"] for box in shown])


def time_shown(start: float, end: float, boxes: Sequence[dict[str, Any]]) -> float:
    """Seconds of the frame that most of these boxes belong to, see [`Hit`]; without any, the middle."""
    times = Counter(box["time"] for box in boxes)
    return times.most_common(1)[0][0] if times else (start + end) / 2


def boxes_at(boxes: Sequence[dict[str, Any]], time: float) -> list[dict[str, Any]]:
    """Those boxes of the frame at a time that stand in the picture: what is spoken or given has no place there."""
    return [box for box in boxes if box["time"] == time and box.get("source", "ocr") == "ocr"]


class EvidenceFinder:
    """Finds the texts of windows that speak for a query. It remembers every text: neighbouring windows share theirs.

    A text counts the letters of its different words that some word of the query resembles, spelling slips allowed;
    those that tell little at `FILLER_WEIGHT`. It is evidence if a telling word is among them, or if the query has no
    telling words. Among texts that count the same, those without other words go first, then those more salient. Before
    all of them go the texts that show a phrase which the query requires.

    Args:
        query (`str`): what was searched for, without operators.
        phrases (`Sequence[str]`, *optional*): what the query requires, see [`parse_query`].
    """

    def __init__(self, query: str, phrases: Sequence[str] = ()):
        words = set(_split(fold(query)))
        self._telling = set(telling_words(list(words)))
        self._filler = words - self._telling
        inexact = [word for word in self._telling if not _has_digit(word)]
        names = {word for word in capital_words(query) if len(word) >= NAME_LENGTH}
        self._fuzzy = [word for word in inexact if len(word) >= FUZZY_WORD_LENGTH or word in names]
        self._parts = [word for word in inexact if len(word) >= _contained_length(word, is_asked=True)]
        self._wholes = "\n".join(inexact)
        self._phrases = [re.compile(phrase_pattern(phrase)) for phrase in phrases]
        self._weights: dict[str, float] = {}  # of words
        self._full: set[str] = set()  # those of weight 1
        self._matches: dict[str, _Match] = {}  # of texts
        self._seen: dict[str, bool] = {}  # folded texts, and whether they may be evidence

    def __call__(self, texts: Sequence[str], limit: int | None = 5) -> list[str]:
        """The texts of a window that match, best first, each spelling once.

        Args:
            texts (`Sequence[str]`): what was read, most salient first, lines of one block together.
            limit (`int`, *optional*, defaults to 5): most texts to return; `None` for all.
        """
        found = [text for text in dict.fromkeys(texts) if self._match(text).is_evidence]
        found.sort(key=lambda text: self._match(text).rank)
        return list(dict.fromkeys([*self._show_phrases(texts), *found]))[:limit]

    def may_match(self, windows: Sequence[Sequence[str]]) -> np.ndarray:
        """Which windows may have evidence: it costs much less to find out for all of them at once. Of texts that it was
        asked for before it knows.

        Args:
            windows (`Sequence[Sequence[str]]`): their folded texts.

        Returns:
            `np.ndarray` of shape `(num_windows,)`, bool.
        """
        if self._phrases:
            return np.ones(len(windows), bool)
        unknown = set().union(*windows).difference(self._seen)
        self._weigh(set(_split(" ".join(unknown))))
        self._seen.update((text, not self._full.isdisjoint(_split(text))) for text in unknown)
        return np.array([any(map(self._seen.__getitem__, texts)) for texts in windows], bool)

    def _weigh(self, words: set[str]) -> None:
        """Finds what words, as they were read, count: in full those that are telling words of the query or resemble
        one. A comparison is made of all of them at once, which costs much less."""
        words = words - self._weights.keys()
        # 1.30 and 1.50 differ in one character of four, and in everything.
        compared = [word for word in words - self._telling if not _has_digit(word)]
        telling = words & self._telling
        # Readings often lose spaces; scripts such as Chinese have none.
        inside = (word for word in compared if word in self._wholes)
        telling.update(word for word in inside if len(word) >= _contained_length(word, is_asked=False))
        together = "\n".join(compared)
        for asked in self._parts:
            if asked in together:
                telling.update(word for word in compared if asked in word)
        apart = [word for word in compared if len(word) >= FUZZY_WORD_LENGTH]
        if apart and self._fuzzy:
            ratios = process.cdist(self._fuzzy, apart, scorer=fuzz.ratio, score_cutoff=WORD_SIMILARITY)
            telling.update(apart[place] for place in np.flatnonzero(ratios.any(axis=0)))
        self._weights.update(dict.fromkeys(words, 0))
        self._weights.update(dict.fromkeys(words & self._filler, FILLER_WEIGHT))
        self._weights.update(dict.fromkeys(telling, 1))
        self._full |= telling

    def _show_phrases(self, texts: Sequence[str]) -> list[str]:
        """The texts over which required phrases run, in the order of the phrases."""
        if not self._phrases:
            return []
        texts = [text for text in texts if self._match(text).folded]
        joined = "\t".join(self._match(text).folded for text in texts)
        shown = []
        for phrase in self._phrases:
            match = phrase.search(joined)
            while match:
                first, last = (joined.count("\t", 0, place) for place in match.span(1))
                shown.extend(texts[first : last + 1])
                match = phrase.search(joined, match.end(1))
        return shown

    def _match(self, text: str) -> "_Match":
        if text not in self._matches:
            self._matches[text] = self._compare(text)
        return self._matches[text]

    def _compare(self, text: str) -> "_Match":
        folded = fold(text)
        words = dict.fromkeys(_split(folded))
        if unknown := [word for word in words if word not in self._weights]:
            self._weigh(set(unknown))
        weights = [self._weights[word] for word in words]
        strength = sum(weight * len(word) for word, weight in zip(words, weights, strict=True) if weight)
        return _Match(folded, 1 in weights, (-strength, 0 in weights))


class _Match(NamedTuple):
    """What a text has of a query."""

    folded: str
    is_evidence: bool
    rank: tuple[float, bool]  # the best is the smallest


def matching_texts(query: str, texts: Sequence[str], limit: int | None = 5, phrases: Sequence[str] = ()) -> list[str]:
    """The texts of one window that speak for a query, best first, see [`EvidenceFinder`]."""
    return EvidenceFinder(query, phrases)(texts, limit)


def evidence_boxes(evidence: Sequence[str], tracks: Sequence[TextTrack], match: str = "spells") -> list[dict[str, Any]]:
    """Where the texts of a hit's evidence stand, and how they match, see [`Hit`]; of equal ones the most salient."""
    track_of = {track.text: track for track in reversed(tracks)}
    return [
        {
            "text": track.text,
            "start": track.start,
            "end": track.end,
            "box": list(track.box),
            "time": track.box_time,
            "source": track.source,
            "match": match,
        }
        for track in (track_of[text] for text in evidence)
    ]


def _split(folded: str) -> list[str]:
    """The words of a folded text; what is written without spaces is apart from what stands beside it (24小时)."""
    return folded.split() if folded.isascii() else _UNSPACED.sub(r" \1 ", folded).split()


def _has_digit(word: str) -> bool:
    return not word.isalpha() and any(map(str.isdigit, word))


def _contained_length(word: str, is_asked: bool) -> int:
    """The length from which a word is looked for inside others."""
    if word.isascii():
        return CONTAINED_WORD_LENGTH
    if _UNSPACED.match(word):
        return 1 if is_asked else 2  # 茶 is in 绿茶, but not every 在 answers a sentence with it
    return CONTAINED_HANGUL_LENGTH if _HANGUL.fullmatch(word) else CONTAINED_WORD_LENGTH
