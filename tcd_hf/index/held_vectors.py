"""The vectors that rows are recalled by, in memory: read at once, or in a thread while searches go on without them."""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.index.caption_vectors import CAPTION_VECTORS_COLUMN, CaptionVectors, bytes_of_vectors
from tcd_hf.index.metadata import COARSE_COLUMN
from tcd_hf.index.row_indices import bytes_in_memory

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["HALF_ROUNDING", "HeldVectors", "read_in_background"]

logger = logging.getLogger(__name__)

# Of vectors of captions, in float16, that rows are recalled by. A query takes as long as reading them does, some 8 ms.
MAX_CAPTION_BYTES = 256 << 20
ROWS_PER_BATCH = 8192  # that are read at once
SAMPLED_ROWS = 256  # by which it is told how many there are
# More than the error of a product with unit vectors in float32, and of one with vectors and query in float16.
ROUNDING, HALF_ROUNDING = 1e-5, 4e-3  # relative to the query's length
IS_OVER = threading.Event()  # the interpreter ends
READERS: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()


class HeldVectors:
    """The coarse vectors of all rows of a table, and those of their captions, where it has them, while these take no
    more than `MAX_CAPTION_BYTES` and fit beside the others.

    Args:
        table (`lancedb.table.Table`): of segments of videos.
        memory_budget (`int`): bytes that all may take; the coarse vectors fit.
        is_over (`Callable[[], bool]`, *optional*): asked now and then, for as long as it reads.

    Raises:
        InterruptedError: it is over.

    Attributes:
        captions ([`CaptionVectors`], *optional*): those of captions.
    """

    def __init__(self, table: "Table", memory_budget: int, is_over: Callable[[], bool] = lambda: False):
        num_rows, self.dim = table.count_rows(), table.schema.field(COARSE_COLUMN).type.list_size
        memory_left = min(memory_budget - bytes_in_memory(num_rows, self.dim), MAX_CAPTION_BYTES)
        has_captions = _captions_may_fit(table, num_rows, memory_left)
        captions: list[pa.LargeBinaryArray] | None = [] if has_captions else None
        self._vectors, start = np.empty((num_rows, self.dim), np.float32), 0
        columns = [COARSE_COLUMN, *[CAPTION_VECTORS_COLUMN] * has_captions]
        for batch in table.search().select(columns).to_batches(ROWS_PER_BATCH):
            if is_over():
                raise InterruptedError
            rows = slice(start, start := start + len(batch))
            self._vectors[rows] = batch[COARSE_COLUMN].flatten().to_numpy().reshape(len(batch), -1)
            if captions is not None:
                captions.append(batch[CAPTION_VECTORS_COLUMN].cast(pa.large_binary()))
                memory_left -= bytes_of_vectors(captions[-1].nbytes)
                if memory_left < 0:
                    captions = None
                    logger.info("There are too many vectors of captions: rows are recalled without them.")
        self._halves = torch.from_numpy(self._vectors).half()
        # None of no row, as of an index that is empty.
        self.captions = CaptionVectors(pa.concat_arrays(captions), self.dim) if captions else None

    def of(self, positions: np.ndarray) -> pa.FixedSizeListArray:
        """The coarse vectors of rows, as the column `coarse` has them."""
        return pa.FixedSizeListArray.from_arrays(pa.array(self._vectors[positions].ravel()), self.dim)

    def products(self, queries: torch.Tensor) -> tuple[np.ndarray, float]:
        """Products of all vectors and some queries, `(num_queries, num_rows)` float32, and their error (`ROUNDING`). A
        single query's is one of halves, as it takes as long as reading the vectors does."""
        # By torch, as all else: threads of another library, still awake from here, would stand in its way.
        with torch.autocast("cpu", enabled=False):
            if len(queries) == 1:
                products = torch.mv(self._halves, queries[0].half())
                return products.float()[None].numpy(), HALF_ROUNDING
            return (torch.from_numpy(self._vectors) @ queries.T).T.numpy(), ROUNDING

    def exact(self, query: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The products of some vectors and a query, row by row: equal rows tie."""
        return (self._vectors[positions] * query).sum(axis=1)


def read_in_background(table: "Table", memory_budget: int, keep: Callable[[HeldVectors], None]) -> threading.Thread:
    """Reads vectors in a thread, for as long as somebody waits for them and the interpreter goes on. An error is
    logged: searches go on without them.

    Args:
        table, memory_budget: see [`HeldVectors`].
        keep (`Callable[[HeldVectors], None]`): a method, given the vectors when they are there; its object is not kept
            alive.
    """
    thread = threading.Thread(target=_read, args=(table, memory_budget, weakref.WeakMethod(keep)), daemon=True)
    READERS.add(thread)
    thread.start()
    return thread


def _read(table: "Table", memory_budget: int, keep: "weakref.WeakMethod[Callable[[HeldVectors], None]]") -> None:
    logger.info("The vectors are read in the background; until then their index on the disk is searched.")
    start = time.monotonic()
    try:
        held = HeldVectors(table, memory_budget, is_over=lambda: IS_OVER.is_set() or keep() is None)
    except InterruptedError:
        return
    except Exception as error:
        logger.warning("The vectors cannot be read, and their index on the disk is searched: %s", error)
        return
    if (kept := keep()) is not None:
        kept(held)
        logger.info("The vectors were read in %.1f s.", time.monotonic() - start)


@atexit.register
def _end_reading() -> None:
    IS_OVER.set()
    for thread in list(READERS):
        thread.join()


def _captions_may_fit(table: "Table", num_rows: int, memory_left: int) -> bool:
    """Whether there are vectors of captions, and, as far as the first rows tell, not far too many to be read."""
    if CAPTION_VECTORS_COLUMN not in table.schema.names:
        return False
    first = table.search().select([CAPTION_VECTORS_COLUMN]).limit(SAMPLED_ROWS).to_arrow()
    return bytes_of_vectors(first.nbytes) / max(1, len(first)) * num_rows <= 2 * memory_left
