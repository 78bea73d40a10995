"""The turns of those that write to an index in a folder: one at a time, and none twice while another waits."""

import contextlib
import json
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tcd_hf.reading.files import write_whole

__all__ = ["one_writer"]

logger = logging.getLogger(__name__)

# Who writes has the lock. Who waits for it has the turn, and keeps it until it has the lock: a writer that has just
# released the lock and wants it again stands behind, for the turn. Both end with the process that has them.
LOCK_FILE, TURN_FILE = ".writer.lock", ".writer.turn"
WRITER_FILE = ".writer.json"  # who has the lock, for those who wait to be told
MAX_COMMAND = 200  # characters of it that are told


@contextlib.contextmanager
def one_writer(folder: Path, uri: str) -> Iterator[None]:
    """Holds the writer's lock of a folder; waits for it if another has it, and says for whom.

    Args:
        folder (`Path`): of the index; it must be there.
        uri (`str`): of the index, as it is called in messages.

    Raises:
        OSError: the folder is not there, or may not be written.
    """
    from filelock import FileLock, Timeout

    turn, lock = FileLock(folder / TURN_FILE), FileLock(folder / LOCK_FILE)
    try:
        with turn.acquire(timeout=0):
            lock.acquire(timeout=0)
    except Timeout:
        logger.warning("%s is writing to the index %s; waiting until it is done.", _whoever_writes(folder), uri)
        with turn:
            lock.acquire()
    try:
        with contextlib.suppress(OSError):  # only a courtesy: what cannot be written is told where it matters
            write_whole(folder / WRITER_FILE, _this_process())
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / WRITER_FILE).unlink(missing_ok=True)
        lock.release()


def _this_process() -> bytes:
    program, *words = sys.argv or [sys.executable]
    command = shlex.join([os.path.basename(program), *words])
    writer = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": time.time()}
    return json.dumps(writer).encode()


def _whoever_writes(folder: Path) -> str:
    """The writer at work, as a message names it."""
    try:
        writer = json.loads((folder / WRITER_FILE).read_bytes())
        command = str(writer["command"])
        command = command if len(command) <= MAX_COMMAND else command[:MAX_COMMAND] + "..."
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(writer["since"])))
        return f"{command!r} (process {int(writer['pid'])} on {writer['host']}, since {since})"
    except (OSError, OverflowError, ValueError, TypeError, KeyError):  # not written yet, or by whomever
        return "Another process"
