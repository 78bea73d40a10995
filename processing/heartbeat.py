"""Signs that work goes on, for whoever must tell a slow file from one that gives nothing more.

Counted are frames, packets, pieces of a file and calls of an OCR engine: what an honest file, however long and however
slow the machine, gives one after the other.
"""

import contextlib
from collections.abc import Iterator

__all__ = ["beat", "count_beats", "long_work"]

_counts = {"beats": 0, "long": 0}


def beat() -> None:
    """Says that something was done just now."""
    _counts["beats"] += 1


def count_beats() -> int:
    """How often [`beat`] was called in this process; while there is [`long_work`], more at each call."""
    if _counts["long"]:
        beat()
    return _counts["beats"]


@contextlib.contextmanager
def long_work() -> Iterator[None]:
    """What may take its time without a sign, such as a download of weights."""
    _counts["long"] += 1
    try:
        yield
    finally:
        _counts["long"] -= 1
