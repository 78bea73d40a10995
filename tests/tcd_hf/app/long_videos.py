"""Videos of hours that take a moment to write: every picture is encoded once, and its packet repeated."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.clips import coded_frame

SIZE = (320, 240)
NOISE = 40  # grey levels around those of the code: pictures that compress badly make a large file
SECONDS_PER_FRAME = 4  # what it costs to index a video are its frames


def write_stills(path: str | os.PathLike, stills: Sequence[tuple[np.ndarray, int]]) -> Path:
    """Writes a video that shows each picture for so many seconds: `(picture, seconds), ...`, multiples of
    `SECONDS_PER_FRAME`; all are key frames."""
    fps = Fraction(1, SECONDS_PER_FRAME)
    pictures = {id(picture): picture for picture, _ in stills}
    height, width = stills[0][0].shape[:2]
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"x264-params": "keyint=1:bframes=0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        encoded = []
        for place, picture in enumerate(pictures.values()):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = place
            encoded += map(bytes, stream.encode(frame))
        encoded += map(bytes, stream.encode())
        content = dict(zip(pictures, encoded, strict=True))
        time = 0
        for picture, seconds in stills:
            for _ in range(seconds // SECONDS_PER_FRAME):
                packet = av.Packet(content[id(picture)])
                packet.stream, packet.time_base, packet.is_keyframe = stream, 1 / fps, True
                packet.pts = packet.dts = time
                packet.duration, time = 1, time + 1
                container.mux(packet)
    return Path(path)


def write_hours(path: str | os.PathLike, schedule: Sequence[tuple[int, int]], noise: bool = False) -> Path:
    """Writes a video that shows each code for so many seconds, with noise over it: `(code, seconds), ...`."""
    rng = np.random.default_rng(0)
    grain = rng.integers(-NOISE, NOISE + 1, (*SIZE[::-1], 1)) if noise else 0
    pictures = {code: (coded_frame(code, SIZE) + grain).clip(0, 255).astype(np.uint8) for code, _ in schedule}
    return write_stills(path, [(pictures[code], seconds) for code, seconds in schedule])
