"""Interlaced H.264 whose packets hold fields: every other line of a frame, which is shown once."""

from typing import Any

import numpy as np

__all__ = ["begins_with_fields", "first_fields"]

LOOKED_AT = 4  # packets


def begins_with_fields(stream, packets: list[Any], errors: tuple[type[Exception], ...]) -> bool:
    """
    Whether the first packets of a stream bring out a frame for every two of them. The decoder is new afterwards.

    Args:
        stream: of PyAV.
        packets: with frames in them; more than the first from a keyframe on are not needed.
        errors: what PyAV raises where they are broken.
    """
    codec = stream.codec_context
    first = next((number for number, packet in enumerate(packets) if packet.is_keyframe), 0)
    packets = packets[first : first + LOOKED_AT]
    if codec.name != "h264" or len(packets) < LOOKED_AT:
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
    return len(frames) == LOOKED_AT // 2 and all(frame.interlaced_frame for frame in frames)


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
