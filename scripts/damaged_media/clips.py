"""Whole clips to damage: cards (see `scripts/benchmarks/videos/cards.py`) in the containers people have."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import av
import numpy as np

from scripts.benchmarks.videos.cards import draw_card

__all__ = ["CLIPS", "SOUNDS", "Recipe", "encode_clip", "encode_sound", "render_clips"]

FPS = 25  # that all encoders know
PICTURES, FRAMES_PER_PICTURE = 15, 5  # of each card: 3 s
SOUND_RATE, SOUND_BIT_RATE = 44100, 64000


class Recipe(NamedTuple):
    """How a clip is written: the ending names the container."""

    ending: str
    codec: str
    options: Mapping[str, str] = MappingProxyType({})  # of the container
    pix_fmt: str = "yuv420p"
    sound: str | None = None


CLIPS = {  # the name says how it is written; `cards.py` numbers the clips in this order
    "h264.mp4": Recipe("mp4", "libx264"),
    "h264-sound.mp4": Recipe("mp4", "libx264", {"movflags": "+faststart"}, sound="aac"),
    "h264-fragments.mp4": Recipe("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "mpeg4.mp4": Recipe("mp4", "mpeg4"),
    "mjpeg.mov": Recipe("mov", "mjpeg", pix_fmt="yuvj420p"),
    "h264.mkv": Recipe("mkv", "libx264", sound="aac"),
    "vp9.mkv": Recipe("mkv", "libvpx-vp9"),
    "ffv1.mkv": Recipe("mkv", "ffv1"),
    "vp8.webm": Recipe("webm", "libvpx"),
    "vp9.webm": Recipe("webm", "libvpx-vp9"),
    "mpeg4.avi": Recipe("avi", "mpeg4"),
    "mjpeg.avi": Recipe("avi", "mjpeg", pix_fmt="yuvj420p"),
    "h264.ts": Recipe("ts", "libx264", sound="mp2"),
    "mpeg2.ts": Recipe("ts", "mpeg2video"),
    "mpeg2.mpg": Recipe("mpg", "mpeg2video"),
    "flv1.flv": Recipe("flv", "flv"),
    "h264.flv": Recipe("flv", "libx264"),
    "wmv2.wmv": Recipe("wmv", "wmv2"),
    "gif.gif": Recipe("gif", "gif", pix_fmt="rgb8"),
}
SOUNDS = {"mp4": "aac", "mkv": "aac", "ts": "mp2", "avi": "mp2"}


def render_clips() -> dict[str, bytes]:
    """The clips by name, the same bytes each time where the encoders are the same. Clip `n` shows the pictures of
    card `n`."""
    return {name: encode_clip(card, recipe) for card, (name, recipe) in enumerate(CLIPS.items())}


def encode_clip(
    card: int, recipe: Recipe, scale: int = 1, num_frames: int = PICTURES * FRAMES_PER_PICTURE, gap: int = 0
) -> bytes:
    """A clip of a card, `scale` times its size. Of no frames, a file with a video stream that holds none; with a `gap`,
    one whose second half appears so many seconds late."""

    def frames(stream) -> Iterator[av.VideoFrame]:
        for number in range(num_frames):
            pixels = av.VideoFrame.from_ndarray(draw_card(card, number // FRAMES_PER_PICTURE), format="yuv420p")
            frame = pixels.reformat(stream.width, stream.height, stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            yield frame

    def write(container) -> None:
        stream = container.add_stream(recipe.codec, rate=FPS)
        example = av.VideoFrame.from_ndarray(draw_card(card, 0), format="yuv420p")
        stream.width, stream.height, stream.pix_fmt = example.width * scale, example.height * scale, recipe.pix_fmt
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = FPS  # damage in one group of pictures leaves others
        sound = recipe.sound and _add_sound(container, recipe.sound)
        container.start_encoding()
        for frame in (*frames(stream), *([None] if num_frames else [])):
            for packet in stream.encode(frame):
                if gap and packet.pts * packet.time_base > num_frames / FPS / 2:
                    late = round(gap / packet.time_base)
                    packet.pts, packet.dts = packet.pts + late, packet.dts + late
                container.mux(packet)
        if sound:
            _write_sound(container, sound, num_frames / FPS)

    return _file(recipe.ending, recipe.options, write)


def encode_sound(ending: str, seconds: float = 1.0) -> bytes:
    """A file without pictures: a tone."""

    def write(container) -> None:
        _write_sound(container, _add_sound(container, SOUNDS[ending]), seconds)

    return _file(ending, {}, write)


def _file(ending: str, options: Mapping[str, str], write: Callable) -> bytes:
    options = {**options, "fflags": "+bitexact"}  # no dates, no random numbers
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"clip.{ending}")
        with av.open(str(path), "w", options=options) as container:
            write(container)
        return path.read_bytes()


def _add_sound(container, codec: str):
    stream = container.add_stream(codec, rate=SOUND_RATE, layout="mono")
    stream.bit_rate = SOUND_BIT_RATE
    return stream


def _write_sound(container, stream, seconds: float) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE)
    format = stream.codec_context.format.name
    kind = np.float32 if format.startswith("flt") else np.int16
    samples = (tone * (0.5 if kind is np.float32 else 2**14)).astype(kind)
    frame = av.AudioFrame.from_ndarray(samples[None], format=format, layout="mono")
    frame.sample_rate, frame.pts = SOUND_RATE, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
