"""Files and the hashes of their contents, a few ahead of need."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from tcd_hf.reading.files import StoppedHashing
from tcd_hf.reading.video_reader import SkippedVideo, VideoFile, describe_error

__all__ = ["hashed_files"]

HASH_THREADS = 4


def hashed_files(
    paths: Sequence[str], look_at: Callable[[str, Callable[[], bool]], VideoFile], stop: threading.Event
) -> Iterator[VideoFile | SkippedVideo]:
    """Files with their content hashes, in order.

    Whoever stops, by the event or by asking for no more, waits for a megabyte of a file, not for the file.

    Args:
        paths (`Sequence[str]`): of the files.
        look_at (`Callable`): makes the [`VideoFile`] of a path, as `VideoFile.of` does, and takes its `is_over` too.
        stop (`threading.Event`): once it is set, there are no more.

    Yields:
        [`VideoFile`], or [`SkippedVideo`] for a file that cannot be read.
    """
    paths_left = iter(paths)
    left = threading.Event()
    threads = ThreadPoolExecutor(HASH_THREADS)

    def is_over() -> bool:
        return left.is_set() or stop.is_set()

    def hash_next(count: int) -> list[Future]:
        return [threads.submit(_hash, path, look_at, is_over) for path in islice(paths_left, count)]

    try:
        ahead = deque(hash_next(2 * HASH_THREADS))
        while ahead and (file := ahead.popleft().result()) is not None:
            ahead.extend(hash_next(1))
            yield file
    finally:
        left.set()
        threads.shutdown(cancel_futures=True)  # those that are not begun


def _hash(path: str, look_at: Callable, is_over: Callable[[], bool]) -> VideoFile | SkippedVideo | None:
    try:
        path.encode()  # a file name may be any bytes, a column of names is text
        return look_at(path, is_over)
    except StoppedHashing:
        return None
    except (OSError, TypeError, ValueError) as error:  # TypeError: what is given is no video
        return SkippedVideo(path, describe_error(path, error))
