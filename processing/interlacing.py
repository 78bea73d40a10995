"""Interlaced video whose packets hold fields: every other line of a frame, which is shown once.

Of H.264 FFmpeg makes frames of them, of HEVC it gives the fields.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

__all__ = ["begins_with_fields", "first_fields", "gives_fields", "pairs", "woven"]

LOOKED_AT = 4  # packets


def begins_with_fields(stream, packets: list[Any], errors: tuple[type[Exception], ...]) -> bool:
    """
    Whether the first packets of a stream hold a field each. The decoder is new afterwards.

    Args:
        stream: of PyAV.
        packets: with frames in them; more than the first from a keyframe on are not needed.
        errors: what PyAV raises where they are broken.
    """
    codec = stream.codec_context
    first = next((number for number, packet in enumerate(packets) if packet.is_keyframe), 0)
    packets = packets[first : first + LOOKED_AT]
    if codec.name not in ("h264", "hevc") or len(packets) < LOOKED_AT:
        return False
    frames: list[Any] = []
    try:
        codec.flush_buffers()
        for packet in packets:
            frames += packet.decode()
        frames += codec.decode(None)
    except errors:
        return False
    finally:
        codec.flush_buffers()
    expected = LOOKED_AT if gives_fields(stream) else LOOKED_AT // 2
    return len(frames) == expected and all(frame.interlaced_frame for frame in frames)


def gives_fields(stream) -> bool:
    """Whether the fields that a stream holds come out as they are; whole frames of HEVC are never marked."""
    return stream.codec_context.name == "hevc"


def pairs(fields: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, list[Any]]]:
    """Fields that follow each other and have the number of the same frame, together."""
    for number, group in groupby(fields, key=itemgetter(0)):
        yield number, [field for _, field in group]


def woven(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """
    A frame of two fields.

    Which one begins at the top is not told: the lines of the other order are ragged.

    Args:
        first, second (`np.ndarray` of shape `(lines, width, channels)`): the fields.

    Returns:
        `np.ndarray` of shape `(2 * lines, width, channels)`.
    """
    frames = [np.stack(fields, axis=1).reshape(-1, *first.shape[1:]) for fields in ((first, second), (second, first))]
    return min(frames, key=lambda frame: int(np.abs(np.diff(frame[..., :3].astype(np.int16), axis=0)).sum()))


def first_fields(times: np.ndarray) -> np.ndarray:
    """
    Which packets begin a frame: those that do not follow half the time of a frame after one that does.

    Args:
        times (`np.ndarray` of shape `(packets,)`, int64): when they are shown, in ticks, ascending.

    Returns:
        `np.ndarray`, numbers of packets. Frames that are no pairs of fields may be in between.
    """
    gaps = np.diff(times)
    half = int(gaps[gaps > 0].min()) if (gaps > 0).any() else 0
    begun = [0]
    for number, time in enumerate(times.tolist()):
        if 2 * (time - int(times[begun[-1]])) > 3 * half:
            begun.append(number)
    return np.array(begun)
