"""Who searches for the page: its own process, or several beside it that read the same index."""

import copy
import pickle  # nosec B403 # between this package's own processes
import queue
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tcd_hf.reading.worker import portable
from tcd_hf.reading.workers import Failure, Workers

if TYPE_CHECKING:
    from tcd_hf.index.joint_index import JointIndex
    from tcd_hf.index.searching import SearchableIndex
    from tcd_hf.index.video_index import VideoIndex

__all__ = ["OwnSearches", "SearchProcesses"]

STALL_SECONDS = 600.0  # after which a search is given up, with its process


class OwnSearches:
    """Searches in this process. They take turns, as each uses all cores.

    Args:
        index ([`VideoIndex`] or [`JointIndex`]): opened with its model and processor.
    """

    num_processes = 1

    def __init__(self, index: "SearchableIndex"):
        self._index = index
        self._turn = threading.Lock()

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a method of the index gives, such as `"search"`. Raises what that does."""
        with self._turn:
            return getattr(self._index, method)(*arguments, **options)

    def close(self) -> None:
        """There is nothing to end."""


class SearchProcesses:
    """Searches in processes of their own, as many at once as there are, each on its share of the cores.

    They only read the index, and see what is committed to it as any other process does. Each holds the model and the
    index's vectors in its own memory, and has its share of the threads that torch has here. One that dies is made
    anew, and its search done again.

    Args:
        index ([`VideoIndex`] or [`JointIndex`]): opened with its model and processor.
        num_processes (`int`): how many, at least 1.

    Raises:
        WorkerError: the model cannot be brought to another process, or such a process does not begin.
    """

    def __init__(self, index: "VideoIndex | JointIndex", num_processes: int):
        self.num_processes = num_processes
        self._stop = threading.Event()
        self._free: queue.LifoQueue[Workers] = queue.LifoQueue()  # the last one has all at hand
        self._all: list[Workers] = []
        self._folder = tempfile.TemporaryDirectory(prefix="tcd-hf-search-")
        try:
            file = Path(self._folder.name) / "index"  # where this process need not hold a copy for each of them
            file.write_bytes(pickle.dumps(_describe(index)))
            opening = _Opening(file, max(1, torch.get_num_threads() // num_processes))
            with ThreadPoolExecutor(num_processes) as starting:  # each takes seconds to import what it needs
                begun = [starting.submit(self._start, opening) for _ in range(num_processes)]
            for start in begun:
                start.result()
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a method of the index gives in one of the processes; waits until one is free.

        Raises:
            RuntimeError: the process ended, twice, or all are being ended.
            Exception: what the method raises.
        """
        workers = self._free.get()
        try:
            tasks = iter([(method, arguments, options)])
            answer = next((answer for _, answer in workers.run(lambda: tasks)), None)
        finally:
            self._free.put(workers)
        if answer is None:
            raise RuntimeError("The server is about to end.")
        if isinstance(answer, Failure):
            raise RuntimeError(f"The process that searched has ended ({answer.cause}): ask again.")
        result, error = answer
        if error is not None:
            raise error
        return result

    def _start(self, opening: "_Opening") -> None:
        workers = Workers(opening, 1, STALL_SECONDS, self._stop)
        self._all.append(workers)
        self._free.put(workers)

    def close(self) -> None:
        """Ends the processes, whatever they are at."""
        self._stop.set()
        for workers in self._all:
            workers.close()
        self._folder.cleanup()


def _describe(index: "VideoIndex | JointIndex") -> tuple[Any, ...]:
    """What another process opens the index by. It reads no videos, so that the OCR engine stays here."""
    processor = copy.copy(index.processor)
    processor.ocr_engine = processor.ocr_options = None
    uris = [part.uri for part in index.parts]
    return uris[0] if len(uris) == 1 else uris, index.model, processor, index.lexical_weight, index.memory_budget


class _Opening:
    """Stands for [`_search_in`] an index that a file describes; where it is unpickled, the index is opened."""

    def __init__(self, file: Path, threads: int):
        self._arguments = file, threads

    def __reduce__(self) -> tuple[Callable, tuple]:
        return _open, self._arguments

    def __call__(self, task: Any) -> Any:
        raise NotImplementedError  # only where it is unpickled


def _open(file: Path, threads: int) -> Callable[[Any], Any]:
    from tcd_hf.index.video_index import VideoIndex

    torch.set_num_threads(threads)
    uri, model, processor, lexical_weight, memory_budget = pickle.loads(file.read_bytes())  # nosec B301 # of the parent
    options = {"lexical_weight": lexical_weight, "memory_budget": memory_budget}
    return partial(_search_in, VideoIndex.open(uri, model, processor, **options))


def _search_in(index: "SearchableIndex", task: tuple[str, tuple, dict]) -> tuple[Any, BaseException | None]:
    """What a method gives, or the error that it raises: an answer too, as the process goes on."""
    method, arguments, options = task
    try:
        return getattr(index, method)(*arguments, **options), None
    except Exception as error:
        return None, portable(error)
