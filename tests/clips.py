"""Small clips rendered for tests: text that appears at known times, and frames whose number can be read back.

Everything here is deterministic, needs no network and no font file (PIL's built-in scalable font).

* [`text_frame`], [`text_clip`]: frames with readable text.
* [`coded_frame`], [`coded_frames`], [`read_code`]: frames that carry their own number as black and white blocks, which
  survives lossy codecs, rotation by multiples of 90 degrees (turned back first) and resizing.
* [`write_clip`], [`write_audio`]: files. Times are seconds, sizes `(width, height)` in pixels, frames RGB uint8
  `(height, width, 3)`.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CODE_COLUMNS, CODE_ROWS = 4, 3  # 12 bits: frame numbers up to 4095


def text_frame(
    text: str,
    size: tuple[int, int] = (320, 180),
    *,
    position: tuple[float, float] = (0.5, 0.5),
    font_size: int = 32,
    color: str = "black",
    background: str | np.ndarray = "white",
) -> np.ndarray:
    """
    One frame with `text` centred on `position` (x, y relative to the frame, 0-1).

    `background` is a colour name or a frame `(height, width, 3)`, so that texts can be drawn one after the other:
    `text_frame("24", background=text_frame("OPEN", position=(0.5, 0.2)), position=(0.5, 0.8))`.
    """
    is_frame = isinstance(background, np.ndarray)
    image = Image.fromarray(background) if is_frame else Image.new("RGB", size, background)
    if text:
        center = (position[0] * image.width, position[1] * image.height)
        ImageDraw.Draw(image).text(center, text, fill=color, font=ImageFont.load_default(font_size), anchor="mm")
    return np.asarray(image)


def text_clip(
    schedule: Iterable[tuple[str, float, float]],
    duration: float = 3.0,
    fps: float = 10,
    size: tuple[int, int] = (320, 180),
    *,
    drift: tuple[float, float] = (0.0, 0.0),
    **style,
) -> list[np.ndarray]:
    """
    The frames of a clip in which each `(text, start, end)` of `schedule` is on screen for `start <= t < end` (seconds).

    Every text has a line of its own, from top to bottom in the order of `schedule`. `drift` moves all of them, in
    relative coordinates per second. `style` goes to [`text_frame`].
    """
    schedule = list(schedule)
    frames = []
    for index in range(round(duration * fps)):
        time = index / fps
        frame = text_frame("", size, **style)
        for line, (text, start, end) in enumerate(schedule):
            if start <= time < end:
                position = (0.5 + drift[0] * time, (line + 0.5) / len(schedule) + drift[1] * time)
                frame = text_frame(text, **{**style, "background": frame, "position": position})
        frames.append(frame)
    return frames


def coded_frame(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A frame that shows `number` (0 to 4095) as 4 x 3 blocks, white for a 1, most significant bit first."""
    bits = [(number >> shift) & 1 for shift in reversed(range(CODE_COLUMNS * CODE_ROWS))]
    blocks = np.array(bits, dtype=np.uint8).reshape(CODE_ROWS, CODE_COLUMNS) * 255
    return np.asarray(Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).convert("RGB"))


def coded_frames(count: int, size: tuple[int, int] = (64, 48), start: int = 0) -> list[np.ndarray]:
    """`count` frames numbered from `start`."""
    return [coded_frame(start + index, size) for index in range(count)]


def read_code(frame: np.ndarray) -> int:
    """The number shown by a frame made by [`coded_frame`], read at the middle of its blocks."""
    height, width = frame.shape[:2]
    rows = ((np.arange(CODE_ROWS) + 0.5) * height / CODE_ROWS).astype(int)
    columns = ((np.arange(CODE_COLUMNS) + 0.5) * width / CODE_COLUMNS).astype(int)
    bits = frame[np.ix_(rows, columns)].mean(axis=-1).ravel() > 127
    return int("".join("1" if bit else "0" for bit in bits), 2)


def write_clip(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    fps: float = 10,
    codec: str = "libx264",
    *,
    rotation: int = 0,
    pts: Sequence[float] | None = None,
    start: float = 0.0,
    keyframe_interval: int | None = None,
    pix_fmt: str | None = None,
    options: dict[str, str] | None = None,
    faststart: bool = False,
    title: str | None = None,
) -> Path:
    """
    Encodes `frames` into a file and returns its path; the ending of `path` names the container.

    Args:
        fps: frames a second; the last frame lasts `1 / fps` in a file with `pts` as well.
        codec: "libx264", "libsvtav1", "libvpx-vp9", "mpeg4", "ffv1", ...
        rotation: degrees counter-clockwise by which a player turns the stored frames (the container's display matrix).
        pts: presentation time of every frame in seconds, ascending, for a variable frame rate; rounded to 1/1000 s.
        start: without `pts`, seconds on the file's clock at which the first frame appears.
        keyframe_interval: frames from one keyframe to the next (default: the encoder's own, 250 for H.264).
        pix_fmt: "yuv420p" when both sides are even, else "yuv444p".
        options: of the encoder, such as `{"crf": "40"}`.
        faststart: put the index of an MP4 in front, so that a file cut off later stays partly readable.
        title: the container's metadata entry of that name.
    """
    path, frames = Path(path), list(frames)
    height, width = frames[0].shape[:2]
    rate = Fraction(fps).limit_denominator(1001)
    fixed_gop = {"libx264": {"x264-params": "scenecut=0"}}.get(codec, {}) if keyframe_interval else {}
    output = av.open(str(path), "w", options={"movflags": "+faststart"} if faststart else {})
    with usual_priority(), output as container:
        container.metadata.update({"title": title} if title else {})
        stream = container.add_stream(codec, rate=rate, options={**fixed_gop, **(options or {})})
        stream.width, stream.height = width, height
        stream.pix_fmt = pix_fmt or ("yuv420p" if width % 2 == height % 2 == 0 else "yuv444p")
        stream.codec_context.thread_count = 1
        time_base = 1 / rate if pts is None else Fraction(1, 1000)
        stream.time_base = stream.codec_context.time_base = time_base
        if keyframe_interval:
            stream.codec_context.gop_size = keyframe_interval
        if rotation:
            stream.set_display_rotation(rotation)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.time_base = time_base
            frame.pts = index + round(start * rate) if pts is None else round(pts[index] * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@contextmanager
def usual_priority() -> Iterator[None]:
    """Gives the process back the priority that it had. As root, SVT-AV1 takes real-time priority for all of it, and for
    what it starts later: a browser that waits for others in a loop then keeps both cores for itself, and never ends."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def write_audio(path: str | os.PathLike, duration: float = 1.0, rate: int = 16000) -> Path:
    """Writes a sound file without any video stream: a 440 Hz tone, AAC in an MP4 container."""
    path = Path(path)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        tone = np.sin(2 * np.pi * 440 * np.arange(round(duration * rate)) / rate).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
