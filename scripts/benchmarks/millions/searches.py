"""Whole searches in a table that has what recall reads: the other columns of candidates are made when they are read,
and the time that takes is left out."""

import time
from functools import cache
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
    hour_path,
    unit,
)
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.retrieval import Retriever
from tcd_hf.index.schema import IndexMetadata, rows_from, table_schema
from tcd_hf.index.stored_rows import StoredRows
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.video_reader import VideoRecord

__all__ = ["search", "statistics"]

COUNTED = 50  # of so many hours one is counted
SECONDS_TO_READ = 600


class GeneratedRows(StoredRows):
    """Rows that are made when they are read.

    Attributes:
        seconds (`float`): that making them took.
    """

    def __init__(self, rows: StoredRows, hours: LargeHours, positions, schema: pa.Schema):
        super().__init__(rows.model, rows.table, rows.metadata, rows.statistics, rows.fusion)
        self.hours, self.positions, self.schema = hours, positions, schema
        self.seconds = 0.0
        self._make = cache(self._make_row)

    def take(self, row_ids: np.ndarray, columns: list[str]) -> pa.Table:
        clock = time.perf_counter()
        rows = pa.concat_tables([self._make(place) for place in self.positions(row_ids).tolist()])
        self.seconds += time.perf_counter() - clock
        return rows.select([name for name in columns if name in rows.column_names])

    @torch.no_grad()
    def _make_row(self, place: int) -> pa.Table:
        hour, segment = divmod(place, SEGMENTS_PER_HOUR)
        vector = self.hours.vectors(hour)[segment]
        noise = np.random.default_rng([5, place])
        frames, windows = (
            torch.from_numpy(unit(vector + self.hours.noise(noise, 1, NUM_FRAMES)).astype(np.float32)) for _ in range(2)
        )
        model = self.hours.model
        features = model.precompute(model.fuse(frames, windows, torch.ones(1, NUM_FRAMES, dtype=torch.bool)))
        features.coarse_embeds = torch.from_numpy(vector[None])
        start = SEGMENT_SECONDS * segment
        about = hour_path(hour), str(hour), 1 << 30, 0, 3600.0, 25.0
        record = VideoRecord(*about, self._captions(hour, segment), segment, start, start + SEGMENT_SECONDS)
        return rows_from([record], features, self.schema)

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


def search(folder: Path, hours: LargeHours, count: int, exact: bool) -> dict:
    """Opens the table, searches at once, and then all queries: by vectors in memory, once they are there, or by their
    index alone."""
    queries = hours.queries(count)
    made_by = {f"{part}_fingerprint": "synthetic" for part in ("model", "tokenizer", "caption", "frame")}
    sizes = {"dim": hours.dim, "num_frames": NUM_FRAMES, "segment_seconds": SEGMENT_SECONDS, "model_name": "synthetic"}
    metadata = IndexMetadata.describe(hours.rows(0, 1, None), **made_by, **sizes, feature_type="int8")
    makers = stand_ins(hours.model, queries)
    held, clock = peak_memory(), time.perf_counter()
    table = open_table(folder, hours.hours)
    counted = LexicalStatistics.from_table(pyarrow.parquet.read_table(folder / f"{name_of(hours.hours)}.parquet"))
    budget = DEFAULT_MEMORY_BUDGET if exact else 0
    retriever = Retriever(*makers, table, metadata, counted, memory_budget=budget)
    rows = GeneratedRows(retriever.rows, hours, retriever.recall.positions, table_schema(metadata))
    retriever.rows = retriever.maker.rows = rows
    result = {"opened_s": time.perf_counter() - clock}

    def timed(text: str) -> tuple[list, float]:
        before, clock = rows.seconds, time.perf_counter()
        hits = retriever.search(text)
        return hits, time.perf_counter() - clock - (rows.seconds - before)

    result["first_search_s"] = timed(queries[0].text)[1]
    if exact:
        while retriever.recall.vectors(np.zeros(0, np.uint64)) is None:
            if time.perf_counter() - clock > SECONDS_TO_READ:
                raise TimeoutError(f"The vectors were not read in {SECONDS_TO_READ} s.")
            time.sleep(0.1)
        result["vectors_s"] = time.perf_counter() - clock
    found, seconds = zip(*(timed(query.text) for query in queries), strict=True)
    result["p50"], result["p95"] = np.percentile(1000 * np.array(seconds), [50, 95]).tolist()
    result |= {"peak_gb": peak_memory() / 1e9, "held_before_gb": held / 1e9, **recall_at(list(found), queries)}
    return result
