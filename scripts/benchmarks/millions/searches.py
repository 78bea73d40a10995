"""Whole searches in a table that has what recall reads: the other columns of candidates are made when they are read,
and the time that takes is left out."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch

from scripts.benchmarks.costs.children import peak_memory
from scripts.benchmarks.millions.rows import LargeHours
from scripts.benchmarks.millions.tables import name_of, open_table
from scripts.benchmarks.retrieval.measures import recall_at, stand_ins
from scripts.benchmarks.synthetic_rows import (
    NUM_FRAMES,
    SEGMENT_SECONDS,
    SEGMENTS_PER_HOUR,
    WINDOW_SECONDS,
    Query,
    hour_path,
    unit,
)
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.retrieval import Retriever
from tcd_hf.index.row_indices import bytes_in_memory
from tcd_hf.index.schema import IndexMetadata, rows_from, table_schema
from tcd_hf.index.stored_rows import StoredRows
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.video_reader import VideoRecord

__all__ = ["search", "statistics"]

COUNTED = 50  # of so many hours one is counted
SECONDS_TO_READ = 600


class GeneratedRows(StoredRows):
    """Rows that are made when they are read, and kept in `made`.

    Attributes:
        seconds, worked (`float`): that making them took, by the clock and of the processor.
    """

    def __init__(self, rows: StoredRows, hours: LargeHours, positions, schema: pa.Schema, made: dict[int, pa.Table]):
        super().__init__(rows.model, rows.table, rows.metadata, rows.statistics, rows.fusion)
        self.hours, self.positions, self.schema = hours, positions, schema
        self.seconds = self.worked = 0.0
        self._made = made

    def take(self, row_ids: np.ndarray, columns: list[str]) -> pa.Table:
        clock, work = time.perf_counter(), time.process_time()
        places = self.positions(row_ids).tolist()
        missing = [place for place in places if place not in self._made]
        if missing:
            made = self._make(missing)
            self._made.update((place, made.slice(number, 1)) for number, place in enumerate(missing))
        rows = pa.concat_tables([self._made[place] for place in places]).combine_chunks()
        self.seconds += time.perf_counter() - clock
        self.worked += time.process_time() - work
        return rows.select([name for name in columns if name in rows.column_names])

    @torch.no_grad()
    def _make(self, places: list[int]) -> pa.Table:
        parts = [divmod(place, SEGMENTS_PER_HOUR) for place in places]
        vectors = np.stack([self.hours.vectors(hour)[segment] for hour, segment in parts])
        noises = [self.hours.noise(np.random.default_rng([5, place]), 2, NUM_FRAMES) for place in places]
        frames, windows = torch.from_numpy(unit(vectors[:, None, None] + np.stack(noises))).unbind(dim=1)
        model = self.hours.model
        mask = torch.ones(len(places), NUM_FRAMES, dtype=torch.bool)
        features = model.precompute(model.fuse(frames, windows, mask))
        features.coarse_embeds = torch.from_numpy(vectors)
        records = []
        for hour, segment in parts:
            start, about = SEGMENT_SECONDS * segment, (hour_path(hour), str(hour), 1 << 30, 0, 3600.0, 25.0)
            captions = self._captions(hour, segment)
            records.append(VideoRecord(*about, captions, segment, start, start + SEGMENT_SECONDS))
        return rows_from(records, features, self.schema)

    def _captions(self, hour: int, segment: int) -> list[WindowCaption]:
        first = segment * NUM_FRAMES
        captions = [
            WindowCaption((first + place) * WINDOW_SECONDS, (first + place + 1) * WINDOW_SECONDS)
            for place in range(NUM_FRAMES)
        ]
        words, lengths, windows, once = self.hours.draw_texts(hour)
        spans = [(number, span) for number, own in enumerate(windows) for span in own]
        shown = np.flatnonzero((once[:, 0] < first + NUM_FRAMES) & (once[:, 1] > first))
        spans += [(len(windows) + number, tuple(once[number])) for number in shown.tolist()]
        for number, (begin, end) in spans:
            text = " ".join(self.hours.words[word] for word in words[number, : lengths[number]])
            for caption in captions[max(0, begin - first) : max(0, end - first)]:
                caption.tracks.append(TextTrack(text, 0.9, caption.start, caption.end, (0.1, 0.1, 0.5, 0.2)))
        for caption in captions:
            caption.text = " ".join(track.text for track in caption.tracks)
        return captions


def statistics(folder: Path, hours: LargeHours, count: int) -> dict:
    """Counts the terms of some of the hours, and takes them for those of all."""
    counted = LexicalStatistics()
    for hour in range(0, hours.hours, COUNTED):
        counted.add(pa.table({"term_text": hours.term_texts(hour)}))
    counted.document_frequency *= COUNTED
    counted.num_rows = hours.size
    pyarrow.parquet.write_table(counted.to_table(), folder / f"{name_of(hours.hours)}.parquet")
    return {"terms": int((counted.document_frequency > 0).sum())}


def search(folder: Path, hours: LargeHours, count: int) -> dict[str, dict]:
    """Opens the table and searches: by the index of vectors alone, and, where they fit, by vectors in memory."""
    queries = hours.queries(count)
    made_by = {f"{part}_fingerprint": "synthetic" for part in ("model", "tokenizer", "caption", "frame")}
    sizes = {"dim": hours.dim, "num_frames": NUM_FRAMES, "segment_seconds": SEGMENT_SECONDS, "model_name": "synthetic"}
    metadata = IndexMetadata.describe(hours.rows(0, 1, None), **made_by, **sizes, feature_type="int8")
    makers = stand_ins(hours.model, queries)
    made: dict[int, pa.Table] = {}
    results = {}
    for name, budget in (("their index alone", 0), ("vectors in memory", DEFAULT_MEMORY_BUDGET)):
        if budget and bytes_in_memory(hours.size, hours.dim) > budget:
            continue
        clock = time.perf_counter()
        table = open_table(folder, hours.hours)
        counted = LexicalStatistics.from_table(pyarrow.parquet.read_table(folder / f"{name_of(hours.hours)}.parquet"))
        retriever = Retriever(*makers, table, metadata, counted, memory_budget=budget)
        rows = GeneratedRows(retriever.rows, hours, retriever.recall.positions, table_schema(metadata), made)
        retriever.rows = retriever.maker.rows = rows
        opened = time.perf_counter() - clock
        results[name] = {"opened_s": opened, **_measure(retriever, rows, queries, waits=budget > 0)}
    return results


def _measure(retriever: Retriever, rows: GeneratedRows, queries: list[Query], waits: bool) -> dict:
    """Times and finds of all queries, the first of which is asked at once; where it waits, of the others when vectors
    are in memory."""

    def timed(text: str) -> tuple[list, float, float]:
        clock, work = time.perf_counter() - rows.seconds, time.process_time() - rows.worked
        hits = retriever.search(text)
        return hits, time.perf_counter() - rows.seconds - clock, time.process_time() - rows.worked - work

    start = time.perf_counter()
    result = {"first_search_s": timed(queries[0].text)[1]}
    while waits and retriever.recall.vectors(np.zeros(0, np.uint64)) is None:
        if time.perf_counter() - start > SECONDS_TO_READ:
            raise TimeoutError(f"The vectors were not read in {SECONDS_TO_READ} s.")
        time.sleep(0.1)
    if waits:
        result["vectors_s"] = time.perf_counter() - start
    found, seconds, worked = zip(*(timed(query.text) for query in queries), strict=True)
    result["p50"], result["p95"] = np.percentile(1000 * np.array(seconds), [50, 95]).tolist()
    result["work"] = 1000 * float(np.median(worked))
    return result | {"peak_gb": peak_memory() / 1e9, **recall_at(list(found), queries)}
