"""What is behind `video_decoders`: files that exist, and those of them that are videos, opened by PyAV."""

import codecs
import contextlib
import gc
import importlib.util
import io
import os
import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from .interlacing import woven
from .mp4_tables import claimed_samples, timed_samples
from .regular_files import NotRegularError, open_regular
from .transparency import on_ground
from .video_streams import choose_stream, is_transparent

__all__ = [
    "ALLOWED",
    "ANY_PIXELS",
    "COPY_AGAIN",
    "MAX_PIXELS",
    "Source",
    "VideoReadError",
    "check_no_address",
    "check_size",
    "clock_start",
    "first_line",
    "has_pyav",
    "import_reader",
    "lasting_backend",
    "open_container",
    "read_errors",
    "upright_pixels",
]

ALLOWED = (
    "a path (str or os.PathLike), bytes, a binary file object, an array or a tensor of shape (frames, height, width, "
    "3) or (frames, 3, height, width), a list of PIL images or of such frames, a torchcodec VideoDecoder, or a dict "
    "with the `path` or the `bytes` of a video"
)
COPY_AGAIN = "Copy or download it again, or leave it out"
MAX_PIXELS = 1 << 26
# For what has been read already, by a limit that was its reader's to set. It is more than FFmpeg gives any frame.
ANY_PIXELS = 1 << 29
# FFmpeg's names of containers that hold their frames themselves. Of its others some are lists of what it opens next,
# files and addresses alike (concat, hls, sdp, image2, ...), some render text, and some are devices.
CONTAINERS = (
    "mov,matroska,avi,mpegts,mpegtsraw,mpeg,mpegvideo,flv,asf,ogg,rm,mxf,gxf,lxf,dv,nut,ivf,wtv,nsv,nuv,ivr,pva,ty,"
    "dhav,kux,swf,yuv4mpegpipe,filmstrip,cine,flic,bink,smk,roq,"
    # bare streams
    "h261,h263,h264,hevc,vvc,evc,av1,obu,m4v,mjpeg,mjpeg_2000,dirac,dnxhd,vc1,vc1test,cavsvideo,avs2,avs3,apv,"
    # pictures, most of which may move
    "gif,apng,webp,jpegxl_anim,webp_pipe,png_pipe,jpeg_pipe,jpegxl_pipe,bmp_pipe,tiff_pipe"
)

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
    """A file, on disk or in memory, that exists, its first bytes, and how many pixels its frames may have."""

    name: str
    file: str | BinaryIO
    size: int
    head: bytes
    max_pixels: int = MAX_PIXELS

    @classmethod
    def locate(cls, video: "str | os.PathLike | bytes | BinaryIO", max_pixels: int = MAX_PIXELS) -> "Source":
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
        source = cls(name, file, size, head, max_pixels)
        source.check_size(*_size_in_head(head))  # Pillow and FFmpeg take memory for a frame when they open such a file
        return source

    def rewound(self) -> str | BinaryIO:
        """The path, or the file object set back to its start."""
        if not isinstance(self.file, str):
            self.file.seek(0)
        return self.file

    def check_tables(self, with_times: bool = False):
        """Raises [`VideoReadError`] for an MP4 that speaks of more frames than it can hold: an attack on the memory.

        PyAV finds out for itself how many have times; decord does not.
        """
        opened = open_regular(self.file) if isinstance(self.file, str) else contextlib.nullcontext(self.file)
        try:
            with opened as file:
                most = claimed_samples(file, self.size)
                most = max(most, timed_samples(file, self.size)) if with_times else most
        except (OSError, ValueError) as error:
            raise VideoReadError(self.name, f"it cannot be read ({first_line(error)})") from error
        if most > self.size:
            raise VideoReadError(self.name, f"its header lies, of {most} frames or sounds in {self.size} bytes")

    def check_size(self, width: int, height: int):
        """Raises [`VideoReadError`] for frames of more pixels than there may be."""
        check_size(self.name, width, height, self.max_pixels)

    @property
    def begins_as_seekable(self) -> bool:
        """Whether it begins as MP4, Matroska or AVI do."""
        mp4 = self.head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
        return mp4 or self.head[:4] == b"\x1aE\xdf\xa3" or (self.head[:4], self.head[8:12]) == (b"RIFF", b"AVI ")

    @property
    def is_text(self) -> bool:
        """Whether it begins as a text file does."""
        try:
            codecs.getincrementaldecoder("utf-8")().decode(self.head)
        except UnicodeDecodeError:
            return False
        return b"\0" not in self.head


def check_no_address(name: "str | os.PathLike"):
    """Raises [`VideoReadError`] for an address in the place of a path: nothing is downloaded."""
    name = os.fsdecode(name)
    if re.match("(https?|ftp|s3|gs|hf)://", name, re.IGNORECASE):
        raise VideoReadError(name, "it is an address, and none is opened", "Download it first, and give the file")


def _look_at_path(video: "str | os.PathLike") -> tuple[str, str, int, bytes]:
    name = os.fsdecode(video)
    check_no_address(name)
    if os.path.isdir(name):
        raise VideoReadError(name, "it is a folder", "Give one file")
    try:
        with open_regular(name) as stream:
            # FFmpeg would take the start of a relative name with a colon for a protocol: "http:a.mp4", "concat:a.mp4".
            return name, os.path.abspath(name), os.fstat(stream.fileno()).st_size, stream.read(4096)
    except FileNotFoundError as error:
        raise VideoReadError(name, "there is no such file", "Check the path") from error
    except NotRegularError as error:
        raise VideoReadError(name, first_line(error), "Give a video file") from error
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


def _size_in_head(head: bytes) -> tuple[int, int]:
    """Width and height of a GIF or an animated WebP; zeros for others."""
    if head[:4] == b"GIF8":
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head[8:16] == b"WEBPVP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    return 0, 0


def check_size(name: str, width: int, height: int, max_pixels: int):
    """Raises [`VideoReadError`] for frames of more than `max_pixels`."""
    if width * height > max_pixels:
        cause = f"it has frames of {width} x {height} pixels, and `max_pixels` allows {max_pixels}"
        more = "allow more (`max_pixels` of `open_video` and `TCDProcessor`, --max-pixels of `tcd-hf`)"
        remedy = f"Where the memory suffices, {more}; or make it smaller, or leave it out"
        raise VideoReadError(name, cause, remedy)


def has_pyav() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def lasting_backend() -> str:
    """The `backend` of a process that is to outlive its files: PyAV where it is installed, as decord may abort it."""
    return "pyav" if has_pyav() else "auto"


def import_reader(package: str):
    """The package `decord` or `av`, or an `ImportError` that says how to install it."""
    if package == "decord":  # the NVIDIA libraries that it loads serve all that comes later: torch would die of them
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module("torch")
    try:
        return importlib.import_module(package)
    except (ImportError, OSError) as error:
        install = {"decord": "decord2", "av": "av"}[package]
        raise ImportError(f"Reading this video needs {package}: `pip install {install}` ({error}).") from error


def open_container(source: Source, ignore_edits: bool = False, any_size: bool = False):
    """The container and its video stream, opened by PyAV, which reads no other file.

    Args:
        source: the file.
        ignore_edits: whether an MP4 gives all that it holds, also what its edit list leaves out.
        any_size: whether frames may be of any size, where none is to be decoded.

    Raises:
        VideoReadError: it is no video, has none that can be decoded, or one with frames of too many pixels.
    """
    av = import_reader("av")
    # Old titles are not UTF-8, which PyAV before 19 takes for an error unless told otherwise.
    arguments = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    # Of all that is decoded, so of later frames and of those that tell FFmpeg what there is. It counts their edges too.
    limits = {"max_pixels": str(2 * source.max_pixels + (1 << 16))}
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", **limits}
    if ignore_edits:
        options["ignore_editlist"] = "1"
    if source.head.startswith(b"\xff\xd8\xff"):  # a .jpg would be taken for a series of numbered files (image2)
        arguments["format"] = "jpeg_pipe"
    source.check_tables()
    try:
        container = av.open(source.rewound(), options=options, **arguments)
    except read_errors() as error:
        raise VideoReadError(source.name, *_why_no_video(source, error)) from error
    stream = choose_stream(container)
    try:
        if stream is None:
            raise VideoReadError(source.name, "it has no video stream", "Give a file with pictures in it")
        if stream.codec_context is None:
            raise VideoReadError(source.name, "FFmpeg does not know its codec", "Convert it to H.264, or leave it out")
        if not any_size:
            source.check_size(stream.codec_context.width, stream.codec_context.height)
    except VideoReadError:
        container.close()
        raise
    stream.codec_context.options = limits
    return container, stream


def _why_no_video(source: Source, error: Exception) -> tuple[str, str]:
    """What to say of a file that FFmpeg does not open, and what to do."""
    if not isinstance(error, import_reader("av").FFmpegError):  # of the file object
        return f"it cannot be read ({first_line(error)})", COPY_AGAIN
    if source.is_text:
        return "it is a text file, not a video", "Give a video file"
    if source.head[4:8] == b"ftyp":
        return "its index (moov) is missing, as in a file that was cut off while it was written or copied", COPY_AGAIN
    return f"it is no video, or of a kind that is not read, as lists of files are ({first_line(error)})", COPY_AGAIN


def read_errors() -> tuple[type[Exception], ...]:
    """What PyAV raises: FFmpeg's errors, and those of the file object that it reads."""
    return (import_reader("av").FFmpegError, OSError, ValueError)


def upright_pixels(frame, second_field=None) -> np.ndarray:
    """A frame of PyAV as it is to be seen, RGB uint8 `(height, width, 3)`; of two fields if there is a second one."""
    pixels = _pixels(frame)
    if second_field is not None:
        pixels = woven(pixels, _pixels(second_field))
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def _pixels(frame) -> np.ndarray:
    if is_transparent(frame.format):
        return on_ground(frame.to_ndarray(format="rgba"))
    return frame.to_ndarray(format="rgb24")


def clock_start(stream) -> float:
    """What the file's clock shows at the first frame, seconds."""
    return float((stream.start_time or 0) * stream.time_base)


def first_line(error: Exception) -> str:
    """What an error says, in one short line."""
    text = getattr(error, "strerror", None) or str(error).split("Check failed: ")[-1]  # FFmpeg's words, decord's words
    return (text.splitlines() or [type(error).__name__])[0][:120]
