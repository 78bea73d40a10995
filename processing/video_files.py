"""What is behind `video_decoders`: files that exist and are videos, and their containers, opened by PyAV."""

import codecs
import gc
import importlib.util
import io
import os
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from .transparency import on_ground
from .video_streams import choose_stream, is_transparent

__all__ = [
    "COPY_AGAIN",
    "Source",
    "VideoReadError",
    "clock_start",
    "first_line",
    "has_pyav",
    "import_reader",
    "open_container",
    "read_errors",
    "upright_pixels",
]

ALLOWED = (
    "a path (str or os.PathLike), bytes, a binary file object, a uint8 array of shape (frames, height, width, 3) "
    "or a list of PIL images"
)
COPY_AGAIN = "Copy or download it again, or leave it out"

# PyAV's containers are freed by the garbage collector, and their decoders have threads, which a fork leaves behind. A
# worker, as of `datasets.map(num_proc=...)`, that collects its parent's garbage would wait for those threads for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=gc.freeze)


class VideoReadError(ValueError):
    """A video cannot be read. The message names the video, the cause and what to do."""

    def __init__(self, name: str, cause: str, remedy: str = COPY_AGAIN):
        super().__init__(f"Cannot read the video {name!r}: {cause}. {remedy}.")


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
            name, file, size, head = _look_at_path(video)
        elif isinstance(video, (bytes, bytearray, memoryview)):
            data = bytes(video)
            name, file, size, head = "<bytes>", io.BytesIO(data), len(data), data[:4096]
        elif hasattr(video, "read") and not isinstance(video, io.TextIOBase):
            name, file, size, head = _look_at_stream(video)
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


def _look_at_path(video: "str | os.PathLike") -> tuple[str, str, int, bytes]:
    name = os.fsdecode(video)
    if os.path.isdir(name):
        raise VideoReadError(name, "it is a folder", "Give one file")
    try:
        with open(name, "rb") as stream:
            # FFmpeg would take the start of a relative name with a colon for a protocol: "http:a.mp4", "concat:a.mp4".
            return name, os.path.abspath(name), os.path.getsize(name), stream.read(4096)
    except FileNotFoundError as error:
        raise VideoReadError(name, "there is no such file", "Check the path") from error
    except OSError as error:
        raise VideoReadError(name, f"it cannot be opened ({first_line(error)})", "Check its rights") from error
    except ValueError as error:  # a null character
        raise VideoReadError(name, f"this is no path ({first_line(error)})", "Check the path") from error


def _look_at_stream(video: BinaryIO) -> tuple[str, BinaryIO, int, bytes]:
    name = str(getattr(video, "name", "<file object>"))
    try:
        file = video if video.seekable() else io.BytesIO(video.read())
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        return name, file, size, file.read(4096)
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise VideoReadError(name, f"it cannot be read ({first_line(error)})", "Give an open file") from error


def has_pyav() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def import_reader(package: str):
    """The package `decord` or `av`, or an `ImportError` that says how to install it."""
    try:
        return importlib.import_module(package)
    except (ImportError, OSError) as error:
        install = {"decord": "decord2", "av": "av"}[package]
        raise ImportError(f"Reading this video needs {package}: `pip install {install}` ({error}).") from error


def open_container(source: Source):
    """The container and its video stream, opened by PyAV."""
    av = import_reader("av")
    # Old titles are not UTF-8, which PyAV before 19 takes for an error unless told otherwise.
    options = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    try:
        container = av.open(source.rewound(), **options)
    except read_errors() as error:
        if source.head[4:8] == b"ftyp" and isinstance(error, av.FFmpegError):
            cause = "its index (moov) is missing, as in a file that was cut off while it was written or copied"
        elif isinstance(error, av.FFmpegError):
            cause = f"it is no video, or of a kind that FFmpeg does not know ({first_line(error)})"
        else:  # of the file object
            cause = f"it cannot be read ({first_line(error)})"
        raise VideoReadError(source.name, cause) from error
    stream = choose_stream(container)
    if stream is None:
        container.close()
        raise VideoReadError(source.name, "it has no video stream", "Give a file with pictures in it")
    if stream.codec_context is None:
        container.close()
        raise VideoReadError(source.name, "FFmpeg does not know its codec", "Convert it to H.264, or leave it out")
    return container, stream


def read_errors() -> tuple[type[Exception], ...]:
    """What PyAV raises: FFmpeg's errors, and those of the file object that it reads."""
    return (import_reader("av").FFmpegError, OSError, ValueError)


def upright_pixels(frame) -> np.ndarray:
    """A frame of PyAV as it is to be seen, RGB uint8 `(height, width, 3)`."""
    if is_transparent(frame.format):
        pixels = on_ground(frame.to_ndarray(format="rgba"))
    else:
        pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def clock_start(stream) -> float:
    """What the file's clock shows at the first frame, seconds."""
    return float((stream.start_time or 0) * stream.time_base)


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def first_line(error: Exception) -> str:
    """What an error says, in one short line."""
    text = getattr(error, "strerror", None) or str(error).split("Check failed: ")[-1]  # FFmpeg's words, decord's words
    return (text.splitlines() or [type(error).__name__])[0][:120]
