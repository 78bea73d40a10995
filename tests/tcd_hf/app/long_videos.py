"""Videos of hours that take a moment to write: every picture is encoded once, and its packet repeated."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.clips import coded_frame

SIZE, LARGE = (160, 120), (800, 600)
NOISE = 40  # grey levels around those of the code: pictures that compress badly make a large file
STEPS = (
    20,
    4,
)  # seconds that one frame is shown, the first that divides: what it costs to index a video are its frames


def write_stills(path: str | os.PathLike, stills: Sequence[tuple[np.ndarray, int]]) -> Path:
    """Writes a video that shows each picture for so many seconds: `(picture, seconds), ...`, multiples of
    4; all are key frames."""
    pictures = {id(picture): picture for picture, _ in stills}
    height, width = stills[0][0].shape[:2]
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=1, options={"x264-params": "keyint=1:bframes=0"})
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
            step = next(step for step in STEPS if seconds % step == 0)
            for _ in range(seconds // step):
                packet = av.Packet(content[id(picture)])
                packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1), True
                packet.pts = packet.dts = time
                packet.duration, time = step, time + step
                container.mux(packet)
    return Path(path)


def write_hours(path: str | os.PathLike, schedule: Sequence[tuple[int, int]], is_large: bool = False) -> Path:
    """Writes a video that shows each code for so many seconds: `(code, seconds), ...`; a large file if wanted."""
    size = LARGE if is_large else SIZE
    grain = np.random.default_rng(0).integers(-NOISE, NOISE + 1, (*size[::-1], 1)) if is_large else 0
    pictures = {code: (coded_frame(code, size) + grain).clip(0, 255).astype(np.uint8) for code, _ in schedule}
    return write_stills(path, [(pictures[code], seconds) for code, seconds in schedule])
