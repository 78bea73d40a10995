"""Videos read in processes, segment by segment; a process that dies takes no other video with it."""

import copy
import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

from tcd_hf.processing.ocr_engines import OCREngineError
from tcd_hf.processing.video_files import VideoReadError, has_pyav
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.cache import CacheError
from tcd_hf.reading.own_texts import has_subtitles
from tcd_hf.reading.segments import Segment
from tcd_hf.reading.video_reader import (
    Frames,
    OpenedVideo,
    ReadSegment,
    SkippedVideo,
    VideoFile,
    VideoReader,
    describe_error,
)
from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS, Failure, Workers, start_workers, usable_cores

__all__ = [
    "Result",
    "SegmentReader",
    "Task",
    "Tasks",
    "careful_reader",
    "choose_num_workers",
    "find_subtitles",
    "give_up",
    "read_videos",
    "warn_of_reading_here",
]

logger = logging.getLogger(__name__)

MIN_FILES = 8  # below, one process: the imports of another take longer than it saves
MAX_DEFAULT_WORKERS = 32


def choose_num_workers(num_files: int) -> int:
    """Processes to read with when the user does not say: one per usable core where there is enough to do, else one.

    Never none: a file that brings its decoder down would end this process.
    """
    if num_files < MIN_FILES:
        return 1
    return max(1, min(usable_cores(), num_files // 2, MAX_DEFAULT_WORKERS))


def warn_of_reading_here() -> None:
    """Says, once for a run that was told to, what reading in this process means."""
    logger.warning("Videos are read in this process, as was asked for: a bad file can end it, or hold it up for ever.")


def read_videos(
    reader: VideoReader,
    files: Iterable[VideoFile],
    num_workers: int,
    stall_seconds: float = DEFAULT_STALL_SECONDS,
    stop: threading.Event | None = None,
    may_read_here: bool = False,
) -> Iterator[ReadSegment | SkippedVideo]:
    """Reads videos in processes, or in this one, segment by segment; those of a long video are read side by side.

    Files are taken from their iterable only as fast as their segments are taken from this one: at most
    `TASKS_PER_WORKER * num_workers` are in flight, for frames take much memory. A video that was begun is finished
    before others are. Without files no process is started.

    When a process dies (a crash in a decoder, no memory left), the segment that it was at is read once more, and its
    file is skipped if that happens again; see [`Workers`]. PyAV then stands in for decord, if the file was just opened
    and the reader's `backend` leaves the choice.

    Args:
        reader (`VideoReader`): reads one.
        files (`Iterable[VideoFile]`): what to read.
        num_workers (`int`): processes; 0 reads in this one, which a bad file can then end. One leaves it to this
            process to make the model's inputs, so that it need not import what this one has.
        stall_seconds (`float`, *optional*, defaults to 120): a process that gives neither a frame nor a text for so
            long is ended, and the file skipped; see [`Workers`].
        stop (`threading.Event`, *optional*): once it is set, nothing more is read.
        may_read_here (`bool`, *optional*, defaults to `False`): where there can be no other process, read in this one,
            with a warning.

    Yields:
        [`ReadSegment`], in the order in which they are done; for a video that cannot be read one [`SkippedVideo`],
        perhaps after some of its segments, and nothing of it after that.

    Raises:
        WorkerError: there can be no other process.
        CacheError, OCREngineError, ImportError: see [`VideoReader`].
    """
    stop = stop or threading.Event()
    files = iter(files)
    if stop.is_set() or (first := next(files, None)) is None:
        return
    files = chain([first], files)
    if num_workers > 0:
        here = num_workers == 1  # makes the inputs
        work = SegmentReader(_without_inputs(reader) if here else reader)
        workers = start_workers(work, num_workers, stall_seconds, stop, Task.with_care, required=not may_read_here)
        if workers is not None:
            with workers:
                yield from _read_with(workers, reader if here else None, files)
            return
    for file in files:
        if stop.is_set():
            return
        for read in reader(file):
            yield read
            if stop.is_set():
                return


def _read_with(
    workers: Workers, reader: VideoReader | None, files: Iterable[VideoFile]
) -> Iterator[ReadSegment | SkippedVideo]:
    """Reads in processes; a `reader` makes the inputs of the frames that they leave."""
    tasks = Tasks(files)
    for task, answer in workers.run(tasks.take):
        if isinstance(answer, Failure):
            answer = Result(give_up(task.file.path, answer), [])
        elif reader is not None and isinstance(answer.read, ReadSegment):
            answer = Result(_make_inputs(reader, answer.read), answer.others)
        yield from tasks.settle(task, answer)


def give_up(path: str, failure: Failure) -> SkippedVideo:
    """A video that no process could read."""
    if failure.stalled:
        remedy = "If it is only slow, allow more (`stall_seconds`, --stall-seconds of `tcd-hf`)"
        error = VideoReadError(path, f"it gave neither a frame nor a text: {failure.cause}", remedy)
    else:
        cause = f"the process that read it died ({failure.cause}): a crash in a decoder, or no memory left"
        error = VideoReadError(path, cause)
    return SkippedVideo(path, str(error))


def find_subtitles(
    paths: Sequence[str], num_workers: int | None = None, stall_seconds: float = DEFAULT_STALL_SECONDS
) -> set[str]:
    """Which files have subtitles inside, see [`has_subtitles`].

    They are opened in processes, which a file can end. One that cannot be opened, however, has none: its reader says
    why.

    Args:
        paths (`Sequence[str]`): of the files.
        num_workers (`int`, *optional*): processes; chosen by the number of files by default, and 0 opens them in this
            process.
        stall_seconds (`float`, *optional*, defaults to 120): see [`Workers`].

    Raises:
        WorkerError: so many processes were asked for, and there can be none.
    """
    workers, count = None, choose_num_workers(len(paths)) if num_workers is None else num_workers
    if paths and count > 0:
        workers = start_workers(has_subtitles, count, stall_seconds, required=num_workers is not None)
    if workers is None:
        return set(filter(has_subtitles, paths))
    tasks = iter(paths)
    with workers:
        return {path for path, answer in workers.run(lambda: tasks) if answer is True}


def careful_reader(reader: VideoReader) -> VideoReader:
    """A reader for a file that brought a process down: PyAV stands in for decord, if the choice is left to it."""
    if reader.backend == "auto" and has_pyav():
        reader = copy.copy(reader)
        reader.backend = "pyav"
    return reader


def _without_inputs(reader: VideoReader) -> VideoReader:
    """A reader that leaves it to others to make inputs, if it does."""
    if reader.process_frames is not None:
        reader = copy.copy(reader)
        reader.process_frames = _leave_frames
    return reader


def _leave_frames(frames: Frames, captions: Sequence[WindowCaption], return_tensors: str) -> Mapping[str, Any]:
    return {"frames": frames}


def _make_inputs(reader: VideoReader, read: ReadSegment) -> ReadSegment | SkippedVideo:
    """Makes the inputs that were left."""
    if reader.process_frames is None:
        return read
    frames: Any = read.inputs["frames"]
    try:
        return replace(read, inputs=dict(reader.process_frames(frames, read.record.captions, "np")))
    except Exception as error:  # as where it is done while the file is read
        return SkippedVideo(read.record.path, describe_error(read.record.path, error))


class Task(NamedTuple):
    """A segment to be read; without one, the first, after finding out which there are."""

    file: VideoFile
    segment: Segment | None = None
    careful: bool = False  # without decord, which brought a process down

    def with_care(self) -> "Task":
        """What to try after a crash. The segments of a video that is begun have to be those of the same reader."""
        return self._replace(careful=True) if self.segment is None else self


class Result(NamedTuple):
    """What became of a task, and the segments of its video that there are besides, if it was to find them out."""

    read: ReadSegment | SkippedVideo
    others: list[Segment]


class Tasks:
    """What is still to be read, and of which videos nothing more is."""

    def __init__(self, files: Iterable[VideoFile]):
        self._files = iter(files)
        self._begun: deque[Task] = deque()
        self._skipped: set[str] = set()

    @property
    def num_begun(self) -> int:
        """Segments that there are to read of videos that are begun."""
        return len(self._begun)

    def take(self) -> Iterator[Task]:
        """What there is to do now: segments of videos that are begun first."""
        while True:
            if self._begun:
                yield self._begun.popleft()
            elif (file := next(self._files, None)) is not None:
                yield Task(file)
            else:
                return

    def settle(self, task: Task, result: Result) -> Iterator[ReadSegment | SkippedVideo]:
        """Takes what became of a task; yields what is new of it."""
        path = task.file.path
        if path in self._skipped:
            return
        if isinstance(result.read, SkippedVideo):
            self._skipped.add(path)
            self._begun = deque(other for other in self._begun if other.file.path != path)
        else:
            self._begun += [task._replace(segment=segment) for segment in result.others]
        yield result.read


class SegmentReader:
    """What a process does with a task. It keeps the video open that it was at: other segments are likely to follow."""

    def __init__(self, reader: VideoReader):
        self.reader = reader
        self._opened: OpenedVideo | None = None
        self._careful = False

    def __call__(self, task: Task) -> Result:
        others: list[Segment] = []
        try:
            opened, segment = self._open(task), task.segment
            if segment is None:
                segment, *others = opened.segments
            read = opened.read_segment(segment)
            if len(opened.segments) == 1:
                self._close()
            return Result(read, others)
        except (CacheError, OCREngineError, ImportError):
            raise
        except Exception as error:  # decoders raise what they like at broken files; the others are to be indexed
            self._close()
            return Result(SkippedVideo(task.file.path, describe_error(task.file.path, error)), [])

    def _open(self, task: Task) -> OpenedVideo:
        if self._opened is None or (self._opened.file, self._careful) != (task.file, task.careful):
            self._close()
            reader = careful_reader(self.reader) if task.careful else self.reader
            self._opened, self._careful = reader.open(task.file), task.careful
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None
