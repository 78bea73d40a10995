"""The table that is searched, continued where a run was interrupted, and what its exact neighbours are."""

import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

os.environ.setdefault("LANCEDB_LOG", "error")

import lancedb
import numpy as np
import pyarrow as pa
import torch
from lancedb.table import Table

from scripts.benchmarks.millions.rows import LargeHours, rows_of_hour
from scripts.benchmarks.retrieval.tables import made_ahead
from scripts.benchmarks.synthetic_rows import SEGMENTS_PER_HOUR

__all__ = ["bytes_of", "exact_neighbours", "open_table", "write_table"]

HOURS_PER_COMMIT = 100
BLOCK = 1 << 17  # vectors that are compared at once
EXACT = 50  # neighbours


def name_of(hours: int) -> str:
    return f"hours_{hours}"


def open_table(folder: Path, hours: int) -> Table:
    return lancedb.connect(folder).open_table(name_of(hours))


def write_table(folder: Path, hours: LargeHours, workers: int, with_texts: bool = True) -> Table:
    """Makes a table of the rows of all hours, or goes on with it."""
    schema = hours.recall_schema(with_texts)
    table = lancedb.connect(folder).create_table(name_of(hours.hours), schema=schema, exist_ok=True)
    begin = table.count_rows() // SEGMENTS_PER_HOUR
    rows = made_ahead(partial(rows_of_hour, hours.hours, hours.dim, with_texts), range(begin, hours.hours), workers)
    for written in range(begin, hours.hours, HOURS_PER_COMMIT):
        table.add(pa.RecordBatchReader.from_batches(schema, _batches(islice(rows, HOURS_PER_COMMIT))))
        print(f"{written + HOURS_PER_COMMIT} of {hours.hours} hours written", flush=True)
    if begin < hours.hours:
        table.optimize()  # as `VideoIndex.add` does after so many commits
    return table


def _batches(tables: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    for rows in tables:
        yield from rows.combine_chunks().to_batches()


def exact_neighbours(folder: Path, hours: LargeHours, queries: np.ndarray) -> np.ndarray:
    """Numbers of the rows with the largest dot products: `(num_queries, EXACT)`. They are kept in the folder."""
    kept = folder / f"{name_of(hours.hours)}_{len(queries)}.npy"
    if kept.exists():
        return np.load(kept)
    asked = torch.from_numpy(queries)
    best, numbers, start = torch.full((len(queries), 0), -1.0), torch.zeros((len(queries), 0), dtype=torch.int64), 0
    table = open_table(folder, hours.hours)
    for batch in table.search().select(["coarse"]).to_batches(BLOCK):
        vectors = torch.from_numpy(batch["coarse"].flatten().to_numpy().reshape(-1, hours.dim).copy())
        own = torch.arange(start, start := start + len(vectors)).expand(len(queries), -1)
        scores = torch.cat([best, asked @ vectors.T], dim=1)
        best, places = scores.topk(min(EXACT, scores.shape[1]), dim=1)
        numbers = torch.cat([numbers, own], dim=1).gather(1, places)
    np.save(kept, numbers.numpy())
    return numbers.numpy()


def bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
