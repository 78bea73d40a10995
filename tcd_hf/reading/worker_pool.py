"""Videos read in several processes, a bounded number at a time; a process that dies takes no other video with it."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from tcd_hf.reading.video_reader import ReadVideo, SkippedVideo, VideoFile, VideoReader, describe_error

__all__ = ["choose_num_workers", "read_videos"]

MIN_FILES = 8  # below, the imports of a worker take longer than it saves
MAX_DEFAULT_WORKERS = 32
IDLE_SECONDS = 60  # after which a worker ends; it is started again when needed
FILES_PER_WORKER = 2  # in flight: read, and waiting to be

_reader: VideoReader | None = None  # of a worker process


def choose_num_workers(num_files: int) -> int:
    """Processes to read with when the user does not say: one per usable core where there is enough to do, else none."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores == 1 or num_files < MIN_FILES:
        return 0
    return min(cores, num_files // 2, MAX_DEFAULT_WORKERS)


def read_videos(
    reader: VideoReader, files: Iterable[VideoFile], num_workers: int
) -> Iterator[ReadVideo | SkippedVideo]:
    """Reads videos in processes, or in this one.

    Files are taken from their iterable only as fast as their videos are taken from this one: at most
    `FILES_PER_WORKER * num_workers` are in flight, for frames take much memory.

    When a process dies (a crash in a decoder, no memory left), those files that were in flight are read again one after
    the other, alone: the file that does it again is skipped.

    Args:
        reader (`VideoReader`): reads one.
        files (`Iterable[VideoFile]`): what to read.
        num_workers (`int`): processes; 0 reads in this one.

    Yields:
        [`ReadVideo`] or [`SkippedVideo`], in the order in which they are done.
    """
    if num_workers == 0:
        yield from map(reader, files)
        return
    files = iter(files)
    pool = _Pool(reader, num_workers)
    waiting: dict[Future, VideoFile] = {}
    try:
        while True:
            for file in islice(files, FILES_PER_WORKER * num_workers - len(waiting)):
                waiting[pool.submit(file)] = file
            if not waiting:
                return
            wait(waiting, return_when=FIRST_COMPLETED)
            if any(_died(future) for future in waiting):
                wait(waiting)  # a pool with a dead process gives up all that it has
            done = {future: waiting.pop(future) for future in list(waiting) if future.done()}
            yield from (future.result() for future in done if not _died(future))
            yield from _read_alone(reader, [file for future, file in done.items() if _died(future)])
    finally:
        pool.close()


def _read_alone(reader: VideoReader, files: list[VideoFile]) -> Iterator[ReadVideo | SkippedVideo]:
    if not files:
        return
    pool = _Pool(reader, num_workers=1)
    try:
        for file in files:
            future = pool.submit(file)
            wait([future])
            if _died(future):
                pool.check(future.exception())
                error = RuntimeError("the process that read it died: a crash in a decoder, or no memory left")
                yield SkippedVideo(file.path, describe_error(file.path, error))
            else:
                yield future.result()
    finally:
        pool.close()


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

    def submit(self, file: VideoFile) -> Future:
        return self._submit(_read, file)

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


def _read(file: VideoFile) -> ReadVideo | SkippedVideo:
    return _reader(file)
