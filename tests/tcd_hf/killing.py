"""Jobs that are killed on the way, by a signal that cannot be caught, at a place or at a time.

A job is a generator function of a module, so that another process can be told to run it. What comes before its `yield`
is preparation and is never killed; what comes after it is the work.
"""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

Job = Callable[..., Iterator[None]]

# What Python is about to do to files, as it tells its audit hooks. What libraries of other languages do, it does not
# know: that is what times are for.
CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.utime", "shutil.move", "shutil.rmtree"}
HEAVY = ["tcd_hf.index.video_index", "tcd_hf.data.preparation", "tcd_hf.training.__main__"]  # slow to import


class Run(NamedTuple):
    """What became of a job: whether it was killed, the changes that it made to files, and its seconds."""

    killed: bool
    changes: int
    seconds: float


def run_job(job: Job, *arguments, change: int | None = None, seconds: float | None = None) -> Run:
    """Runs a job in a process of its own.

    Args:
        job, arguments: what to run.
        change: kill it before its change of this number, from 1, to any file below the folder that is the first
            argument.
        seconds: kill it so long after it has begun with its work.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, job, arguments, change))
    process.start()
    theirs.close()
    changes, taken = 0, 0.0
    try:
        ours.recv()
        if seconds is not None and not ours.poll(seconds):
            process.kill()
        changes, taken = ours.recv()
    except EOFError:  # it has ended in its work or before
        pass
    finally:
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{job.__name__} has failed with status {process.exitcode}; its errors are on stderr.")
    return Run(process.exitcode == -signal.SIGKILL, changes, taken)


def moments(whole: Run, count: int, seed: int = 0) -> Iterator[dict]:
    """Places and times at which to kill a job that did this when nobody killed it: options of [`run_job`].

    Half of them are places, where there are as many; the others times.
    """
    rng = random.Random(seed)
    places = rng.sample(range(1, whole.changes + 1), min(count // 2, whole.changes))
    yield from ({"change": place} for place in sorted(places))
    times = sorted(rng.uniform(0.0, whole.seconds) for _ in range(count - len(places)))
    yield from ({"seconds": each} for each in times)


def _run(pipe, job: Job, arguments: tuple, deadly: int | None) -> None:
    work = job(*arguments)
    next(work)
    folder, changes = str(arguments[0]), 0

    def watch(event: str, details: tuple) -> None:
        nonlocal changes
        if not details or not str(details[0]).startswith(folder):
            return
        writes = event == "open" and isinstance(details[1], str) and bool({"w", "a", "x", "+"}.intersection(details[1]))
        if event in CHANGES or writes:
            changes += 1
            if changes == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    pipe.send("begun")
    begin = time.monotonic()
    for _ in work:
        pass
    pipe.send((changes, time.monotonic() - begin))
