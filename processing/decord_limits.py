"""What decord reads wrongly although it is in a container that it knows: asked before it gets a file."""

from typing import Any

import numpy as np

from .timelines import join_parts
from .video_streams import has_alpha, keeps_decoding_times, several_videos

__all__ = ["misread_by_decord"]

MOST_DECODED = 8  # keyframes, to see whether the size of the picture changes


def misread_by_decord(container, stream, errors: tuple[type[Exception], ...]) -> str | None:
    """
    Why a file is not for decord, by its streams, times and keyframes; `None` where nothing speaks against it.

    Args:
        container, stream: opened by PyAV. They are read to the end: the file is to be a short one.
        errors: what PyAV raises where the file is broken, which is left for decord to find.
    """
    if several_videos(container):
        return "decord chooses for itself which video of a file it reads"
    if has_alpha(stream):
        return "decord leaves out what is transparent"
    times, is_key, keyframes = [], [], []
    try:
        for packet in container.demux(stream):
            if packet.is_discard:
                return "decord counts frames that the file's edit list cuts off"
            if packet.size and packet.pts is not None:
                times.append(packet.pts)
                is_key.append(packet.is_keyframe)
                keyframes += [packet] if packet.is_keyframe else []
    except errors:
        pass
    if keeps_decoding_times(container, stream, np.array(times)):
        return "it does not say when its frames are shown"
    if times and join_parts(np.array(times), np.ones(len(times), dtype=np.int64), np.array(is_key)) is not None:
        return "its clock starts again in the middle"
    if _changes_size(stream, keyframes, errors):
        return "decord shows pictures of all sizes in that of the first"
    return None


def _changes_size(stream, keyframes: list[Any], errors: tuple[type[Exception], ...]) -> bool:
    codec = stream.codec_context
    size = codec.width, codec.height
    codec.thread_count = 1
    for packet in keyframes[:: -max(1, len(keyframes) // MOST_DECODED)]:
        try:
            frames = [*codec.decode(packet), *codec.decode(None)]
        except errors:  # broken, which is not asked here
            frames = []
        codec.flush_buffers()
        if any((frame.width, frame.height) != size for frame in frames):
            return True
    return False
