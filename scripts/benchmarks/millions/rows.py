"""Rows of thousands of hours: vectors that lie as those of tcd-mini do, and texts as [`SyntheticHours`] shows them."""

from functools import cache, cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from scripts.benchmarks.synthetic_rows import (
    NUM_FRAMES,
    SCENE,
    SEGMENT_SECONDS,
    SEGMENTS_PER_HOUR,
    VOCABULARY,
    SyntheticHours,
    hour_path,
    unit,
)
from tcd_hf.index.spelling import spell

__all__ = ["LargeHours", "rows_of_hour"]

pc: Any = pyarrow.compute  # makes its functions when it is imported

COMMON = 0.717  # length of the mean of tcd-mini's coarse vectors, each of length 1
SHARES = (0.5, 0.3, 0.2)  # of what is left of the variance: between hours, scenes of an hour, segments of a scene
FRAME_NOISE = 1.0


class LargeHours(SyntheticHours):
    """Hours whose segments have vectors of their own.

    The mean of all, how the variance falls from direction to direction and the cosine of a query and its segment, .24,
    are those of tcd-mini's vectors of 3,000 generated segments (`scripts/benchmarks/meaning_recall.py`); how much of
    the variance lies within an hour and within a scene is assumed.
    """

    name = "large"

    @cached_property
    def axes(self) -> np.ndarray:
        """Directions, each as long as the standard deviation along it: `(dim, dim)`, turned against the coordinates."""
        places = np.arange(1, self.dim + 1)
        shares = 0.012 * np.exp(-places / 75) + 0.048 * places**-1.8
        turned = np.linalg.qr(np.random.default_rng(8).standard_normal((self.dim, self.dim)))[0]
        return (np.sqrt(shares / shares.sum())[:, None] * turned).astype(np.float32)

    @cached_property
    def common(self) -> np.ndarray:
        direction = unit(np.random.default_rng(9).standard_normal(self.dim, np.float32))
        return np.float32(COMMON) * direction

    def noise(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        """Vectors of a mean square length of 1."""
        return rng.standard_normal((*shape, self.dim), np.float32) @ self.axes

    def videos(self, start: int, count: int) -> np.ndarray:
        """`(count, dim)` unit vectors of the segments of whole hours, of the first segments of the last."""
        hours = range(start // SEGMENTS_PER_HOUR, -(-(start + count) // SEGMENTS_PER_HOUR))
        return np.concatenate([self.vectors(hour) for hour in hours])[:count]

    def vectors(self, hour: int) -> np.ndarray:
        rng = np.random.default_rng([2, hour])
        of_hour, of_scene, of_segment = (np.float32((share * (1 - COMMON**2)) ** 0.5) for share in SHARES)
        scenes = np.repeat(self.noise(rng, SEGMENTS_PER_HOUR // SCENE), SCENE, axis=0)
        own = of_scene * scenes + of_segment * self.noise(rng, SEGMENTS_PER_HOUR)
        return unit(self.common + of_hour * self.noise(rng) + own)

    def embeddings(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([5, start])
        segments = self.videos(start, count)[:, None]
        return tuple(unit(segments + FRAME_NOISE * self.noise(rng, count, NUM_FRAMES)) for _ in range(2))

    @cached_property
    def spelled(self) -> tuple[pa.Array, np.ndarray, np.ndarray]:
        """The different terms of all words that are read; their numbers, word by word; and where each word's begin."""
        terms = [spell(word).split() for word in self.words[:VOCABULARY]]
        different, numbers = np.unique(np.concatenate(terms), return_inverse=True)
        return pa.array(different.tolist()), numbers, np.cumsum([0, *map(len, terms)])

    def term_texts(self, hour: int) -> pa.Array:
        """The column `term_text` of the segments of an hour: the different terms of all that each shows."""
        words, lengths, windows, once = self.draw_texts(hour)
        texts = np.repeat(np.arange(len(windows)), list(map(len, windows)))
        spans = np.concatenate([np.concatenate(windows), once])
        texts = np.concatenate([texts, np.arange(len(windows), len(words))])
        first, counts = spans[:, 0] // NUM_FRAMES, (spans[:, 1] - 1) // NUM_FRAMES - spans[:, 0] // NUM_FRAMES + 1
        segments = np.repeat(first, counts) + _counted(counts)
        texts = np.repeat(texts, counts)
        own = np.arange(words.shape[1]) < lengths[texts, None]
        shown = _different((segments[:, None] * VOCABULARY + words[texts])[own])
        terms, numbers, begins = self.spelled
        counts = np.diff(begins)[shown % VOCABULARY]
        places = np.repeat(begins[shown % VOCABULARY], counts) + _counted(counts)
        pairs = _different(np.repeat(shown // VOCABULARY, counts) * len(terms) + numbers[places])
        ends = np.searchsorted(pairs, len(terms) * np.arange(SEGMENTS_PER_HOUR + 1))
        of_segments = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), terms.take(pa.array(pairs % len(terms))))
        return pc.binary_join(of_segments, " ")

    def recall_schema(self, with_texts: bool = True) -> pa.Schema:
        """The columns that recall reads, or those of vectors alone."""
        texts = [("term_text", pa.string())] if with_texts else []
        numbers = [("segment", pa.int32()), ("start", pa.float64()), ("end", pa.float64()), ("has_text", pa.bool_())]
        vector = pa.list_(pa.float32(), self.dim)
        return pa.schema([("path", pa.string()), *numbers, ("coarse", vector), *texts])


def _counted(counts: np.ndarray) -> np.ndarray:
    """From 0 to before each count, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _different(numbers: np.ndarray) -> np.ndarray:
    """What `np.unique` gives, which looks for equal ones in a table: thirty times as slow for these."""
    ordered = np.sort(numbers)
    return ordered[np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))]


@cache  # in each process
def generator(hours: int, dim: int) -> LargeHours:
    return LargeHours(hours, dim)


def rows_of_hour(num_hours: int, dim: int, with_texts: bool, hour: int) -> pa.Table:
    """The rows of an hour, with what recall reads of them, or with their vectors alone."""
    hours = generator(num_hours, dim)
    segments = np.arange(SEGMENTS_PER_HOUR, dtype=np.int32)
    starts = SEGMENT_SECONDS * segments
    columns = {
        "path": pa.array([hour_path(hour)] * len(segments)),
        "segment": pa.array(segments),
        "start": pa.array(starts, pa.float64()),
        "end": pa.array(starts + SEGMENT_SECONDS, pa.float64()),
        "has_text": pa.array(np.ones(len(segments), bool)),
        "coarse": pa.FixedSizeListArray.from_arrays(pa.array(hours.vectors(hour).ravel()), hours.dim),
    }
    if with_texts:
        columns["term_text"] = hours.term_texts(hour)
    return pa.table(columns, schema=hours.recall_schema(with_texts))
