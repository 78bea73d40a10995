"""How many frames the tables of an MP4 speak of: whoever reads them takes memory for each, be it there or not."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from .heartbeat import beat

__all__ = ["claimed_samples", "timed_samples"]

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
MOST_BOXES = 1 << 23  # that are looked at, within a minute: hours of one frame per fragment have as many
STORED_BY = frozenset((b"url ", b"alis", b"rsrc"))  # the second handler of a track of QuickTime
SAMPLES_PER_PIECE = 160  # and more: FFmpeg keeps sound of the old kind, see `_Track`, in pieces of these


def claimed_samples(file: BinaryIO, size: int) -> int:
    """
    Samples, which are frames or pieces of sound, that the tables of an MP4 claim without a word on each.

    A sample has a byte at least: more than the file has bytes cannot be there.

    Args:
        file (binary file): any file; it is left where it stands.
        size (`int`): its bytes.

    Raises:
        ValueError: it has more than `MOST_BOXES` boxes.
    """
    tracks, in_fragments, in_chunks, runs, place = [_Track()], 0, 0, np.zeros((0, 3)), file.tell()
    for kind, start, end in _boxes(file, 0, size):
        if kind == b"trak":
            tracks.append(_Track())
        elif kind == b"hdlr":
            file.seek(start + 8)
            tracks[-1].handlers.add(file.read(4))
        elif kind == b"stts":
            num_rows, _, ticks = _numbers(file, start + 4, 3, end)
            tracks[-1].ticks.add(ticks if num_rows == 1 else None)
        elif kind == b"stsz":
            sample_size, count = _numbers(file, start + 4, 2, end)
            tracks[-1].claimed += int(count) if sample_size else 0
        elif kind == b"trun":
            in_fragments += int(_numbers(file, start + 4, 1, end)[0])
        elif kind == b"stsc":  # first chunk, samples in each, description
            runs = _table(file, start, end, 3)
        elif kind in (b"stco", b"co64") and len(runs):
            num_chunks = len(_table(file, start, end, 1 if kind == b"stco" else 2))
            lengths = np.diff(np.append(runs[:, 0], num_chunks + 1)).clip(0, num_chunks)
            in_chunks += int(lengths @ runs[:, 1])
    file.seek(place)
    # Of plain sound, whose samples are all of a size, chunks are what FFmpeg keeps, in pieces of 1024 samples.
    in_chunks = in_chunks // 1024 if any(track.claimed for track in tracks) else 0
    return max(sum(track.num_kept for track in tracks), in_fragments, in_chunks)


def timed_samples(file: BinaryIO, size: int) -> int:
    """Samples that the tables of an MP4 have times for, in one of its streams; see [`claimed_samples`]."""
    place = file.tell()
    tables = [_table(file, start, end, 2) for kind, start, end in _boxes(file, 0, size) if kind == b"stts"]
    file.seek(place)
    return int(max((table[:, 0].sum() for table in tables), default=0))


@dataclass
class _Track:
    """What the tables of a track say of its samples.

    Old QuickTime sound (IMA 4:1, QDesign, MACE) has its time counted in samples that are not compressed, of which there
    are many more than bytes.
    """

    claimed: int = 0
    handlers: set[bytes] = field(default_factory=set)
    ticks: set[float | None] = field(default_factory=set)  # that each sample lasts; `None` where they differ

    @property
    def num_kept(self) -> int:
        """How many FFmpeg keeps an entry for."""
        is_sound = self.handlers - STORED_BY == {b"soun"}
        return self.claimed // SAMPLES_PER_PIECE if is_sound and self.ticks == {1} else self.claimed


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first byte and end of each box that holds no others, of those in boxes that do, and of each track."""
    pending, count = [(start, end)], 0
    while pending:
        start, end = pending.pop()
        if end - start < 8:
            continue
        beat()
        count += 1
        if count > MOST_BOXES:
            raise ValueError(f"it has more than {MOST_BOXES} boxes")
        file.seek(start)
        length, kind, long_length = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        head = 16 if length == 1 else 8
        length = {0: end - start, 1: long_length}.get(length, length)  # 0: it is the last
        stop = min(start + max(length, head), end)
        pending.append((stop, end))
        if kind in PARENTS:
            pending.append((start + head, stop))
        if kind == b"trak" or kind not in PARENTS:
            yield kind, start + head, stop


def _numbers(file: BinaryIO, start: int, count: int, end: int) -> np.ndarray:
    """Whole numbers of four bytes each; zeros past the end."""
    file.seek(start)
    found = np.frombuffer(file.read(min(4 * count, max(0, end - start))).ljust(4 * count, b"\0")[: 4 * count], ">u4")
    return found.astype(np.float64)


def _table(file: BinaryIO, start: int, end: int, columns: int) -> np.ndarray:
    """The rows of a table that are there, whatever it says of their number."""
    num_rows = min(int(_numbers(file, start + 4, 1, end)[0]), max(0, end - start - 8) // (4 * columns))
    return _numbers(file, start + 8, num_rows * columns, end).reshape(-1, columns)
