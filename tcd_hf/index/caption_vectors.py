"""What the different captions of a row say, as vectors: rows are recalled by the one nearest to a query.

One vector for a whole segment, as [`TCDVideoFeatures`] has, blurs what its windows say apart. (Ours.)
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["CAPTION_VECTORS_COLUMN", "CaptionVectors", "bytes_of_vectors", "encode_caption_vectors"]

CAPTION_VECTORS_COLUMN = "caption_vectors"
LEVELS = 127  # of a number, on either side of 0
VECTORS_AT_ONCE = 1 << 14  # that are read from bytes


def encode_caption_vectors(captions: Sequence[Sequence[WindowCaption]], ocr_embeds: torch.Tensor) -> list[bytes]:
    """The column `caption_vectors` of rows: the embeddings of their different captions in order of time, of each
    its largest number as a float16, and all its numbers as int8, in 127ths of that: they only recall.

    Args:
        captions (`list[list[WindowCaption]]`): of the windows of each row.
        ocr_embeds (`torch.FloatTensor` of shape `(num_rows, num_windows, dim)`): L2-normalised.
    """
    halves = ocr_embeds.detach().float().cpu().numpy().astype(np.float16)
    encoded = []
    for windows, embeds in zip(captions, halves, strict=True):
        firsts = {caption.text: place for place, caption in reversed(list(enumerate(windows))) if caption.text}
        vectors = embeds[sorted(firsts.values())].astype(np.float32)
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0).astype(np.float16)
        numbers = np.rint(LEVELS * vectors / np.maximum(largest.astype(np.float32), 1e-6)).astype(np.int8)
        encoded.append(np.concatenate([largest.view(np.int8), numbers], axis=1).tobytes())
    return encoded


def bytes_of_vectors(stored: int) -> int:
    """What stored vectors of so many bytes take in memory, in float16: about twice as much."""
    return 2 * stored


class CaptionVectors:
    """The vectors of many rows, in memory.

    Args:
        rows (`pa.LargeBinaryArray`): the column `caption_vectors` of a table, in its order.
        dim (`int`): width of a vector.

    Attributes:
        with_text (`np.ndarray`): places of the rows with text.
    """

    def __init__(self, rows: pa.LargeBinaryArray, dim: int):
        _, offsets, values = rows.buffers()
        width = 2 + dim  # bytes
        ends = np.frombuffer(offsets, np.int64)[: len(rows) + 1] // width if len(rows) else np.zeros(1, np.int64)
        self._starts, self._ends = ends[:-1], ends[1:]
        self.with_text = np.flatnonzero(self._ends > self._starts)
        vectors = np.empty((ends[-1], dim), np.float16)
        for start in range(0, len(vectors), VECTORS_AT_ONCE):
            count = min(VECTORS_AT_ONCE, len(vectors) - start)
            stored = np.frombuffer(values, np.int8, count * width, start * width).reshape(count, width)
            largest = stored[:, :2].copy().view(np.float16).astype(np.float32)
            vectors[start : start + count] = stored[:, 2:] * (largest / LEVELS)
        self._vectors = torch.from_numpy(vectors)

    def products(self, query: np.ndarray) -> np.ndarray:
        """`(num_rows,)` float32: of each row the largest dot product with a query `(dim,)`, `-inf` without text.

        As exact as halves are, as it takes as long as reading the vectors does.
        """
        best = np.full(len(self._starts), -np.inf, np.float32)
        if len(self.with_text):
            with torch.autocast("cpu", enabled=False):
                products = torch.mv(self._vectors, torch.from_numpy(query).half()).float().numpy()
            best[self.with_text] = np.maximum.reduceat(products, self._starts[self.with_text])
        return best

    def exact(self, query: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The same of some rows with text, row by row in float32: equal rows tie."""
        counts = self._ends[places] - self._starts[places]
        firsts = np.cumsum(counts) - counts
        own = np.arange(counts.sum()) + np.repeat(self._starts[places] - firsts, counts)
        products = (self._vectors.numpy()[own].astype(np.float32) * query).sum(axis=1)
        return np.maximum.reduceat(products, firsts) if len(places) else np.zeros(0, np.float32)
