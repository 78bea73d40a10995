"""The captions in the rows of an index: how they are stored, and as what they come back."""

import json
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain

import numpy as np
import pyarrow as pa

from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption

__all__ = [
    "CAPTIONS_COLUMN",
    "StoredWindow",
    "captions_from",
    "captions_in_order",
    "decode_captions",
    "encode_captions",
    "windows_from",
    "windows_in_time",
]

TRACK_TYPE = pa.struct(
    [
        ("text", pa.string()),
        ("confidence", pa.float64()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("box", pa.list_(pa.float64(), 4)),
        ("count", pa.int32()),
        ("box_time", pa.float64()),
        ("source", pa.string()),
    ]
)
CAPTION_TYPE = pa.struct(
    [("start", pa.float64()), ("end", pa.float64()), ("text", pa.string()), ("tracks", pa.list_(TRACK_TYPE))]
)
CAPTIONS_COLUMN = "captions"
COMPRESSION_LEVEL = 1  # of captions; the best one makes them a tenth smaller and takes three times as long


def encode_captions(captions: Iterable[WindowCaption]) -> bytes:
    """The captions of a row as they are stored: compressed JSON, a line per window, without the names of the fields."""
    lines = (
        json.dumps(
            (caption.start, caption.end, caption.text, [tuple(vars(track).values()) for track in caption.tracks]),
            separators=(",", ":"),
            default=np.generic.item,
        )
        for caption in captions
    )
    return zlib.compress("\n".join(lines).encode(), COMPRESSION_LEVEL)


def captions_from(column: pa.ChunkedArray | pa.Array) -> list[list[WindowCaption]]:
    """The captions of rows, from the column `captions`."""
    return [[_caption(*json.loads(line)) for line in _unpack(packed)] for packed in column.to_pylist()]


def captions_in_order(rows: pa.Table) -> list[WindowCaption]:
    """The captions of one video in the order of time, from the columns `segment` and `captions` of its rows."""
    return list(chain.from_iterable(captions_from(rows.sort_by("segment")[CAPTIONS_COLUMN])))


class _StoredRow:
    """The windows of a row as they are stored.

    Args:
        packed (`bytes`): a value of the column `captions`.
    """

    def __init__(self, packed: bytes):
        self._packed = packed

    @cached_property
    def lines(self) -> list[str]:
        """One per window."""
        return _unpack(self._packed)


class StoredWindow:
    """A [`WindowCaption`] as it is stored, which is read when it is first asked for: a search looks at few windows, and
    of many rows at none.

    Args:
        row (`_StoredRow`): that it is in.
        place (`int`): of the window in it.
    """

    def __init__(self, row: _StoredRow, place: int):
        self._row, self._place = row, place

    @property
    def start(self) -> float:
        """Seconds in the file."""
        return self._times[0]

    @property
    def end(self) -> float:
        """Seconds in the file."""
        return self._times[1]

    @cached_property
    def tracks(self) -> list[TextTrack]:
        """Texts, most salient first."""
        return list(map(_track, json.loads(self._row.lines[self._place])[3]))

    @cached_property
    def _times(self) -> tuple[float, float]:
        line = self._row.lines[self._place]
        start, end, _ = line.removeprefix("[").split(",", 2)  # without reading what is long: the texts
        return float(start), float(end)


def windows_from(captions: bytes, count: int) -> list[StoredWindow]:
    """The windows of a row, from its value of the column `captions`; `count` says how many they are."""
    row = _StoredRow(captions)
    return [StoredWindow(row, place) for place in range(count)]


def windows_in_time(captions: Sequence[bytes], count: int) -> list[StoredWindow]:
    """The windows of several rows of one video, each given by its value of the column `captions`, in order of time."""
    return sorted((window for row in captions for window in windows_from(row, count)), key=lambda window: window.start)


def decode_captions(rows: pa.Table) -> pa.Table:
    """Rows with the column `captions`, if they have it, as a list of structs instead of as it is stored."""
    if CAPTIONS_COLUMN not in rows.column_names:
        return rows
    captions = [[window.to_dict() for window in windows] for windows in captions_from(rows[CAPTIONS_COLUMN])]
    number = rows.column_names.index(CAPTIONS_COLUMN)
    return rows.set_column(number, CAPTIONS_COLUMN, pa.array(captions, pa.list_(CAPTION_TYPE)))


def _unpack(packed: bytes) -> list[str]:
    """The lines of a row, one per window."""
    return zlib.decompress(packed).decode().splitlines()


def _caption(start: float, end: float, text: str, tracks: list) -> WindowCaption:
    return WindowCaption(start, end, text, list(map(_track, tracks)))


def _track(values: list) -> TextTrack:
    text, confidence, start, end, box, *others = values
    return TextTrack(text, confidence, start, end, tuple(box), *others)
