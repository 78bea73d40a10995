"""Videos of hours that take a moment to write: the coded pictures are encoded once and their packets repeated."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from tests.clips import coded_frame

FPS = 2
SIZE = (128, 96)


def write_hours(path: str | os.PathLike, schedule: Sequence[tuple[int, float]]) -> Path:
    """Writes a video that shows each code for so many seconds: `(code, seconds), ...`; every frame is a key frame."""
    rate = Fraction(FPS)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"x264-params": "keyint=1:bframes=0"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.thread_count = 1
        content = {}
        for number, code in enumerate(dict.fromkeys(code for code, _ in schedule)):
            frame = av.VideoFrame.from_ndarray(coded_frame(code, SIZE), format="rgb24")
            frame.pts = number
            for packet in stream.encode(frame):
                content[packet.pts] = bytes(packet)
        for packet in stream.encode():
            content[packet.pts] = bytes(packet)
        codes = list(dict.fromkeys(code for code, _ in schedule))
        time = 0
        for code, seconds in schedule:
            for _ in range(round(seconds * FPS)):
                packet = av.Packet(content[codes.index(code)])
                packet.stream, packet.time_base, packet.is_keyframe = stream, 1 / rate, True
                packet.pts = packet.dts = time
                packet.duration = 1
                container.mux(packet)
                time += 1
    return Path(path)
