"""What the different captions of a row say, as vectors: rows are recalled by the one nearest to a query.

One vector for a whole segment, as [`TCDVideoFeatures`] has, blurs what its windows say apart. (Ours.)
"""

from collections.abc import Sequence

import numpy as np
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
        rows (`Sequence[bytes]`): the column `caption_vectors` of a table, in its order.
        dim (`int`): width of a vector.

    Attributes:
        with_text (`np.ndarray`): places of the rows with text.
    """

    def __init__(self, rows: Sequence[bytes], dim: int):
        counts = np.array([len(row) // (2 * dim) for row in rows], np.int64)
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        self.with_text = np.flatnonzero(counts)
        numbers = np.frombuffer(bytearray(b"".join(rows)), np.float16)
        self._vectors = torch.from_numpy(numbers.reshape(-1, dim))

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
        of_rows = (self._vectors[self._starts[place] : self._ends[place]].float().numpy() for place in places.tolist())
        return np.array([(vectors * query).sum(axis=1).max() for vectors in of_rows], np.float32)
