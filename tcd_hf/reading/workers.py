"""Processes that work for this one, each with a pipe of its own, so that a death names its task by itself.

Pools of the standard library and of loky share their queues: when a process dies, nobody knows which task it had, and
all that were in flight have to be done again. They cannot end one process that is stuck either. Here a process has at
most one task at work and one that waits, in an order that both sides know. Like loky's, and unlike those of
`multiprocessing`, the processes do not run the user's script again, so that no `if __name__ == "__main__"` is needed.
"""

import contextlib
import logging
import multiprocessing.spawn
import os
import pickle  # nosec B403 # between this package's own processes, over their pipes
import queue
import signal
import subprocess  # nosec B404 # this Python alone is run
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcd_hf.reading import worker

__all__ = [
    "DEFAULT_STALL_SECONDS",
    "TASKS_PER_WORKER",
    "Failure",
    "WorkerError",
    "Workers",
    "start_workers",
    "usable_cores",
]

DEFAULT_STALL_SECONDS = 120.0
TASKS_PER_WORKER = 2  # in flight: at work, and waiting to be
MAX_CRASHES = 2  # of processes with the same task at work, whose fault they are then
MAX_KILLS = 12  # likewise, where somebody else ends them
MAX_THREADS = 8  # of a process: reading gains next to nothing from more
STEP_SECONDS = 0.5  # between two looks at who is silent
BEGIN_SECONDS = 120.0  # to import what is needed, at least: disks on a network take their time

logger = logging.getLogger(__name__)


class WorkerError(RuntimeError):
    """Worker processes cannot begin, whatever the task."""


@dataclass(frozen=True)
class Failure:
    """A task that no process could do.

    Attributes:
        cause (`str`): what became of the process.
        stalled (`bool`): whether it was ended here, as it gave no sign.
    """

    cause: str
    stalled: bool = False


@dataclass(eq=False)
class _Job:
    """A task, and how often it brought a process down, by its own doing or not."""

    task: Any
    crashes: int = 0
    kills: int = 0


class Workers:
    """Processes that do tasks, any number of them, and are made anew when they die. A context manager.

    A task that was at work in a process that died is done again; if that happens again, it is given up as a
    [`Failure`]. So it is at once if the process gave no sign that work goes on ([`beat`]) for `stall_seconds`: it is
    ended then. Where a process was killed from outside (SIGKILL, SIGTERM), and not by the system for want of memory, no
    task is to blame, up to `MAX_KILLS` times.

    Warnings and log records of the processes are given out here.

    Args:
        work (`Callable[[Any], Any]`): does a task; called in a process that has it alone. Pickled by cloudpickle, so
            that lambdas and what a script defines will do.
        num_workers (`int`): processes, at most; they are started as there is something to do.
        stall_seconds (`float`, *optional*, defaults to 120): see above.
        stop (`threading.Event`, *optional*): once it is set, [`~Workers.run`] ends.
        retry (`Callable[[Any], Any]`, *optional*): what to do in place of a task that brought a process down; the same
            once more by default.

    Raises:
        WorkerError: `work` cannot be brought to another process, or such a process does not begin.
    """

    def __init__(
        self,
        work: Callable[[Any], Any],
        num_workers: int,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
        stop: threading.Event | None = None,
        retry: Callable[[Any], Any] = lambda task: task,
    ):
        import cloudpickle

        self.num_workers = num_workers
        self.stall_seconds = stall_seconds
        self._begin_seconds = max(stall_seconds, BEGIN_SECONDS)
        self.stop = stop or threading.Event()
        self.retry = retry
        self._news: queue.Queue[tuple[_Process, tuple[str, Any] | None]] = queue.Queue()
        self._processes: list[_Process] = []
        self._again: deque[_Job] = deque()
        self._failed_starts = _Job(None)
        try:
            self._work = cloudpickle.dumps(work)
        except Exception as error:  # pickling raises what it likes: TypeError, PicklingError, AttributeError
            raise WorkerError(f"what they need cannot be brought there ({type(error).__name__}: {error})") from error
        try:
            self._start()
            while not any(process.ready for process in self._processes) and not self.stop.is_set():
                self._take_news()
        except BaseException:
            self.close()
            raise

    def run(self, take: Callable[[], Iterator[Any]]) -> Iterator[tuple[Any, Any]]:
        """Does tasks; yields each with its answer, or with a [`Failure`], as they are done.

        Args:
            take (`Callable[[], Iterator]`): what to do next, anything but `None`; asked anew whenever there is room for
                more, and only for so many. It may give nothing now and something after the next answer.

        Raises:
            WorkerError: processes die over and over before they can begin.
            Exception: what `work` raises.
        """
        while not self.stop.is_set():
            self._hand_out(take())
            if not any(process.jobs for process in self._processes) and not self._again:
                return
            answer = self._take_news()
            if answer is not None:
                yield answer

    def close(self) -> None:
        """Ends the processes, whatever they are at."""
        for process in self._processes:
            process.end()
        self._processes = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _start(self) -> None:
        threads = max(1, min(usable_cores() // self.num_workers, MAX_THREADS))
        if not (python := multiprocessing.spawn.get_executable()):
            raise WorkerError("none can be started, as Python does not know its own program (`sys.executable`)")
        try:
            self._processes.append(_Process(python, self._work, threads, self._news))
        except OSError as error:
            raise WorkerError(f"none can be started ({error})") from error

    def _hand_out(self, tasks: Iterator[Any]) -> None:
        """Gives tasks to the processes that have fewest, as long as there are any."""
        while True:
            process = min(self._processes, key=lambda process: len(process.jobs), default=None)
            if process is not None and len(process.jobs) >= TASKS_PER_WORKER:
                if len(self._processes) >= self.num_workers:
                    return
                process = None
            if self._again:
                job = self._again.popleft()
            elif (task := next(tasks, None)) is not None:
                job = _Job(task)
            else:
                return
            if process is None or (process.jobs and len(self._processes) < self.num_workers):
                self._start()
                process = self._processes[-1]
            process.give(job)

    def _take_news(self) -> tuple[Any, Any] | None:
        """Waits for what processes say, a moment at most; the answer to a task, if it is one."""
        begin = time.monotonic()
        try:
            process, message = self._news.get(timeout=STEP_SECONDS)
        except queue.Empty:
            process, message = None, None
        answer = None
        if process is not None and message is not None:
            answer = self._understand(process, *message)
        elif process in self._processes:
            answer = self._bury(process)
        # Not by the clock: it goes on while all of us are stopped (Ctrl-Z), or this one is busy elsewhere.
        self._end_the_silent(min(time.monotonic() - begin, STEP_SECONDS))
        return answer

    def _understand(self, process: "_Process", kind: str, content: Any) -> tuple[Any, Any] | None:
        if kind == "beat":
            if content != process.beats:
                process.beats, process.silence = content, 0.0
        elif kind == "warning":
            try:
                warnings.warn_explicit(*content)
            except Warning as error:  # where they are made errors: that of one file must not end the others
                logger.warning("%s:%d: %s: %s", content[2], content[3], type(error).__name__, error)
        elif kind == "log":
            name, level, message = content
            logging.getLogger(name).log(level, "%s", message)
        elif kind == "ready":
            process.ready, process.silence, process.stalled = True, 0.0, False
            self._failed_starts = _Job(None)
        elif kind == "done":
            process.silence, process.stalled = 0.0, False  # if it was ended just now, the next task is not to blame
            return process.jobs.popleft().task, content
        elif process.ready:
            raise content
        else:
            raise WorkerError(f"they do not begin ({type(content).__name__}: {content})") from content
        return None

    def _bury(self, process: "_Process") -> tuple[Any, Any] | None:
        """Finds out what a process died of; the task that it was at goes to another, or fails."""
        self._processes.remove(process)
        how = process.end()
        job = process.jobs.popleft() if process.ready and process.jobs else None
        self._again.extendleft(reversed(process.jobs))
        if process.stalled and job is not None:
            return job.task, Failure(f"no sign of it for {self.stall_seconds:g} s", stalled=True)
        counted = job or (None if process.ready else self._failed_starts)
        if counted is None:
            return None
        killed = how in (-signal.SIGTERM, -getattr(signal, "SIGKILL", 9)) and not process.stalled
        if killed and process.oom_kills == _count_oom_kills():
            counted.kills += 1
        else:
            counted.crashes += 1
            counted.task = self.retry(counted.task) if job is not None else None
        if counted.crashes < MAX_CRASHES and counted.kills < MAX_KILLS:
            if job is not None:
                self._again.appendleft(job)
            else:
                self._start()
            return None
        if process.stalled:
            raise WorkerError(f"they do not begin within {self._begin_seconds:g} s")
        if job is None:
            raise WorkerError(f"they die before they begin ({_describe_end(how)})")
        return job.task, Failure(_describe_end(how))

    def _end_the_silent(self, seconds: float) -> None:
        for process in self._processes:
            if process.jobs or not process.ready:
                process.silence += seconds
                limit = self.stall_seconds if process.ready else self._begin_seconds
                if process.silence > limit and self._news.empty():
                    process.stalled = True
                    process.kill()


def start_workers(
    work: Callable[[Any], Any], num_workers: int, *options: Any, required: bool, **further: Any
) -> Workers | None:
    """[`Workers`] that read videos; `None`, with a warning, where there can be none and they are not `required`."""
    try:
        return Workers(work, num_workers, *options, **further)
    except WorkerError as error:
        if required:
            raise WorkerError(f"There can be no processes that read videos: {error}. Have this one read: 0.") from error
        warnings.warn(
            f"Videos are read in this process, which a bad file can end: there can be no other, {error}.", stacklevel=3
        )
        return None


class _Process:
    """A worker process, and what it has to do, in order."""

    def __init__(
        self, python: str, work: bytes, num_threads: int, news: "queue.Queue[tuple[_Process, tuple[str, Any] | None]]"
    ):
        self.jobs: deque[_Job] = deque()
        self.ready = self.stalled = False
        self.beats, self.silence = 0, 0.0  # seconds
        self.oom_kills = _count_oom_kills()
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(num_threads)}
        self._popen = subprocess.Popen(  # nosec B603 # no shell, and nothing from data
            [python, worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self._popen.stdin and self._popen.stdout  # asked for
        self._tasks, self._answers = self._popen.stdin, self._popen.stdout
        self._outbox: queue.Queue[bytes | None] = queue.Queue()
        self._speaker = threading.Thread(target=self._speak, daemon=True)
        self._listener = threading.Thread(target=self._listen, args=(news,), daemon=True)
        self._speaker.start()
        self._listener.start()
        self._send(sys.path)
        self._send(work)

    def give(self, job: _Job) -> None:
        """A further task. If the process is dead, that is told by the end of what it says."""
        self.jobs.append(job)
        if len(self.jobs) == 1:
            self.silence = 0.0
        self._send(job.task)

    def kill(self) -> None:
        """Ends the process; what it was at is told by the end of what it says."""
        self._popen.kill()

    def end(self) -> int:
        """Ends the process if it is not dead; how it ended, as of `subprocess`."""
        self._popen.kill()
        how = self._popen.wait()
        self._outbox.put(None)
        for thread, pipe in ((self._speaker, self._tasks), (self._listener, self._answers)):
            thread.join(timeout=STEP_SECONDS)  # longer only if a child of its own holds on to the pipe
            if not thread.is_alive():
                with contextlib.suppress(OSError):  # what it had not taken
                    pipe.close()
        return how

    def _send(self, message: Any) -> None:
        self._outbox.put(pickle.dumps(message))

    def _speak(self) -> None:
        """Writes to the process, in a thread: it takes a task when the one before is done, and may never do so."""
        with contextlib.suppress(OSError):  # it died
            while (data := self._outbox.get()) is not None:
                self._tasks.write(data)
                self._tasks.flush()

    def _listen(self, news: "queue.Queue[tuple[_Process, tuple[str, Any] | None]]") -> None:
        beat = None
        try:
            while True:
                message = pickle.load(self._answers)  # nosec B301 # from a worker of ours
                if message != beat:  # one that beats in idleness is no news: nobody may look for hours
                    news.put((self, message))
                beat = message if message[0] == "beat" else beat
        except (EOFError, OSError, pickle.UnpicklingError):  # the end, or half a message before it
            pass
        except Exception as error:  # an answer that this process can make nothing of
            news.put((self, ("failed", error)))
        news.put((self, None))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _describe_end(how: int) -> str:
    try:
        return signal.Signals(-how).name
    except ValueError:
        return f"exit status {how}"


def _count_oom_kills() -> int:
    """How many processes of this machine the system has ended for want of memory; 0 where it does not tell."""
    try:
        counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0
