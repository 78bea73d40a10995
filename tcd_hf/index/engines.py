"""What reads and encodes the files of an [`Ingest`]: processes of this machine, or a Ray cluster."""

import os
import threading
from collections.abc import Iterable
from typing import get_args

from tcd_hf.choices import Engine
from tcd_hf.index.encoding import BegunVideos, encode_segments
from tcd_hf.index.ingest import Ingest, IngestEngine
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.reading.video_reader import ReadSegment, SkippedVideo, VideoFile, VideoReader
from tcd_hf.reading.worker_pool import choose_num_workers, read_videos
from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS

__all__ = ["LocalEngine", "batch_size_for", "check_engine", "make_engine"]

SEGMENTS_PER_BATCH = 8  # that an accelerator encodes at once


def check_engine(name: Engine, workers: int | None, stall_seconds: float) -> None:
    """Refuses what no engine can do, before others have to wait, or a model is loaded.

    Raises:
        ValueError: no such engine, or a number of `workers` or of seconds that it cannot have.
        ImportError: Ray is not installed.
    """
    if name not in get_args(Engine):
        raise ValueError(f"engine must be one of {', '.join(map(repr, get_args(Engine)))}, got {name!r}.")
    if name == "local" and workers is not None and workers < 0:
        raise ValueError(f"workers must be 0 (read in this process) or more, got {workers}.")
    if not stall_seconds > 0:
        raise ValueError(f"stall_seconds must be above 0, got {stall_seconds}.")
    if name == "ray":
        from tcd_hf.index.ray_engine import check_ray

        check_ray(workers)


def make_engine(
    name: Engine,
    model: TCDModel,
    reader: VideoReader,
    padding_side: str,
    workers: int | None,
    stall_seconds: float,
    batch_size: int | None = None,
    stop: threading.Event | None = None,
) -> IngestEngine:
    """What spreads the work, see [`VideoIndex.add`], [`LocalEngine`] and [`RayEngine`]."""
    if name == "ray":
        from tcd_hf.index.ray_engine import RayEngine

        return RayEngine(model, reader, padding_side, workers, stall_seconds, batch_size)
    return LocalEngine(model, reader, padding_side, workers, batch_size, stall_seconds, stop)


def batch_size_for(model: TCDModel) -> int:
    """Segments to encode at once: on a CPU the frames of one are enough."""
    return 1 if model.device.type == "cpu" else SEGMENTS_PER_BATCH


class LocalEngine:
    """The engine `"local"`: processes of this machine read segments, and this one encodes them.

    Args:
        model (`TCDModel`): computes features.
        reader ([`VideoReader`]): reads files, and makes the model's inputs.
        padding_side (`"right"` or `"left"`): of the tokenizer.
        num_workers (`int`, *optional*): processes that read; 0 reads in this one. By default chosen by the number of
            files, and none where there can be no other process.
        batch_size (`int`, *optional*): segments to encode at once. By default, on a CPU the frames of one are enough.
        stall_seconds (`float`, *optional*, defaults to 120), stop (`threading.Event`, *optional*): see `read_videos`.
    """

    def __init__(
        self,
        model: TCDModel,
        reader: VideoReader,
        padding_side: str,
        num_workers: int | None = None,
        batch_size: int | None = None,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
        stop: threading.Event | None = None,
    ):
        self.model, self.reader, self.padding_side = model, reader, padding_side
        self.num_workers = num_workers
        self.stall_seconds, self.stop = stall_seconds, stop
        self.batch_size = batch_size or batch_size_for(model)

    def __call__(self, ingest: Ingest, files: Iterable[VideoFile], num_files: int) -> None:
        num_workers = choose_num_workers(num_files) if self.num_workers is None else self.num_workers
        videos = BegunVideos(ingest)
        batch: list[ReadSegment] = []
        may_read_here = self.num_workers is None
        for read in read_videos(self.reader, files, num_workers, self.stall_seconds, self.stop, may_read_here):
            if isinstance(read, SkippedVideo):
                videos.skip(read)
                continue
            batch.append(read)
            # The next file can end this process: what it has read of this one is not left waiting for others.
            is_over = read.process == os.getpid() and read.record.segment == read.num_segments - 1
            if is_over or len(batch) == self.batch_size:
                self._encode(videos, batch)
                batch = []
        if batch:
            self._encode(videos, batch)

    def _encode(self, videos: BegunVideos, batch: list[ReadSegment]) -> None:
        rows = encode_segments(self.model, batch, self.padding_side, videos.ingest.schema)
        for read, row in zip(batch, rows, strict=True):
            if isinstance(row, SkippedVideo):
                videos.skip(row)
            elif videos.add(read, row) and read.process == os.getpid():  # which the next file can end
                videos.ingest.write_now()  # what is finished stays
