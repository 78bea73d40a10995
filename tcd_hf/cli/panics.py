"""Keeps from the terminal what Rust prints when it panics, as LanceDB does at some damaged files.

Rust writes such a report to file descriptor 2 by itself, before Python hears of an error, and no setting silences it.
"""

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

__all__ = ["PanicFilter", "without_panics"]

HEADER = re.compile(rb"thread '.*' (\(\d+\) )?panicked at .*:\d+:\d+:\s*$")
# What follows the line of the message: both sides of a comparison, the stack, and how to have it shown.
FURTHER = re.compile(rb"\s+(left|right): |stack backtrace:|\s+\d+: |\s+at |note: .*RUST_BACKTRACE")


class PanicFilter:
    """Leaves reports of panics out of what is written, which comes in pieces of any length, and hands on the rest by
    lines. A report begins with an empty line; the message is taken for one line, as Rust quotes what it tells."""

    def __init__(self):
        self._rest = b""  # of a line that does not end yet
        self._empty = b""  # lines with which a report may begin
        self._lines = 0  # of the report at hand

    def feed(self, piece: bytes) -> bytes:
        """What is to be handed on, as far as it is known with this piece."""
        *lines, self._rest = re.split(rb"(?<=[\n\r])", self._rest + piece)
        return b"".join(map(self._passed, lines))

    def end(self) -> bytes:
        """What is still to be handed on when nothing comes any more."""
        return self._passed(self._rest) + self._empty

    def _passed(self, line: bytes) -> bytes:
        if HEADER.match(line) or self._lines == 1 or (self._lines and FURTHER.match(line)):
            self._lines = 1 if HEADER.match(line) else self._lines + 1
            passed, self._empty = self._empty[1:], b""
            return passed
        self._lines = 0
        if line == b"\n":
            self._empty += line
            return b""
        passed, self._empty = self._empty + line, b""
        return passed


@contextlib.contextmanager
def without_panics() -> Iterator[None]:
    """Has all that is written to file descriptor 2, but by Python in this process, pass a process that leaves out
    reports of panics.

    It is a process, forked here, so that nothing is lost when this one ends by a signal, and so that nobody who writes
    waits for Python. It ends when nobody can write to it any more. Python goes on writing to the terminal itself. Call
    it early: a process that has threads should not be forked. Where there is no fork, and where stderr is not that of
    the process, nothing is done.
    """
    if not hasattr(os, "fork") or not _is_of_process(sys.stderr):
        yield
        return
    reading, writing = os.pipe()
    sys.stderr.flush()
    try:
        child = os.fork()
    except OSError:  # there may be no further process
        os.close(reading)
        os.close(writing)
        yield
        return
    if not child:
        _filter(reading)
    os.close(reading)
    terminal, replaced = os.dup(2), sys.stderr
    os.dup2(writing, 2)
    os.close(writing)
    # It stays open: handlers of logging may hold it.
    sys.stderr = open(terminal, "w", encoding=replaced.encoding, errors=replaced.errors, buffering=1)  # noqa: SIM115
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        sys.stderr = replaced


def _is_of_process(stream: object) -> bool:
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == 2
    except (OSError, ValueError):  # it has none, or is closed
        return False


def _filter(reading: int) -> NoReturn:
    """Hands on what is read, until nobody writes any more, and ends this process."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # which the whole group may get
            signal.signal(number, signal.SIG_IGN)
        os.dup2(reading, 0)
        os.close(1)  # whoever reads it waits for its end
        os.closerange(3, 1 << 16)
        panics = PanicFilter()
        with open(2, "wb", closefd=False) as terminal:
            while piece := os.read(0, 1 << 16):
                terminal.write(panics.feed(piece))
                terminal.flush()
            terminal.write(panics.end())
    finally:
        os._exit(0)
