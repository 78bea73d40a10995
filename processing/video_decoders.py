"""The readers behind `video_reading`: frames by number, in presentation order, and the times at which they appear."""

import codecs
import importlib.util
import io
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

__all__ = [
    "COPY_AGAIN",
    "DecodeError",
    "Decoder",
    "DecordDecoder",
    "ImageDecoder",
    "PyAVDecoder",
    "Source",
    "VideoReadError",
    "open_decoder",
]

# Readers keep times in float32, which errs by 0.12 ms after half an hour: a frame is on screen this early, in seconds.
TIME_TOLERANCE = 1e-3
IMAGE_LIST_FPS = 1.0
# Containers whose index leads to a frame reliably; the others are read from the start on, by PyAV.
SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi")

ALLOWED = (
    "a path (str or os.PathLike), bytes, a binary file object, a uint8 array of shape (frames, height, width, 3) "
    "or a list of PIL images"
)
COPY_AGAIN = "Copy or download it again, or leave it out"


class VideoReadError(ValueError):
    """A video cannot be read. The message names the video, the cause and what to do."""

    def __init__(self, name: str, cause: str, remedy: str = COPY_AGAIN):
        super().__init__(f"Cannot read the video {name!r}: {cause}. {remedy}.")


class DecodeError(Exception):
    """A reader gives up on a file; another may still read it."""


def open_decoder(decoder_class: "type[Decoder]", source: "Source", num_threads: int) -> "Decoder":
    """A decoder, or the `VideoReadError` that says why there is none."""
    try:
        return decoder_class(source, num_threads)
    except DecodeError as error:
        raise decoder_class.gives_up(source.name, error) from error


@dataclass(frozen=True)
class Source:
    """A file, on disk or in memory, that exists and is not obviously something else than a video."""

    name: str
    file: str | BinaryIO
    size: int
    head: bytes

    @classmethod
    def locate(cls, video: "str | os.PathLike | bytes | BinaryIO") -> "Source":
        if isinstance(video, (str, os.PathLike)):
            name = file = os.fsdecode(video)
            if os.path.isdir(name):
                raise VideoReadError(name, "it is a folder", "Give one file")
            try:
                with open(name, "rb") as stream:
                    head, size = stream.read(4096), os.path.getsize(name)
            except FileNotFoundError as error:
                raise VideoReadError(name, "there is no such file", "Check the path") from error
            except OSError as error:
                raise VideoReadError(name, f"it cannot be opened ({error.strerror})", "Check its rights") from error
        elif isinstance(video, (bytes, bytearray, memoryview)):
            name, file, head, size = "<bytes>", io.BytesIO(video), bytes(video[:4096]), len(video)
        elif hasattr(video, "read") and not isinstance(video, io.TextIOBase):
            name = str(getattr(video, "name", "<file object>"))
            file = video if video.seekable() else io.BytesIO(video.read())
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            head = file.read(4096)
        else:
            raise TypeError(f"A video must be {ALLOWED}; got {type(video)}.")
        if size == 0:
            raise VideoReadError(name, "it is empty (0 bytes)")
        if _is_text(head):  # FFmpeg would render it as a terminal, or follow a playlist's addresses
            raise VideoReadError(name, "it is a text file, not a video", "Give a video file")
        return cls(name, file, size, head)

    def rewound(self) -> str | BinaryIO:
        """The path, or the file object set back to its start."""
        if not isinstance(self.file, str):
            self.file.seek(0)
        return self.file


@dataclass(frozen=True)
class Timeline:
    """When each frame appears, in seconds after the first, ascending (float32), and which frames are keyframes."""

    starts: np.ndarray
    keyframes: np.ndarray
    duration: float

    @classmethod
    def build(cls, starts, ends, keyframes, rate: float) -> "Timeline":
        starts, ends = np.asarray(starts, dtype=np.float32), np.asarray(ends, dtype=np.float32)
        # A lone frame, or one of a container that keeps no durations, lasts as long as the frame rate says.
        end = ends.max() if ends.max() > starts[-1] else starts[-1] + 1 / rate
        return cls(starts - starts[0], np.union1d([0], keyframes).astype(int), float(end - starts[0]))

    def index_at(self, time: float) -> int:
        return max(int(np.searchsorted(self.starts, time + TIME_TOLERANCE, side="right")) - 1, 0)

    def keyframe_before(self, index: int) -> int:
        return int(self.keyframes[np.searchsorted(self.keyframes, index, side="right") - 1])


class Decoder:
    """Frames by number, in presentation order. `problem` says what is broken in a file that is partly readable."""

    backend: str
    timeline: Timeline
    problem: str | None = None

    def read(self, index: int) -> np.ndarray:
        """Frame `index`, RGB uint8 `(height, width, 3)`; raises `DecodeError`."""
        raise NotImplementedError

    def close(self):
        """Gives the file back."""

    @classmethod
    def gives_up(cls, name: str, error: DecodeError) -> VideoReadError:
        """What the user is told when there is no other reader to turn to."""
        remedy = "Use backend='auto' or 'pyav', which may still read it" if cls.backend == "decord" else COPY_AGAIN
        return VideoReadError(name, str(error), remedy)


class ImageDecoder(Decoder):
    """Frames that are in memory already."""

    backend = "memory"

    def __init__(self, images: "np.ndarray | list[Image.Image]", fps: float | None):
        name = "<array>" if isinstance(images, np.ndarray) else "<images>"
        if isinstance(images, np.ndarray) and (images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8):
            raise ValueError(
                f"A video array must be RGB uint8 of shape (frames, height, width, 3), got {images.dtype} of shape "
                f"{images.shape}. Move the channels last and scale the values to 0-255."
            )
        if not isinstance(images, np.ndarray):
            for image in images:
                if not isinstance(image, Image.Image):
                    raise TypeError(f"A list given as a video must hold PIL images, got {type(image)}; stack arrays.")
        if len(images) == 0:
            raise VideoReadError(name, "it has no frames", "Give at least one frame")
        fps = fps or IMAGE_LIST_FPS
        starts = np.arange(len(images)) / fps
        self._images = images
        self.timeline = Timeline.build(starts, starts + 1 / fps, np.arange(len(images)), fps)

    def read(self, index: int) -> np.ndarray:
        image = self._images[index]
        return image if isinstance(image, np.ndarray) else np.array(image.convert("RGB"))


class DecordDecoder(Decoder):
    """decord; it turns frames upright itself and seeks to the nearest keyframe where that saves decoding."""

    backend = "decord"

    def __init__(self, source: Source, num_threads: int):
        decord = _import("decord")
        decord.logging.set_level(decord.logging.QUIET)
        has_pyav = importlib.util.find_spec("av") is not None  # its look at the header spares decord what it gets wrong
        container, stream = _open_container(source) if has_pyav else (None, None)
        if has_pyav and (container.format.name not in SEEKABLE or _is_fragmented(container, stream)):
            raise DecodeError(f"decord can return wrong frames of such a file ({container.format.name})")
        try:
            # The smallest tolerance: decord otherwise passes off a neighbour as a frame it could not decode.
            self._reader = decord.VideoReader(source.rewound(), num_threads=num_threads, fault_tol=1e-6)
            times = self._reader.get_frame_timestamp(range(len(self._reader)))
            keyframes = self._reader.get_key_indices()
            rate = self._reader.get_avg_fps() or 1.0
        except Exception as error:  # RuntimeError, DECORDError, AssertionError: decord raises whatever it likes
            raise DecodeError(f"decord cannot open it ({_first_line(error)})") from error
        self.timeline = Timeline.build(times[:, 0], times[:, 1], keyframes, rate)
        if has_pyav:
            self.problem = _cut_off(stream, source, self.timeline)
            container.close()

    def read(self, index: int) -> np.ndarray:
        try:
            frame = self._reader[index]
        except Exception as error:
            raise DecodeError(f"decord cannot decode frame {index} ({_first_line(error)})") from error
        # Tensors of another library come out where the user has set a decord bridge.
        frame = frame.asnumpy() if hasattr(frame, "asnumpy") else np.asarray(frame)
        if frame.shape[-1] != 3:  # decord takes row padding for a channel in narrow clips turned by 90 degrees
            raise DecodeError(f"decord returned a frame of shape {frame.shape}")
        return frame

    def close(self):
        self._reader = None


class PyAVDecoder(Decoder):
    """PyAV; it goes on past what cannot be decoded, so that the rest of a broken file is still read."""

    backend = "pyav"

    def __init__(self, source: Source, num_threads: int):
        self._av = _import("av")
        self._source = source
        self._num_threads = num_threads
        self._held = self._ahead = None  # (index, frame): the last one at or before the wanted, and the one after it
        self._open()
        self._scan()
        self.problem = _cut_off(self._stream, source, self.timeline) or self.problem

    def read(self, index: int) -> np.ndarray:
        key = self.timeline.keyframe_before(index)
        if self._held is None or not key <= self._held[0] <= index:  # else decoding on touches fewer frames
            self._seek(key)
        self._advance(index)
        while self._held is None and key > 0:  # nothing readable from that keyframe on
            key = self.timeline.keyframe_before(key - 1)
            self._seek(key)
            self._advance(index)
        found = self._held or self._ahead  # a file with a broken beginning shows its first readable frame
        if found is None:
            raise DecodeError("none of its frames can be decoded")
        frame = found[1]
        return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4))

    def close(self):
        self._container.close()

    def _open(self):
        self._container, self._stream = _open_container(self._source)
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = self._num_threads

    def _scan(self):
        """Reads the times of all frames off the packets, without decoding any."""
        packets = [
            (packet.pts, packet.duration or 0, packet.is_keyframe)
            for packet in self._packets()
            if packet.size and not packet.is_discard
        ]
        if not packets:
            raise DecodeError("its video stream has no frames")
        rate = float(self._stream.average_rate or 1)
        if any(pts is None for pts, _, _ in packets):  # a bare stream, or an old container: count the frames
            self._pts, starts = None, np.arange(len(packets)) / rate
            self.timeline = Timeline.build(starts, starts + 1 / rate, [], rate)
            return
        packets.sort()
        self._pts, durations, is_key = map(np.array, zip(*packets, strict=True))
        starts, ends = (time * float(self._stream.time_base) for time in (self._pts, self._pts + durations))
        keyframes = np.flatnonzero(is_key) if self._container.format.name in SEEKABLE else []
        self.timeline = Timeline.build(starts, ends, keyframes, rate)

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._stream)
        except self._av.FFmpegError as error:
            self.problem = self.problem or f"it breaks off ({_first_line(error)})"

    def _frames(self) -> Iterator[tuple[int, Any]]:
        """Decodes on from where the container stands."""
        count = itertools.count()
        for packet in self._packets():
            try:
                frames = packet.decode()
            except self._av.FFmpegError as error:
                self.problem = self.problem or f"some frames cannot be decoded ({_first_line(error)})"
                continue
            for frame in frames:
                if self._pts is None:
                    yield next(count), frame
                elif frame.pts is not None:
                    yield max(int(np.searchsorted(self._pts, frame.pts, side="right")) - 1, 0), frame

    def _seek(self, key: int):
        if key == 0:  # opening again finds the first frame of any container
            self._container.close()
            self._open()
        else:
            self._container.seek(int(self._pts[key]), stream=self._stream)
        self._held = self._ahead = None
        self._decoded = self._frames()

    def _advance(self, index: int):
        """Decodes until `_held` is frame `index`, or the last readable one before it."""
        while self._held is None or self._held[0] < index:
            self._ahead = self._ahead or next(self._decoded, None)
            if self._ahead is None or self._ahead[0] > index:
                break
            self._held, self._ahead = self._ahead, None


def _import(package: str):
    try:
        return importlib.import_module(package)
    except (ImportError, OSError) as error:
        install = {"decord": "decord2", "av": "av"}[package]
        raise ImportError(f"Reading this video needs {package}: `pip install {install}` ({error}).") from error


def _open_container(source: Source):
    """The container and its video stream, opened by PyAV."""
    av = _import("av")
    try:
        container = av.open(source.rewound())
    except av.FFmpegError as error:
        if source.head[4:8] == b"ftyp":
            cause = "its index (moov) is missing, as in a file that was cut off while it was written or copied"
        else:
            cause = f"it is no video, or of a kind that FFmpeg does not know ({_first_line(error)})"
        raise VideoReadError(source.name, cause) from error
    stream = container.streams.best("video")
    if stream is None:
        container.close()
        raise VideoReadError(source.name, "it has no video stream", "Give a file with pictures in it")
    return container, stream


def _is_fragmented(container, stream) -> bool:
    """Whether an MP4 has no index of the whole: decord was seen to miss frames there."""
    return container.format.name.startswith("mov") and stream.frames < len(stream.index_entries)


def _cut_off(stream, source: Source, timeline: Timeline) -> str | None:
    """What to say of a file whose index points past its end (MP4), or that promised to last longer (Matroska)."""
    index = stream.index_entries
    tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    hours, minutes, seconds = map(float, tag.groups()) if tag else (0, 0, 0)
    promised = hours * 3600 + minutes * 60 + seconds - float((stream.start_time or 0) * stream.time_base)
    if (len(index) and index[-1].pos + index[-1].size > source.size) or promised > timeline.duration + 0.5:
        return f"it is cut off, after {timeline.duration:.1f} seconds"
    return None


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).split("Check failed: ")[-1]  # FFmpeg's words, decord's words
    return (text.splitlines() or [type(error).__name__])[0][:120]
