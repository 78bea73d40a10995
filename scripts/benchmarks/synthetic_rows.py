"""Rows for an index out of a stated generator, and queries whose answer is known: what search is measured by at scale.

[`SyntheticVideos`] are short clips, a row each; [`SyntheticHours`] are videos of an hour, of 120 rows each. What both
are made of says `retrieval.py`. Every block of rows has a seed of its own, so that any can be made alone.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from transformers import CLIPConfig

from tcd_hf import TCDConfig, TCDModel
from tcd_hf.index.lexical import FILLER_WORDS, spell
from tcd_hf.index.schema import rows_from
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.video_reader import VideoRecord

NUM_FRAMES = 12
VIDEOS_PER_CENTRE = 20
VOCABULARY = 50_000
ROWS_PER_BATCH = 500
SEGMENT_SECONDS = 30.0
SEGMENTS_PER_HOUR = 120
SCENE = 10  # segments that look alike
WINDOW_SECONDS = SEGMENT_SECONDS / NUM_FRAMES
WINDOWS_PER_HOUR = SEGMENTS_PER_HOUR * NUM_FRAMES
TEXTS_PER_WINDOW = 4  # that begin in it
SHOWN_ALWAYS, SHOWN_OFTEN = 2, 3  # texts of an hour
QUERY_KINDS = ("exact", "slips", "foreign words", "sentence", "many segments")


class Query(NamedTuple):
    """A query and its answer.

    Attributes:
        text (`str`), vector (`np.ndarray` of shape `(dim,)`, float32): what is asked.
        kind (`str`): of `QUERY_KINDS`; of short clips always `"foreign words"`.
        path (`str`): of the video that is meant.
        times (`list[tuple[float, float]]`): when it shows the text, in seconds; empty for short clips.
    """

    text: str
    vector: np.ndarray
    kind: str
    path: str
    times: list[tuple[float, float]]


class Shown(NamedTuple):
    """A text of an hour: what it says, and the windows that show it, `windows[0]` to before `windows[1]` and so on."""

    text: str
    windows: list[tuple[int, int]]


class SyntheticRows:
    """What clips and hours have in common.

    Args:
        size (`int`): rows.
        dim (`int`): width of the joint space.
    """

    rows_per_centre = VIDEOS_PER_CENTRE

    def __init__(self, size: int, dim: int):
        self.size, self.dim = size, dim
        tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
        torch.manual_seed(0)
        backbone = CLIPConfig(text_config=tower, vision_config=tower, projection_dim=dim)
        self.model = TCDModel(TCDConfig(backbone_config=backbone, temporal_num_layers=0)).eval()
        # Untrained, the co-attention gives back what it is given: it need not be run.
        self.model.co_attention.forward = lambda frames, windows, *masks: (frames, windows, (None, None))
        frequency = np.arange(1, VOCABULARY + 1) ** -0.9
        self.word_shares = np.cumsum(frequency / frequency.sum())

    @classmethod
    def of_rows(cls, size: int, dim: int) -> "SyntheticRows":
        return cls(size, dim)

    @cached_property
    def words(self) -> list[str]:
        """As many again as texts are made of: words that are said of a video, and not read in it."""
        return self._random_words()

    def _random_words(self) -> list[str]:
        rng = np.random.default_rng(1)
        letters = list("etaoinshrdlucmfwypvbgkjqxz0123456789")
        shares = 1 / np.arange(3, 3 + len(letters))
        pool = rng.choice(letters, 12 * 2 * VOCABULARY, p=shares / shares.sum())
        lengths = rng.integers(2, 10, 2 * VOCABULARY)
        return ["".join(pool[12 * i : 12 * i + length]) for i, length in enumerate(lengths)]

    @cached_property
    def spelled_words(self) -> list[list[str]]:
        return [spell(word).split() for word in self.words]

    def draw_words(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        """Numbers of words that are read."""
        return np.searchsorted(self.word_shares, rng.random(shape)).clip(max=VOCABULARY - 1)

    def noise(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        return rng.standard_normal((*shape, self.dim), np.float32) / np.float32(self.dim**0.5)

    def videos(self, start: int, count: int) -> np.ndarray:
        """`(count, dim)` unit vectors: what the rows are about."""
        rng = np.random.default_rng([2, start])
        number = np.arange(start, start + count) // self.rows_per_centre
        centres = {each: unit(self.noise(np.random.default_rng([3, each]))) for each in np.unique(number).tolist()}
        return unit(np.stack([centres[each] for each in number.tolist()]) + 0.7 * self.noise(rng, count))

    def embeddings(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings that frames and windows have, each `(count, NUM_FRAMES, dim)`."""
        rng = np.random.default_rng([5, start])
        videos = self.videos(start, count)[:, None]
        return tuple(unit(videos + self.noise(rng, count, NUM_FRAMES)) for _ in range(2))

    @torch.no_grad()
    def rows(self, start: int, count: int, schema: pa.Schema | None) -> pa.Table | tuple:
        """Rows of the index; without a schema, their features."""
        frames, windows = map(torch.from_numpy, self.embeddings(start, count))
        records = self.records(start, count)
        mask = torch.tensor([[bool(caption.text) for caption in record.captions] for record in records])
        features = self.model.precompute(self.model.fuse(frames, windows, mask))
        return features if schema is None else rows_from(records, features, schema)

    def records(self, start: int, count: int) -> list[VideoRecord]:
        raise NotImplementedError

    def queries(self, count: int) -> list[Query]:
        raise NotImplementedError


class SyntheticVideos(SyntheticRows):
    """Short clips, a row each."""

    name = "videos"

    @property
    def rows_per_batch(self) -> int:
        return ROWS_PER_BATCH

    def texts(self, start: int, count: int) -> list[list[list[int]]]:
        """The three captions that each video has, as numbers of words; none for one video in five."""
        rng = np.random.default_rng([4, start])
        has_text = rng.random(count) < 0.8
        lengths = rng.integers(4, 13, (count, 3))
        words = self.draw_words(rng, count, 3, 12)
        return [[words[i, j, : lengths[i, j]].tolist() for j in range(3)] if has_text[i] else [] for i in range(count)]

    def captions(self, texts: list[list[int]]) -> list[WindowCaption]:
        """The first caption over windows 0 to 3, the second over 4 to 6, the third over 8 to 10."""
        captions = [WindowCaption(float(window), window + 1.0) for window in range(NUM_FRAMES)]
        for numbers, windows in zip(texts, (range(4), range(4, 7), range(8, 11)), strict=False):
            lines = [" ".join(self.words[i] for i in numbers[j : j + 3]) for j in range(0, len(numbers), 3)]
            tracks = [
                TextTrack(line, 0.9, 0.0, 1.0, (0.1, 0.2 * j, 0.9, 0.2 * j + 0.1)) for j, line in enumerate(lines)
            ]
            for window in windows:
                captions[window] = WindowCaption(float(window), window + 1.0, " ".join(lines), tracks)
        return captions

    def records(self, start: int, count: int) -> list[VideoRecord]:
        captions = [self.captions(texts) for texts in self.texts(start, count)]
        return [
            VideoRecord(video_path(start + i), str(start + i), 1 << 20, 0, 12.0, 25.0, captions[i])
            for i in range(count)
        ]

    def queries(self, count: int) -> list[Query]:
        rng = np.random.default_rng(6)
        queries = []
        for video in rng.choice(self.size, count, replace=count > self.size).tolist():
            start = video - video % self.rows_per_batch
            block = min(self.rows_per_batch, self.size - start)
            captions = self.texts(start, block)[video - start]
            words = unseen = [self.words[VOCABULARY + i] for i in rng.integers(0, VOCABULARY, 5)]
            if captions:
                caption = captions[rng.integers(3)]
                words = [self.words[i] for i in rng.choice(caption, 3, replace=False)]
                words = [misread(words[0], rng), *words[1:], *unseen[:2]]
            vector = unit(self.videos(start, block)[video - start] + 4 * self.noise(rng))
            queries.append(Query(" ".join(words), vector, "foreign words", video_path(video), []))
        return queries


class SyntheticHours(SyntheticRows):
    """Videos of an hour, of which every segment is a row.

    Args:
        hours (`int`): videos.
        dim (`int`): width of the joint space.
    """

    name = "hours"
    rows_per_centre = rows_per_batch = SEGMENTS_PER_HOUR

    def __init__(self, hours: int, dim: int):
        super().__init__(hours * SEGMENTS_PER_HOUR, dim)
        self.hours = hours

    @classmethod
    def of_rows(cls, size: int, dim: int) -> "SyntheticHours":
        return cls(size // SEGMENTS_PER_HOUR, dim)

    @cached_property
    def words(self) -> list[str]:
        """The words most often read are English filler words, as they are on signs."""
        words = self._random_words()
        words[: len(FILLER_WORDS)] = sorted(FILLER_WORDS, key=lambda word: (len(word), word))
        return words

    def videos(self, start: int, count: int) -> np.ndarray:
        """The segments of a scene are about the same."""
        return np.repeat(super().videos(start, -(-count // SCENE)), SCENE, axis=0)[:count]

    def embeddings(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """And look alike."""
        rng = np.random.default_rng([5, start])
        scenes = self.videos(start, count)[::SCENE, None]
        return tuple(
            np.repeat(unit(scenes + self.noise(rng, len(scenes), NUM_FRAMES)), SCENE, axis=0)[:count] for _ in range(2)
        )

    def draw_texts(self, hour: int) -> tuple[np.ndarray, np.ndarray, list[list[tuple[int, int]]], np.ndarray]:
        """The texts of a video: numbers of their words `(num_texts, 4)`, how many of these each has, the windows of the
        first ones, and those, `(num_others, 2)`, of the others, which are shown once."""
        rng = np.random.default_rng([4, hour])
        begins = np.repeat(np.arange(WINDOWS_PER_HOUR), TEXTS_PER_WINDOW)
        lasts = rng.geometric(0.6, len(begins))
        lasts[rng.random(len(begins)) < 0.02] *= 12  # one text in fifty stands for a minute or so
        count = SHOWN_ALWAYS + SHOWN_OFTEN + len(begins)
        lengths, words = rng.integers(1, 5, count), self.draw_words(rng, count, 4)
        lengths[: SHOWN_ALWAYS + SHOWN_OFTEN] = 3
        often = [
            [(begin, begin + 6) for begin in range(int(rng.integers(20)), WINDOWS_PER_HOUR - 6, 24)]
            for _ in range(SHOWN_OFTEN)
        ]
        windows = [*([[(0, WINDOWS_PER_HOUR)]] * SHOWN_ALWAYS), *often]
        once = np.stack([begins, np.minimum(begins + lasts, WINDOWS_PER_HOUR)], axis=1)
        return words, lengths, windows, once

    def shown(self, hour: int) -> list[Shown]:
        """The texts of a video: first those that are shown always and often, then the others in the order of time."""
        words, lengths, windows, once = self.draw_texts(hour)
        texts = [" ".join(self.words[i] for i in row[:length]) for row, length in zip(words, lengths, strict=True)]
        windows = [*windows, *([(begin, end)] for begin, end in once.tolist())]
        return [Shown(text, spans) for text, spans in zip(texts, windows, strict=True)]

    def captions(self, hour: int) -> list[WindowCaption]:
        """Captions that a video's windows have; in each, what has just come up is most salient."""
        rng = np.random.default_rng([7, hour])
        tracks: list[list[TextTrack]] = [[] for _ in range(WINDOWS_PER_HOUR)]
        for text, spans in reversed(self.shown(hour)):
            x, y, confidence = rng.random(3).tolist()
            box = (0.9 * x, 0.9 * y, 0.9 * x + 0.1, 0.9 * y + 0.05)
            for begin, end in spans:
                for window in range(begin, end):
                    start = window * WINDOW_SECONDS
                    tracks[window].append(
                        TextTrack(text, confidence, start, start + WINDOW_SECONDS, box, 2, start + WINDOW_SECONDS / 4)
                    )
        return [
            WindowCaption(
                window * WINDOW_SECONDS, (window + 1) * WINDOW_SECONDS, " ".join(track.text for track in each), each
            )
            for window, each in enumerate(tracks)
        ]

    def records(self, start: int, count: int) -> list[VideoRecord]:
        """Records that whole videos have."""
        records = []
        for hour in range(start // SEGMENTS_PER_HOUR, -(-(start + count) // SEGMENTS_PER_HOUR)):
            captions = self.captions(hour)
            for segment in range(SEGMENTS_PER_HOUR):
                begin, windows = segment * SEGMENT_SECONDS, captions[segment * NUM_FRAMES :][:NUM_FRAMES]
                about = hour_path(hour), str(hour), 1 << 30, 0, 3600.0, 25.0
                records.append(VideoRecord(*about, windows, segment, begin, begin + SEGMENT_SECONDS))
        return records[start % SEGMENTS_PER_HOUR :][:count]

    def queries(self, count: int) -> list[Query]:
        rng = np.random.default_rng(6)
        queries = []
        for place in range(count):
            hour, kind = int(rng.integers(self.hours)), QUERY_KINDS[place % len(QUERY_KINDS)]
            text, spans = self._text_to_ask_for(hour, kind, rng)
            begin, end = spans[rng.integers(len(spans))]
            segment = int(rng.integers(begin, end)) // NUM_FRAMES
            vector = unit(self.videos(hour * SEGMENTS_PER_HOUR, SEGMENTS_PER_HOUR)[segment] + 4 * self.noise(rng))
            foreign = [self.words[VOCABULARY + i] for i in rng.integers(0, VOCABULARY, 3)]
            asked = {
                "slips": " ".join(misread(word, rng) if len(word) > 3 else word for word in text.split()),
                "foreign words": " ".join([text, *foreign[:2]]),
                "sentence": f"a {foreign[0]} with the {text} on it and {foreign[1]} in the {foreign[2]}",
            }.get(kind, text)
            times = [(WINDOW_SECONDS * begin, WINDOW_SECONDS * end) for begin, end in spans]
            queries.append(Query(asked, vector, kind, hour_path(hour), times))
        return queries

    def _text_to_ask_for(self, hour: int, kind: str, rng: np.random.Generator) -> Shown:
        """One of at least three words of which two tell; what is shown once, or what many segments show."""
        shown, brief = self.shown(hour), SHOWN_ALWAYS + SHOWN_OFTEN
        shown = shown[:brief] if kind == "many segments" else shown[brief:]
        for place in rng.permutation(len(shown)):
            telling = [word for word in set(shown[place].text.split()) if word not in FILLER_WORDS]
            if len(shown[place].text.split()) > 2 and len(telling) > 1:
                return shown[place]
        return shown[0]


def video_path(video: int) -> str:
    return f"/videos/{video:07}.mp4"


def hour_path(hour: int) -> str:
    return f"/videos/hour-{hour:05}.mp4"


def misread(word: str, rng: np.random.Generator) -> str:
    """A word with one character read as an o."""
    place = rng.integers(len(word))
    return word[:place] + "o" + word[place + 1 :]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
