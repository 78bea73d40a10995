"""Videos read in several processes, segment by segment; a process that dies takes no other video with it."""

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from tcd_hf.processing.ocr_engines import OCREngineError
from tcd_hf.reading.cache import CacheError
from tcd_hf.reading.segments import Segment
from tcd_hf.reading.video_reader import (
    OpenedVideo,
    ReadSegment,
    SkippedVideo,
    VideoFile,
    VideoReader,
    describe_error,
)

__all__ = ["choose_num_workers", "read_videos"]

MIN_FILES = 8  # below, the imports of a worker take longer than it saves
MAX_DEFAULT_WORKERS = 32
IDLE_SECONDS = 60  # after which a worker ends; it is started again when needed
TASKS_PER_WORKER = 2  # in flight: read, and waiting to be

_reader: VideoReader  # of a worker process, which is started with one
_opened: OpenedVideo | None = None  # the video that it was at last: its other segments are likely to follow


class _Task(NamedTuple):
    """A segment to be read; without one, the first, after finding out which there are."""

    file: VideoFile
    segment: Segment | None = None


def choose_num_workers(num_files: int) -> int:
    """Processes to read with when the user does not say: one per usable core where there is enough to do, else none."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores == 1 or num_files < MIN_FILES:
        return 0
    return min(cores, num_files // 2, MAX_DEFAULT_WORKERS)


def read_videos(
    reader: VideoReader, files: Iterable[VideoFile], num_workers: int
) -> Iterator[ReadSegment | SkippedVideo]:
    """Reads videos in processes, or in this one, segment by segment; those of a long video are read side by side.

    Files are taken from their iterable only as fast as their segments are taken from this one: at most
    `TASKS_PER_WORKER * num_workers` are in flight, for frames take much memory. A video that was begun is finished
    before others are.

    When a process dies (a crash in a decoder, no memory left), those segments that were in flight are read again one
    after the other, alone: the file of one that does it again is skipped.

    Args:
        reader (`VideoReader`): reads one.
        files (`Iterable[VideoFile]`): what to read.
        num_workers (`int`): processes; 0 reads in this one.

    Yields:
        [`ReadSegment`], in the order in which they are done; for a video that cannot be read one [`SkippedVideo`],
        perhaps after some of its segments, and nothing of it after that.
    """
    if num_workers == 0:
        for file in files:
            yield from reader(file)
        return
    tasks = Tasks(files)
    pool = _Pool(reader, num_workers)
    waiting: dict[Future, _Task] = {}
    try:
        while True:
            for task in tasks.take(TASKS_PER_WORKER * num_workers - len(waiting)):
                waiting[pool.submit(task)] = task
            if not waiting:
                return
            wait(waiting, return_when=FIRST_COMPLETED)
            if any(_died(future) for future in waiting):
                wait(waiting)  # a pool with a dead process gives up all that it has
            done = {future: waiting.pop(future) for future in list(waiting) if future.done()}
            results = [future.result() for future in done if not _died(future)]
            results += _read_alone(reader, [task for future, task in done.items() if _died(future)])
            for result in results:
                yield from tasks.settle(result)
    finally:
        pool.close()


class Tasks:
    """What is still to be read, and of which videos nothing more is."""

    def __init__(self, files: Iterable[VideoFile]):
        self._files = iter(files)
        self._begun: deque[_Task] = deque()
        self._skipped: set[str] = set()

    def take(self, count: int) -> Iterator[_Task]:
        """At most so many tasks: segments of videos that are begun first."""
        for _ in range(count):
            if self._begun:
                yield self._begun.popleft()
            elif (file := next(self._files, None)) is not None:
                yield _Task(file)
            else:
                return

    def settle(self, result: "Result") -> Iterator[ReadSegment | SkippedVideo]:
        """Takes what a worker did; yields what is new of it."""
        file, read, others = result
        if file.path in self._skipped:
            return
        if isinstance(read, SkippedVideo):
            self._skipped.add(file.path)
            self._begun = deque(task for task in self._begun if task.file.path != file.path)
        else:
            self._begun += [_Task(file, segment) for segment in others]
        yield read


class Result(NamedTuple):
    """What became of a task, and the segments of its video that there are besides, if it was to find them out."""

    file: VideoFile
    read: ReadSegment | SkippedVideo
    others: list[Segment]


def _read_alone(reader: VideoReader, tasks: list[_Task]) -> list[Result]:
    if not tasks:
        return []
    results, pool = [], _Pool(reader, num_workers=1)
    try:
        for task in tasks:
            future = pool.submit(task)
            wait([future])
            if isinstance(death := future.exception(), BrokenProcessPool):
                pool.check(death)
                error = RuntimeError("the process that read it died: a crash in a decoder, or no memory left")
                skipped = SkippedVideo(task.file.path, describe_error(task.file.path, error))
                results.append(Result(task.file, skipped, []))
            else:
                results.append(future.result())
    finally:
        pool.close()
    return results


def _died(future: Future) -> bool:
    return future.done() and isinstance(future.exception(), BrokenProcessPool)


class _Pool:
    """A process pool that is made anew after one of its processes died.

    Loky's: unlike the standard library's it does not run the user's script again in every
    process, so that `index.add` works in a script without `if __name__ == "__main__"`.
    """

    def __init__(self, reader: VideoReader, num_workers: int):
        self.reader, self.num_workers = reader, num_workers
        self._executor = None

    def submit(self, task: _Task) -> Future:
        return self._submit(_read, task)

    def _submit(self, function, *arguments) -> Future:
        with contextlib.suppress(BrokenProcessPool):
            if self._executor is not None:
                return self._executor.submit(function, *arguments)
        self.close()
        self._executor = self._start()
        return self._executor.submit(function, *arguments)

    def check(self, error: BaseException) -> None:
        """Raises `error` if processes die without any file: no file is to blame then."""
        future = self._submit(os.getpid)
        wait([future])
        if _died(future):
            raise error

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None

    def _start(self):
        from loky import ProcessPoolExecutor, cpu_count

        threads = max(1, cpu_count() // self.num_workers)
        return ProcessPoolExecutor(
            self.num_workers,
            timeout=IDLE_SECONDS,
            initializer=_initialize,
            initargs=(self.reader, os.getpid()),
            env={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(threads)},
        )


def _initialize(reader: VideoReader, parent: int) -> None:
    global _reader
    _reader = reader
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    if os.name == "posix":
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process when its parent was killed: nobody is left to take what it reads."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _read(task: _Task) -> Result:
    """Reads a segment in a worker process, which keeps the video open for the next one."""
    global _opened
    others: list[Segment] = []
    try:
        if _opened is None or _opened.file != task.file:
            _close()
            _opened = _reader.open(task.file)
        segment = task.segment
        if segment is None:
            segment, *others = _opened.segments
        read = _opened.read_segment(segment)
        if len(_opened.segments) == 1:
            _close()
        return Result(task.file, read, others)
    except (CacheError, OCREngineError, ImportError):
        raise
    except Exception as error:  # decoders raise what they like at broken files; the others are to be indexed
        _close()
        return Result(task.file, SkippedVideo(task.file.path, describe_error(task.file.path, error)), [])


def _close() -> None:
    global _opened
    if _opened is not None:
        _opened.close()
        _opened = None
