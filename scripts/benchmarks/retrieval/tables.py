"""The tables that are searched: written in commits, continued where a run was interrupted, found complete."""

import argparse
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("LANCEDB_LOG", "error")

import lancedb
import pyarrow as pa

from scripts.benchmarks.synthetic_rows import NUM_FRAMES, SEGMENT_SECONDS, SyntheticRows, SyntheticVideos, video_path
from tcd_hf.index.row_indices import create_text_index
from tcd_hf.index.schema import IndexMetadata, table_schema

BATCHES_PER_COMMIT = 20


def open_index(videos: SyntheticRows, args: argparse.Namespace) -> tuple:
    """The table of the rows, made or continued or found complete; its metadata; and what making it took."""
    metadata = IndexMetadata.describe(
        videos.rows(0, 1, None),
        model_fingerprint="synthetic",
        tokenizer_fingerprint="synthetic",
        caption_fingerprint="synthetic",
        frame_fingerprint="synthetic",
        model_name="synthetic",
        dim=videos.dim,
        num_frames=NUM_FRAMES,
        segment_seconds=SEGMENT_SECONDS,
    )
    schema = table_schema(metadata)
    make_rows = partial(rows_of_index, type(videos), videos.size, videos.dim, schema)
    return *write_table(args, videos, schema, make_rows), metadata


def rows_of_index(kind: type[SyntheticRows], size: int, dim: int, schema: pa.Schema, start: int) -> pa.Table:
    videos = generator(kind, size, dim)
    return videos.rows(start, min(videos.rows_per_batch, size - start), schema)


@cache  # in each process
def generator(kind: type[SyntheticRows], size: int, dim: int) -> SyntheticRows:
    return kind.of_rows(size, dim)


def open_recall_table(videos: SyntheticVideos, args: argparse.Namespace) -> tuple:
    """A table of what recall reads, likewise."""
    schema = pa.schema(
        [("path", pa.string()), ("coarse", pa.list_(pa.float32(), videos.dim)), ("term_text", pa.string())]
    )
    return write_table(args, videos, schema, partial(rows_for_recall, videos.size, videos.dim, schema))


def rows_for_recall(size: int, dim: int, schema: pa.Schema, start: int) -> pa.Table:
    videos = generator(SyntheticVideos, size, dim)
    count = min(videos.rows_per_batch, size - start)
    paths = [video_path(start + i) for i in range(count)]
    coarse = pa.FixedSizeListArray.from_arrays(pa.array(videos.videos(start, count).ravel()), dim)
    terms = [
        " ".join(dict.fromkeys(term for caption in texts for word in caption for term in videos.spelled_words[word]))
        for texts in videos.texts(start, count)
    ]
    return pa.table([pa.array(paths), coarse, pa.array(terms)], schema=schema)


def write_table(
    args: argparse.Namespace, videos: SyntheticRows, schema: pa.Schema, make_rows: Callable[[int], pa.Table]
) -> tuple:
    """Writes a table in commits of some thousand rows, from where an earlier run stopped. Seconds are of this run."""
    database = lancedb.connect(args.folder)
    name = f"{videos.name}_{videos.size}_{videos.dim}"
    table = database.create_table(name, schema=schema, exist_ok=True)
    build_file = args.folder / f"{name}.json"
    build = json.loads(build_file.read_text()) if build_file.exists() else {}
    waiting = 0.0

    def batches(rows: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
        nonlocal waiting
        for _ in range(BATCHES_PER_COMMIT):
            clock = time.perf_counter()
            batch = next(rows, None)
            waiting += time.perf_counter() - clock
            if batch is not None:
                yield from batch.combine_chunks().to_batches()

    begin = written = table.count_rows()
    clock = time.perf_counter()
    rows = made_ahead(make_rows, range(begin, videos.size, videos.rows_per_batch), args.workers)
    while written < videos.size:
        table.add(pa.RecordBatchReader.from_batches(schema, batches(rows)))
        written = table.count_rows()
        print(f"{written} of {videos.size} rows written", flush=True)
    if begin < videos.size:
        build = {"write_ms": 1000 * (time.perf_counter() - clock - waiting) / (videos.size - begin)}
    if "text_index_s" not in build:
        table.optimize()  # as `VideoIndex.add` does after so many commits
        before = disk_bytes(args.folder / f"{name}.lance")
        clock = time.perf_counter()
        create_text_index(table)
        build["text_index_s"] = time.perf_counter() - clock
        build["row_bytes"] = before / videos.size
        build["text_index_bytes"] = (disk_bytes(args.folder / f"{name}.lance") - before) / videos.size
        build_file.write_text(json.dumps(build))
    return table, build


def made_ahead(make_rows: Callable[[int], pa.Table], starts: range, workers: int) -> Iterator[pa.Table]:
    """Rows in order, made by processes besides this one."""
    if workers < 2:
        yield from map(make_rows, starts)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        pending: deque = deque()
        for start in starts:
            pending.append(pool.submit(make_rows, start))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
