"""What the different captions of a row say, as vectors: rows are recalled by the one nearest to a query.

One vector for a whole segment, as [`TCDVideoFeatures`] has, blurs what its windows say apart. (Ours.)
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.index.int8_vectors import bytes_of_vector, decode_vectors, encode_vectors
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["CAPTION_VECTORS_COLUMN", "CaptionVectors", "bytes_of_vectors", "encode_caption_vectors"]

CAPTION_VECTORS_COLUMN = "caption_vectors"
VECTORS_AT_ONCE = 1 << 14  # that are read from bytes


def encode_caption_vectors(captions: Sequence[Sequence[WindowCaption]], ocr_embeds: torch.Tensor) -> list[bytes]:
    """The column `caption_vectors` of rows: the embeddings of their different captions in order of time, as
    [`encode_vectors`] writes them.

    Args:
        captions (`list[list[WindowCaption]]`): of the windows of each row.
        ocr_embeds (`torch.FloatTensor` of shape `(num_rows, num_windows, dim)`): L2-normalised.
    """
    encoded = []
    for windows, embeds in zip(captions, ocr_embeds.detach().float().cpu().numpy(), strict=True):
        firsts = {caption.text: place for place, caption in reversed(list(enumerate(windows))) if caption.text}
        encoded.append(encode_vectors(embeds[sorted(firsts.values())]).tobytes())
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
        width = bytes_of_vector(dim)
        ends = np.frombuffer(offsets, np.int64)[: len(rows) + 1] // width if len(rows) else np.zeros(1, np.int64)
        self._starts, self._ends = ends[:-1], ends[1:]
        self.with_text = np.flatnonzero(self._ends > self._starts)
        vectors = np.empty((ends[-1], dim), np.float16)
        for start in range(0, len(vectors), VECTORS_AT_ONCE):
            count = min(VECTORS_AT_ONCE, len(vectors) - start)
            stored = np.frombuffer(values, np.int8, count * width, start * width).reshape(count, width)
            vectors[start : start + count] = decode_vectors(torch.from_numpy(stored.copy())).numpy()
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
