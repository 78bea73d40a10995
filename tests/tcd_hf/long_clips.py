"""Long videos that cost little: small coded frames, each of which stands for a text, see [`CodeReader`]."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from tests.clips import coded_frame, read_code, write_clip
from tests.tcd_hf.conftest import CodeReader

FPS = 5
SIZE = (64, 48)


def write_codes(path: str | os.PathLike, *schedule: tuple[int, float], fps: float = FPS) -> Path:
    """Writes a video that shows each code for so many seconds: `(code, seconds), ...`."""
    shown = [(coded_frame(code, SIZE), round(seconds * fps)) for code, seconds in schedule]
    return write_clip(path, [frame for frame, count in shown for _ in range(count)], fps=fps)


def write_sparse(path: str | os.PathLike, codes: Sequence[int], times: Sequence[float]) -> Path:
    """Writes a video that shows each code from its time on, in seconds, whatever lies between: FFV1 in Matroska."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "bgr0"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for code, time in zip(codes, times, strict=True):
            frame = av.VideoFrame.from_ndarray(coded_frame(code, SIZE), format="rgb24").reformat(format="bgr0")
            frame.time_base, frame.pts = Fraction(1, 1000), round(time * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(path)


class WatchedReader(CodeReader):
    """A [`CodeReader`] that counts its `calls`, notes in `codes` what it was given, and calls `on_code` with each code
    before it reads on.

    Two that know the same texts are the same engine, whatever they note and call.
    """

    on_code = staticmethod(lambda code: None)

    def __init__(self, texts: dict[int, list[str]]):
        super().__init__(texts)
        self.codes: list[int] = []
        self.calls = 0

    def __setstate__(self, state):
        self.__init__(**state)

    def __call__(self, images):
        self.calls += 1
        for image in images:
            code = read_code(image)
            self.codes.append(code)
            self.on_code(code)
        return super().__call__(images)
