"""What a worker process runs: tasks come in by its standard input, answers go out by its standard output.

[`Workers`] starts it as a file, not by its name: Python would otherwise look for modules in the folder that the user is
in. It imports nothing but the standard library before it is told where the modules of its parent are.
"""

import gc
import logging
import os
import pickle  # nosec B403 # between this package's own processes, over their pipes
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

__all__ = ["portable", "serve"]

BEAT_SECONDS = 0.5  # between two signs of life


def serve(tasks: BinaryIO, answers: BinaryIO) -> None:
    """Does tasks until there are none: they end with the process that gives them.

    What comes in are pickles: what does the work, a callable, and then tasks, one after the other. What goes out are
    pickled pairs of a kind and a content: `"ready"`, when the callable is there; `"done"` and its answer, or `"failed"`
    and an exception, once per task and in order; and in between `"beat"` and a count that grows as work goes on,
    `"warning"` and `"log"`.
    """
    from tcd_hf.processing.heartbeat import count_beats

    outlet = _Outlet(answers)
    threading.Thread(target=_beat, args=(outlet, count_beats), daemon=True).start()
    try:
        work = _begin(tasks, outlet)
    except BaseException as error:
        outlet.put("failed", portable(error))
        os._exit(1)
    outlet.put("ready", None)
    while True:
        try:
            task = pickle.load(tasks)  # nosec B301 # from the process that started this one
        except EOFError:
            os._exit(0)
        try:
            outlet.put("done", work(task))
        except Exception as error:
            outlet.put("failed", portable(error))


class _Outlet:
    """Where answers go; ends the process when nobody is left to take them."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._lock = threading.Lock()

    def put(self, kind: str, content: Any) -> None:
        """Sends a message, whole."""
        data = pickle.dumps((kind, content), protocol=pickle.HIGHEST_PROTOCOL)
        with self._lock:
            try:
                self._stream.write(data)
                self._stream.flush()
            except OSError:
                os._exit(1)


def _begin(tasks: Any, outlet: _Outlet) -> Any:
    """What does the work, and the way on for what it has to say besides."""
    gc.disable()  # what is imported stays: to look through it for garbage takes longer than to make it
    work = pickle.loads(pickle.load(tasks))  # nosec B301 # likewise
    gc.freeze()
    gc.enable()

    def show_warning(message, category, filename, lineno, file=None, line=None) -> None:
        known = next(kind for kind in category.__mro__ if _can_be_sent(kind))  # of a user's script only the base is
        outlet.put("warning", (str(message), known, filename, lineno))

    warnings.showwarning = show_warning
    logging.getLogger().addHandler(_Forwarding(outlet))
    return work


class _Forwarding(logging.Handler):
    def __init__(self, outlet: _Outlet):
        super().__init__(logging.WARNING)
        self._outlet = outlet

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._outlet.put("log", (record.name, record.levelno, record.getMessage()))
        except Exception:  # arguments that do not fit: as handlers do, complain and go on
            self.handleError(record)


def _beat(outlet: _Outlet, count_beats: Callable[[], int]) -> None:
    while True:
        time.sleep(BEAT_SECONDS)
        outlet.put("beat", count_beats())


def portable(error: BaseException) -> BaseException:
    """The error itself, or what is left of one that cannot be brought to another process."""
    return error if _can_be_sent(error) else RuntimeError(f"{type(error).__name__}: {error}")


def _can_be_sent(what: Any) -> bool:
    try:
        pickle.loads(pickle.dumps(what))  # nosec B301 # made in this line
        return True
    except Exception:
        return False


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    streams = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what libraries print is no answer
    sys.path[:] = pickle.load(streams[0])  # nosec B301 # from the process that started this one
    from tcd_hf.reading.worker import serve as serve_in_package  # of this file there are two modules from now on

    serve_in_package(*streams)
