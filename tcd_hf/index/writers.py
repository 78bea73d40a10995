"""The turns of those that work on an index in a folder: one at a time, and none twice while another waits."""

import contextlib
import json
import logging
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tcd_hf.reading.files import write_whole

__all__ = ["OnWait", "StoppedWaiting", "one_at_a_time"]

logger = logging.getLogger(__name__)

# Called with a sentence that says for whom one waits, and with `None` when that is over.
OnWait = Callable[[str | None], None]

# Whom there is a lock for, and what it does to an index. A writer has its lock for a moment, an adder as long as it
# reads videos, so that nothing is read by two, an indexer while what rows are found by is made of a large table.
DOES = {"writer": "is writing to", "adder": "is adding videos to", "indexer": "is indexing"}
PATIENCE = {"writer": 1.0, "adder": 0.0, "indexer": 0.0}  # seconds before one who waits is told for whom
MAX_COMMAND = 200  # characters of it that are told
STEP_SECONDS = 0.5  # between two looks at whether to go on waiting


class StoppedWaiting(Exception):  # no error
    """It was told to stop while it waited for its turn."""


@contextlib.contextmanager
def one_at_a_time(
    folder: Path, uri: str, role: str = "writer", on_wait: OnWait | None = None, stop: threading.Event | None = None
) -> Iterator[None]:
    """Holds a lock of a folder; waits for it if another has it, and says for whom. It ends with its process.

    Who wants the lock first takes the turn, and keeps it until it has the lock: one that has just released the lock and
    wants it again stands behind whoever waits.

    Args:
        folder (`Path`): of the index; it must be there.
        uri (`str`): of the index, as it is called in messages.
        role (`"writer"`, `"adder"` or `"indexer"`, *optional*, defaults to `"writer"`): whose lock it is.
        on_wait (`Callable[[str | None], None]`, *optional*): see `OnWait`; by default a warning is logged.
        stop (`threading.Event`, *optional*): once it is set, nobody waits any more.

    Raises:
        StoppedWaiting: it was told to stop.
        OSError: the folder is not there, or may not be written.
    """
    from filelock import FileLock

    turn, lock = FileLock(folder / f".{role}.turn"), FileLock(folder / f".{role}.lock")
    who = folder / f".{role}.json"  # for those who wait to be told
    what = f"{DOES[role]} the index {uri}; waiting until it is done."
    waiting = _Waiting(lambda: f"{_whoever_works(who)} {what}", PATIENCE[role], on_wait or _log, stop)
    try:
        waiting.acquire(turn)
        try:
            waiting.acquire(lock)
        finally:
            turn.release()
    finally:
        waiting.end()
    try:
        with contextlib.suppress(OSError):  # only a courtesy: what cannot be written is told where it matters
            write_whole(who, _this_process())
        yield
    finally:
        with contextlib.suppress(OSError):
            who.unlink(missing_ok=True)
        lock.release()


class _Waiting:
    """Waits for locks, and tells once for whom."""

    def __init__(self, describe: Callable[[], str], patience: float, on_wait: OnWait, stop: threading.Event | None):
        self.describe, self.patience, self.on_wait, self.stop = describe, patience, on_wait, stop
        self.told = False

    def acquire(self, lock: Any) -> None:
        from filelock import Timeout

        seconds = 0.0 if self.told else self.patience
        while True:
            try:
                lock.acquire(timeout=seconds)
                return
            except Timeout:
                seconds = STEP_SECONDS
            if self.stop is not None and self.stop.is_set():
                raise StoppedWaiting
            if not self.told:
                self.told = True
                self.on_wait(self.describe())

    def end(self) -> None:
        if self.told:
            self.on_wait(None)


def _log(message: str | None) -> None:
    if message is not None:
        logger.warning("%s", message)


def _this_process() -> bytes:
    program, *words = sys.argv or [sys.executable]
    command = shlex.join([os.path.basename(program), *words])
    writer = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": time.time()}
    return json.dumps(writer).encode()


def _whoever_works(who: Path) -> str:
    """The process at work, as a message names it."""
    try:
        process = json.loads(who.read_bytes())
        command = str(process["command"])
        command = command if len(command) <= MAX_COMMAND else command[:MAX_COMMAND] + "..."
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(process["since"])))
        return f"{command!r} (process {int(process['pid'])} on {process['host']}, since {since})"
    except (OSError, OverflowError, ValueError, TypeError, KeyError):  # not written yet, or by whomever
        return "Another process"
