"""What the different captions of a row say, as vectors: rows are recalled by the one nearest to a query.

One vector for a whole segment, as [`TCDVideoFeatures`] has, blurs what its windows say apart. (Ours.)
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["CAPTION_VECTORS_COLUMN", "CaptionVectors", "encode_caption_vectors"]

CAPTION_VECTORS_COLUMN = "caption_vectors"


def encode_caption_vectors(captions: Sequence[Sequence[WindowCaption]], ocr_embeds: torch.Tensor) -> list[bytes]:
    """The column `caption_vectors` of rows: the embeddings of their different captions, float16, in order of time.

    Args:
        captions (`list[list[WindowCaption]]`): of the windows of each row.
        ocr_embeds (`torch.FloatTensor` of shape `(num_rows, num_windows, dim)`): L2-normalised.
    """
    halves = ocr_embeds.detach().float().cpu().numpy().astype(np.float16)
    encoded = []
    for windows, embeds in zip(captions, halves, strict=True):
        firsts = {caption.text: place for place, caption in reversed(list(enumerate(windows))) if caption.text}
        encoded.append(embeds[sorted(firsts.values())].tobytes())
    return encoded


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
        ends = np.frombuffer(offsets, np.int64)[: len(rows) + 1] // (2 * dim) if len(rows) else np.zeros(1, np.int64)
        self._starts, self._ends = ends[:-1], ends[1:]
        self.with_text = np.flatnonzero(self._ends > self._starts)
        numbers = np.frombuffer(values, np.float16) if ends[-1] else np.zeros(0, np.float16)
        with warnings.catch_warnings():  # Arrow's are read-only, and so are these: nobody writes to them
            warnings.simplefilter("ignore", UserWarning)
            self._vectors = torch.from_numpy(numbers[: ends[-1] * dim].reshape(-1, dim))

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
