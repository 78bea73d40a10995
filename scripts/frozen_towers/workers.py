"""Worker processes, one thread each."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import torch
from transformers.utils import logging

__all__ = ["workers"]


@contextmanager
def workers(processes: int, prepare: Callable, *arguments) -> Iterator[Callable]:
    """Gives a `map` that runs in that many spawned processes, or in this one where it is one. Each calls
    `prepare(*arguments)` first, and computes with a single thread.
    """
    if processes == 1:
        before = torch.get_num_threads()
        _start(prepare, *arguments)
        try:
            yield map
        finally:
            torch.set_num_threads(before)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _start, (prepare, *arguments)) as pool:
        yield pool.map


def _start(prepare: Callable, *arguments) -> None:
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    prepare(*arguments)
