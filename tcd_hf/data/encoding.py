"""Painted frames to video files."""

import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

__all__ = ["write_h264"]


def write_h264(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: int, crf: int) -> Path:
    """Encodes frames as H.264 into a file.

    Args:
        path (`str | os.PathLike`): its name should end in `.mp4`.
        frames (`Iterable[np.ndarray]`): at least one; RGB uint8 `(height, width, 3)`, both even.
        fps (`int`): frames a second.
        crf (`int`): how hard it is compressed, as x264 counts: 18 hardly, 36 badly.

    Returns:
        `Path`: of the file.
    """
    import av

    frames = iter(frames)
    first = next(frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        for pixels in chain([first], frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return Path(path)
